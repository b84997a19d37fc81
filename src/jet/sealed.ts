/**
 * Sealed elements (docs/sealed.md, version 0): what two jets say to each other around the encrypted
 * stream of XEP-0391, so that no server reads it, changes it, or moves it to another place.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { wipe } from '../core/bytes.ts';
import type { Jid } from '../core/jid.ts';
import type { TransportSecret } from './envelope.ts';

/** Namespace of the elements, of the disco feature and of the disco form. */
export const NS_SEALED = 'urn:xmpp:jet-transfer:0';

/** What an element says; each has one place and one maker. */
export const LABELS = ['offer', 'request', 'accept', 'checksum', 'landed'] as const;
/** One of the labels. */
export type Label = (typeof LABELS)[number];

const VERSION = '0';
/** Bytes that the IV of a content has between two jets. */
const IV_BYTES = 12;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Plaintexts are padded to multiples of this, in bytes. */
const PADDING = 256;
/** Most bytes of a plaintext, padding apart: a stanza holds several elements and stays below 60 kB. */
export const MAX_PLAINTEXT = 16_384;
const MAX_SEALED = NONCE_BYTES + Math.ceil((4 + MAX_PLAINTEXT) / PADDING) * PADDING + TAG_BYTES;
const ID_BYTES = 16;

/** One of the two devices. */
export interface Party {
  /** 32 bytes, X25519. */
  readonly identityKey: Buffer;
  /** Full, prepared. */
  readonly jid: Jid;
}

/** What the elements of one content are bound to, as in the stanza that added the content. */
export interface Binding {
  readonly sid: string;
  readonly creator: 'initiator' | 'responder';
  /** Of the content. */
  readonly name: string;
  /** `initiator` for an offer, `responder` for a request. */
  readonly senders: string;
  /** In the spelling that was used. */
  readonly cipher: string;
  /** Of the envelope. */
  readonly type: string;
  /** Who made the transport secret. */
  readonly maker: Party;
  readonly other: Party;
}

/** Why an element was refused: always a security error. */
export class SealedError extends Error {
  readonly reason: 'malformed' | 'not-authentic' | 'out-of-place' | 'repeated' | 'missing';

  constructor(reason: SealedError['reason'], message: string) {
    super(message);
    this.name = 'SealedError';
    this.reason = reason;
  }
}

/** The sealed elements of one content, of both sides, in the only order there is. */
export class Seals {
  readonly #secret: TransportSecret;
  readonly #agreement: Buffer;
  readonly #bound: readonly Buffer[];
  readonly #first: 'offer' | 'request';
  /** Whether the secret is ours. */
  readonly #makes: boolean;
  readonly #seen = new Map<Label, Buffer>();
  /** A `landed` that the other side has said. */
  #receipt: Buffer | undefined;

  /**
   * @param secret - of the envelope, with an IV of 12 bytes; wiped by its owner
   * @param agreement - X25519 of the two identity keys, 32 bytes, not all zero; wiped by `wipe`
   * @param self - which of the parties this side is
   * @throws SealedError `malformed` for an IV of another length
   */
  constructor(
    secret: TransportSecret,
    agreement: Buffer,
    binding: Binding,
    self: 'maker' | 'other',
  ) {
    if (secret.iv.length !== IV_BYTES)
      throw new SealedError('malformed', 'the IV has another length than sealed elements want');
    const { maker, other } = binding;
    this.#secret = secret;
    this.#agreement = agreement;
    this.#makes = self === 'maker';
    this.#first = binding.senders === binding.creator ? 'offer' : 'request';
    this.#bound = [
      Buffer.from(VERSION),
      Buffer.from(secret.iv),
      ...[binding.sid, binding.creator, binding.name, binding.senders].map((text) =>
        Buffer.from(text),
      ),
      ...[binding.cipher, binding.type].map((text) => Buffer.from(text)),
      ...[maker.identityKey, Buffer.from(maker.jid.toString())],
      ...[other.identityKey, Buffer.from(other.jid.toString())],
    ];
  }

  /**
   * Seals what this side has to say.
   *
   * @param plaintext - at most 16,384 bytes
   * @returns nonce, ciphertext and tag
   * @throws SealedError `out-of-place`, `repeated`: a fault of the caller
   */
  seal(label: Label, plaintext: Buffer): Buffer {
    this.#check(label, true);
    if (plaintext.length > MAX_PLAINTEXT) throw new RangeError('too long for a sealed element');
    const nonce = randomBytes(NONCE_BYTES);
    const key = this.#key(label);
    const gcm = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
    wipe(key);
    gcm.setAAD(this.#additional(label));
    const sealed = Buffer.concat([nonce, gcm.update(pad(plaintext)), gcm.final()]);
    const bytes = Buffer.concat([sealed, gcm.getAuthTag()]);
    this.#seen.set(label, bytes);
    return bytes;
  }

  /**
   * Opens what the other side has said. The very same `landed` opens as often as it comes, for it is
   * sent twice; anything else that comes again is an error.
   *
   * @throws SealedError
   */
  open(label: Label, bytes: Buffer): Buffer {
    const again = this.#receipt !== undefined && same(this.#receipt, bytes);
    if (label !== 'landed' || !again) this.#check(label, false);
    const body = bytes.length - NONCE_BYTES - TAG_BYTES;
    if (body < PADDING || body % PADDING !== 0 || bytes.length > MAX_SEALED)
      throw new SealedError('malformed', `the sealed ${label} has a wrong length`);
    const nonce = bytes.subarray(0, NONCE_BYTES);
    const key = this.#key(label);
    const gcm = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
    wipe(key);
    gcm.setAAD(this.#additional(label));
    gcm.setAuthTag(bytes.subarray(-TAG_BYTES));
    let padded: Buffer;
    try {
      padded = Buffer.concat([gcm.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), gcm.final()]);
    } catch {
      throw new SealedError('not-authentic', `the sealed ${label} is not what the peer sealed`);
    }
    const plaintext = unpad(padded);
    if (plaintext === undefined)
      throw new SealedError('malformed', `the sealed ${label} is padded wrongly`);
    const opened = Buffer.from(bytes);
    this.#seen.set(label, opened);
    if (label === 'landed') this.#receipt = opened;
    return plaintext;
  }

  /** The name that both sides know the file's first transfer by: 32 hex digits. Known once accepted. */
  transferId(): string {
    // Digests, for elements may be long and OpenSSL takes no more than 1,024 bytes of info.
    const said = [this.#required(this.#first), this.#required('accept')];
    const parts = said.map((bytes) => createHash('sha256').update(bytes).digest());
    const info = prefixed([Buffer.from(NS_SEALED), Buffer.from('transfer-id'), ...parts]);
    return this.#derive(info, ID_BYTES).toString('hex');
  }

  /** Overwrites the agreement. */
  wipe(): void {
    wipe(this.#agreement);
  }

  /** Each label once, by its one maker, and behind those that it binds. */
  #check(label: Label, own: boolean): void {
    const secretMakers = own === this.#makes;
    const encrypts = (this.#first === 'offer') === secretMakers;
    const right = {
      offer: this.#first === 'offer' && secretMakers,
      request: this.#first === 'request' && secretMakers,
      accept: !secretMakers && this.#seen.has(this.#first),
      checksum: encrypts && this.#seen.has('accept'),
      landed: !encrypts && this.#seen.has('accept'),
    }[label];
    if (!right) throw new SealedError('out-of-place', `a sealed ${label} has no place here`);
    if (this.#seen.has(label)) throw new SealedError('repeated', `a second sealed ${label}`);
  }

  #additional(label: Label): Buffer {
    const parts = [...this.#bound];
    if (label !== this.#first) parts.push(this.#required(this.#first));
    if (label === 'checksum' || label === 'landed') parts.push(this.#required('accept'));
    return prefixed(parts);
  }

  #required(label: Label): Buffer {
    const bytes = this.#seen.get(label);
    if (bytes === undefined) throw new SealedError('out-of-place', `there is no ${label} yet`);
    return bytes;
  }

  #key(label: Label): Buffer {
    return this.#derive(prefixed([Buffer.from(NS_SEALED), Buffer.from(label)]), 32);
  }

  #derive(info: Buffer, length: number): Buffer {
    const material = Buffer.concat([this.#secret.key, this.#agreement]);
    const derived = hkdfSync('sha256', material, this.#bound[1] ?? '', info, length);
    wipe(material);
    return Buffer.from(derived);
  }
}

/** Each part behind its length in four bytes, big-endian. */
function prefixed(parts: readonly Buffer[]): Buffer {
  return Buffer.concat(parts.flatMap((part) => [uint32(part.length), part]));
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Length in four bytes, the plaintext, zeros up to a multiple of 256. */
function pad(plaintext: Buffer): Buffer {
  const padded = Buffer.alloc(Math.ceil((4 + plaintext.length) / PADDING) * PADDING);
  padded.writeUInt32BE(plaintext.length);
  plaintext.copy(padded, 4);
  return padded;
}

function unpad(padded: Buffer): Buffer | undefined {
  const length = padded.readUInt32BE();
  if (length > MAX_PLAINTEXT || Math.ceil((4 + length) / PADDING) * PADDING !== padded.length)
    return undefined;
  if (padded.subarray(4 + length).some((byte) => byte !== 0)) return undefined;
  return padded.subarray(4, 4 + length);
}

function same(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
