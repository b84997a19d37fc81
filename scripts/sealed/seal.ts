/**
 * docs/sealed.md §6 to §8 once more, for the test vectors: it shares nothing with `src/jet/sealed.ts` but the
 * primitives of node:crypto, so that two implementations have to agree. The same comes out at every run:
 * keys and nonces are digests of what they are for.
 */
import { createCipheriv, type KeyObject } from 'node:crypto';
import { agree, digest, drawn, hkdf, pairOf } from '../vectors/primitives.ts';
import type { Vector, VectorDevice, VectorElement } from './format.ts';

/** The namespace of sealed elements. */
export const NS = 'urn:xmpp:jet-transfer:0';

export { digest, drawn };

/** Four bytes of length, then the bytes, one after another. */
const joined = (...parts: (string | Buffer)[]) =>
  Buffer.concat(
    parts.flatMap((part) => {
      const bytes = Buffer.from(part);
      const length = Buffer.from(bytes.length.toString(16).padStart(8, '0'), 'hex');
      return [length, bytes];
    }),
  );

/** A device with its key as node:crypto has it. */
export interface Device extends VectorDevice {
  readonly private: KeyObject;
}

/** A device whose key comes from its name. */
export function device(who: string, jid: string): Device {
  const pair = pairOf(drawn(`${who}, private key`, 32));
  const [privateKey, identityKey] = [pair.seed.toString('hex'), pair.public.toString('hex')];
  return { private: pair.private, jid, privateKey, identityKey };
}

/** X25519. */
export const shared = (a: Device, b: Device) => agree(a, b);
/** What a vector starts from. */
export interface Start {
  readonly secret: { readonly key: Buffer; readonly iv: Buffer };
  readonly binding: Vector['binding'];
  readonly maker: Device;
  readonly other: Device;
  /** Where it is not that of the two devices. */
  readonly agreement?: Buffer;
}
/** The length, the plaintext, zeros up to a multiple of 256 bytes. */
export function padded(plaintext: Buffer): Buffer {
  const framed = joined(plaintext);
  return Buffer.concat([framed, Buffer.alloc((256 - (framed.length % 256)) % 256)]);
}

/** What is sealed by whom. */
export type Say = readonly [label: string, from: 'maker' | 'other', plaintext: string | Buffer];

/** How to depart from the rules, for elements that are to be refused. */
export interface Departure {
  readonly padded?: Buffer;
  readonly cut?: (sealed: Buffer) => Buffer;
}

/** Seals one element behind others. */
export function seal(
  start: Start,
  before: readonly VectorElement[],
  [label, from, plaintext]: Say,
  departure: Departure = {},
): VectorElement {
  const { secret, binding, maker, other } = start;
  const agreement = start.agreement ?? shared(maker, other);
  const behind = label === 'offer' || label === 'request' ? 0 : label === 'accept' ? 1 : 2;
  const bound = before.slice(0, behind).map(({ sealed }) => Buffer.from(sealed, 'base64'));
  const aad = joined(
    ...['0', secret.iv, binding.sid, binding.creator, binding.name, binding.senders],
    ...[binding.cipher, binding.type],
    ...[Buffer.from(maker.identityKey, 'hex'), maker.jid],
    ...[Buffer.from(other.identityKey, 'hex'), other.jid],
    ...bound,
  );
  const info = joined(NS, label);
  const key = hkdf(Buffer.concat([secret.key, agreement]), secret.iv, info, 32);
  const nonce = drawn(
    `${binding.sid}, nonce of the ${label}: ${digest(plaintext).toString('hex')}`,
    12,
  );
  const body = departure.padded ?? padded(Buffer.from(plaintext));
  const gcm = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 });
  gcm.setAAD(aad);
  const bytes = Buffer.concat([nonce, gcm.update(body), gcm.final(), gcm.getAuthTag()]);
  return {
    label,
    from,
    plaintext: plaintext.toString(),
    padded: body.toString('hex'),
    info: info.toString('hex'),
    key: key.toString('hex'),
    aad: aad.toString('hex'),
    nonce: nonce.toString('hex'),
    sealed: (departure.cut?.(bytes) ?? bytes).toString('base64'),
  };
}

/** A whole vector: every element is sealed behind those before it. */
export function vector(name: string, about: string, start: Start, says: readonly Say[]): Vector {
  const elements: VectorElement[] = [];
  for (const say of says) elements.push(seal(start, elements, say));
  const { secret, binding, maker, other } = start;
  const agreement = shared(maker, other);
  const [first, accept] = elements;
  const common = {
    name,
    about,
    secret: { key: secret.key.toString('hex'), iv: secret.iv.toString('hex') },
    binding,
    maker: shown(maker),
    other: shown(other),
    agreement: agreement.toString('hex'),
    elements,
  };
  if (first === undefined || accept === undefined) return common;
  const said = [first, accept].map(({ sealed }) => digest(Buffer.from(sealed, 'base64')));
  const info = joined(NS, 'transfer-id', ...said);
  const material = Buffer.concat([secret.key, agreement]);
  const transferId = hkdf(material, secret.iv, info, 16).toString('hex');
  return { ...common, transferId: { info: info.toString('hex'), id: transferId } };
}

const shown = ({ jid, privateKey, identityKey }: Device): VectorDevice => ({
  jid,
  privateKey,
  identityKey,
});
