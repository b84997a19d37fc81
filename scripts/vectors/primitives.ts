/**
 * What the generators of the test vectors have in common: primitives of node:crypto and nothing of `src`, so
 * that two implementations have to agree. The same comes out at every run: what would be random is a digest
 * of what it is for.
 */
import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
} from 'node:crypto';

/** SHA-256. */
export const digest = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest();

/** What stands for random bytes; at most 32. */
export const drawn = (what: string, length: number) =>
  digest(`jet vector: ${what}`).subarray(0, length);

/** HMAC-SHA-256. */
export const hmac = (key: Buffer, bytes: Buffer) =>
  createHmac('sha256', key).update(bytes).digest();

/** RFC 5869 by its two steps, with SHA-256. */
export function hkdf(material: Buffer, salt: Buffer, info: Buffer, length: number): Buffer {
  const pseudorandom = hmac(salt, material);
  let out = Buffer.alloc(0);
  let block = Buffer.alloc(0);
  for (let n = 1; out.length < length; n++) {
    block = hmac(pseudorandom, Buffer.concat([block, info, Buffer.of(n)]));
    out = Buffer.concat([out, block]);
  }
  return out.subarray(0, length);
}

/** An X25519 pair. */
export interface Pair {
  readonly private: KeyObject;
  /** 32 bytes each; the private ones are clamped when they are used. */
  readonly seed: Buffer;
  readonly public: Buffer;
}

/** The pair of a private key of 32 bytes. */
export function pairOf(seed: Buffer): Pair {
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), seed]);
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return { private: key, seed, public: spki.subarray(12) };
}

/** X25519. */
export const agree = (a: Pick<Pair, 'private'>, b: Pick<Pair, 'private'>) =>
  diffieHellman({ privateKey: a.private, publicKey: createPublicKey(b.private) });
