/** XEP-0300 1.0.0, Use of Cryptographic Hash Functions in XMPP: digests on the wire. */
import { timingSafeEqual } from 'node:crypto';
import type { Element } from '@xmpp/xml';
import { fromBase64, fromHex, toBase64 } from '../core/bytes.ts';
import { attr, xml } from '../xmpp/xml.ts';

/** Namespace of `<hash/>` and `<hash-used/>`. */
export const HASHES = 'urn:xmpp:hashes:2';

/** `node` is the name in node:crypto; only what is `strong` proves that a file is whole. */
const TABLE = {
  'sha-1': { node: 'sha1', bytes: 20, strong: false },
  'sha-256': { node: 'sha256', bytes: 32, strong: true },
  'sha-512': { node: 'sha512', bytes: 64, strong: true },
  'sha3-256': { node: 'sha3-256', bytes: 32, strong: true },
  'sha3-512': { node: 'sha3-512', bytes: 64, strong: true },
  'blake2b-512': { node: 'blake2b512', bytes: 64, strong: true },
} as const;

/** A hash function that this program computes, by its XEP-0300 name. */
export type Algorithm = keyof typeof TABLE;

/** All algorithms, weakest first. */
export const ALGORITHMS = Object.keys(TABLE) as readonly Algorithm[];

/** A digest with the function that made it. */
export interface Hash {
  readonly algorithm: Algorithm;
  readonly digest: Buffer;
}

/** True for a name that this program knows. */
export function isAlgorithm(name: string): name is Algorithm {
  return Object.hasOwn(TABLE, name);
}

/** The function's name in node:crypto. */
export function nodeName(algorithm: Algorithm): string {
  return TABLE[algorithm].node;
}

/** Length of the digest in bytes. */
export function digestLength(algorithm: Algorithm): number {
  return TABLE[algorithm].bytes;
}

/** False for what may select a file but never proves its integrity (SHA-1). */
export function isStrong(algorithm: Algorithm): boolean {
  return TABLE[algorithm].strong;
}

/** disco features (XEP-0300 §5). */
export const hashFeatures: readonly string[] = [
  HASHES,
  ...ALGORITHMS.filter(isStrong).map((name) => `urn:xmpp:hash-function-text-names:${name}`),
];

/**
 * Reads a digest: base64 of the bytes, or base64 of their hexadecimal text, which some clients send.
 * Undefined when it is neither, or of another length than the function's.
 */
export function decodeDigest(algorithm: Algorithm, encoded: string): Buffer | undefined {
  const { bytes } = TABLE[algorithm];
  if (encoded.length > bytes * 4 + 64) return undefined;
  const decoded = fromBase64(encoded);
  if (decoded?.length === bytes) return decoded;
  return decoded?.length === bytes * 2 ? fromHex(decoded.toString('latin1')) : undefined;
}

/** Reads a `<hash/>`; undefined for an unknown function or a digest that is none. */
export function decodeHash(element: Element): Hash | undefined {
  const algorithm = attr(element, 'algo');
  if (algorithm === undefined || !isAlgorithm(algorithm)) return undefined;
  const digest = decodeDigest(algorithm, element.getText());
  return digest && { algorithm, digest };
}

/**
 * Writes a `<hash/>`.
 *
 * @param form - `hex` for the peers that read only base64 of the hexadecimal text
 */
export function encodeHash(hash: Hash, form: 'raw' | 'hex' = 'raw'): Element {
  const bytes = form === 'raw' ? hash.digest : Buffer.from(hash.digest.toString('hex'));
  return xml('hash', { xmlns: HASHES, algo: hash.algorithm }, toBase64(bytes));
}

/** Compares in constant time: false for another function, length or value. */
export function sameHash(a: Hash, b: Hash): boolean {
  return (
    a.algorithm === b.algorithm &&
    a.digest.length === b.digest.length &&
    timingSafeEqual(a.digest, b.digest)
  );
}
