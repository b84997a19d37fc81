/** The envelopes: the stub of XEP-0391, and JET-OMEMO (XEP-0396) in the forms that clients write. */
import { drawn } from '../vectors/primitives.ts';
import { encrypted, type Secret } from './gcm.ts';
import { Sending, type Departure, type Device } from './omemo.ts';
import { juliet, romeo } from './parties.ts';

/** `security@type` of the stub. */
export const STUB = 'urn:xmpp:encryption:stub:0';
/** `security@type` of JET-OMEMO. */
export const OMEMO = 'eu.siacs.conversations.axolotl';

/** Makes an envelope for a secret. */
export type Sealer = (secret: Secret) => string;

const base64 = (bytes: Buffer) => bytes.toString('base64');

/** The stub with this payload: by default the base64 of the key and then the IV. */
export const stub =
  (payload = ({ key, iv }: Secret) => base64(Buffer.concat([key, iv]))): Sealer =>
  (secret) =>
    `<encrypted xmlns='${STUB}'><payload>${payload(secret)}</payload></encrypted>`;

/** How a key transport element is to look; each part by default as XEP-0384 0.3 §4.6 has it. */
export interface OmemoForm {
  /** Names the session. */
  readonly seed: string;
  readonly from?: Device;
  readonly to?: Device;
  readonly preKeyId?: number;
  readonly signedPreKeyId?: number;
  /** The key stands alone, with the tag of the payload or of nothing, or with 16 zeros. */
  readonly beside?: 'tag' | 'zeros';
  /** A payload of so many random bytes. */
  readonly payload?: number;
  /** What the message holds, if it is not the key. */
  readonly holds?: (key: Buffer) => Buffer;
  /** So many messages of the session were made before this one, and are lost. */
  readonly lost?: number;
  /** The session begins here, or stands already. */
  readonly exchange?: boolean;
  readonly departure?: Departure;
  /** Value of `prekey`. */
  readonly prekey?: string;
  /** Changes the Signal message, inside a key exchange. */
  readonly inner?: (message: Buffer) => Buffer;
  /** Changes what `<key/>` holds. */
  readonly outer?: (message: Buffer) => Buffer;
  /** Base64 of it; may be spoilt here. */
  readonly text?: (base64: string) => string;
  readonly rid?: number | string;
  readonly sid?: number | string | null;
  /** The IV as it is written; null: none. */
  readonly iv?: ((iv: Buffer) => string) | null;
  /** Puts the children of the header together. */
  readonly header?: (key: string, iv: string) => string;
  /** Puts the whole together. */
  readonly whole?: (header: string) => string;
  /** Goes on in a session that another envelope began. */
  readonly session?: Sending;
}

/** A key transport element of OMEMO 0.3. */
export const omemo =
  (form: OmemoForm): Sealer =>
  (secret) => {
    const { seed, from = romeo, to = juliet, departure, exchange = true } = form;
    const filler = drawn(`${seed}, payload`, form.payload ?? 0);
    const payload = encrypted(secret, filler);
    const tag = form.beside === 'tag' ? payload.subarray(-16) : Buffer.alloc(16);
    const long = form.beside === undefined ? secret.key : Buffer.concat([secret.key, tag]);
    const plaintext = form.holds?.(secret.key) ?? long;
    const session = form.session ?? new Sending(from, to, seed, form.preKeyId, form.signedPreKeyId);
    for (let i = 0; i < (form.lost ?? 0); i++) session.message(plaintext);
    const made = session.message(plaintext);
    const message = form.inner?.(made) ?? made;
    const whole = exchange ? session.exchange(message, departure) : message;
    const coded = base64(form.outer?.(whole) ?? whole);
    const prekey = exchange ? ` prekey='${form.prekey ?? 'true'}'` : '';
    const key = `<key rid='${String(form.rid ?? to.id)}'${prekey}>${form.text?.(coded) ?? coded}</key>`;
    const iv = form.iv === null ? '' : `<iv>${(form.iv ?? base64)(secret.iv)}</iv>`;
    const sid = form.sid === null ? '' : ` sid='${String(form.sid ?? from.id)}'`;
    const inside = form.header?.(key, iv) ?? key + iv;
    const header = `<header${sid}>${inside}</header>`;
    const body =
      form.payload === undefined ? '' : `<payload>${base64(payload.subarray(0, -16))}</payload>`;
    return `<encrypted xmlns='${OMEMO}'>${form.whole?.(header) ?? header + body}</encrypted>`;
  };
