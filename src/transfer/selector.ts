/** What a user writes to name a file by its hash, and a range of it. */
import { fromHex } from '../core/bytes.ts';
import { Exit, JetError } from '../core/errors.ts';
import { type Algorithm, digestLength, type Hash } from '../jingle/hashes.ts';

const FORMS = 'Write sha-256:HEX, sha-512:HEX, the plain hash, or an ni: URI.';

/** The functions that select a file, by every spelling that is taken. */
const FUNCTIONS: Readonly<Record<string, Algorithm>> = {
  'sha-1': 'sha-1',
  sha1: 'sha-1',
  'sha-256': 'sha-256',
  sha256: 'sha-256',
  'sha-512': 'sha-512',
  sha512: 'sha-512',
};

/** SHA-2 by the length of its digest in bytes. */
const PLAIN: Readonly<Record<number, Algorithm>> = { 32: 'sha-256', 64: 'sha-512' };

/**
 * Reads a hash: `sha-256:HEX`, `sha256:HEX`, `sha-512:HEX`, `sha-1:HEX`, SHA-2 as plain hex or base64
 * (either alphabet, padded or not), or an RFC 6920 URI.
 *
 * @remarks SHA-1 selects only when it is named, and never proves what came.
 * @throws JetError (exit 2) `bad-hash`
 */
export function parseSelector(text: string): Hash {
  if (/^ni:/i.test(text)) return parseNi(text);
  const colon = text.indexOf(':');
  return colon >= 0
    ? parseNamed(text, text.slice(0, colon), text.slice(colon + 1))
    : parsePlain(text);
}

function parseNamed(text: string, name: string, value: string): Hash {
  const algorithm = functionOf(text, name);
  const digits = digestLength(algorithm) * 2;
  const digest = fromHex(value);
  if (digest === undefined)
    throw bad(text, `${algorithm}: is followed by hexadecimal digits`, FORMS);
  if (digest.length * 2 !== digits)
    throw bad(
      text,
      `${algorithm} has ${digits} hexadecimal digits, this has ${value.length}`,
      FORMS,
    );
  return { algorithm, digest };
}

function parsePlain(text: string): Hash {
  const hex = fromHex(text);
  const hexed = hex && PLAIN[hex.length];
  if (hexed) return { algorithm: hexed, digest: hex };
  if (hex?.length === digestLength('sha-1'))
    throw bad(text, 'it has the length of SHA-1, which has to be named', `Write sha-1:${text}.`);
  const digest = fromAnyBase64(text);
  const algorithm = digest && PLAIN[digest.length];
  if (!algorithm) throw bad(text, 'it is no SHA-256 or SHA-512 in hexadecimal or base64', FORMS);
  return { algorithm, digest };
}

/** RFC 6920 §3: `ni://[authority]/ALGORITHM;BASE64URL[?parameters]`. Who holds the file is no matter. */
function parseNi(text: string): Hash {
  const parts = /^ni:\/\/[^/?#;]*\/([^/?#;]+);([^/?#;]*)(?:\?[^#]*)?$/i.exec(text);
  const [, name, value] = parts ?? [];
  if (name === undefined || value === undefined)
    throw bad(text, 'it is no ni: URI', 'Write ni:///sha-256;BASE64URL.');
  if (/^sha-256-\d+$/i.test(name))
    throw bad(text, 'a hash that was cut short names no file for sure', 'Write the whole SHA-256.');
  const algorithm = functionOf(text, name);
  // §3: base64url without padding.
  const digest = /^[\w-]+$/.test(value) ? fromAnyBase64(value) : undefined;
  if (digest?.length !== digestLength(algorithm))
    throw bad(text, `it holds no ${algorithm} in base64url`, 'Copy it again, all of it.');
  return { algorithm, digest };
}

function functionOf(text: string, name: string): Algorithm {
  const key = name.toLowerCase();
  const algorithm = Object.hasOwn(FUNCTIONS, key) ? FUNCTIONS[key] : undefined;
  if (algorithm === undefined)
    throw bad(text, `"${name}" is no hash function that selects files`, FORMS);
  return algorithm;
}

/** Undefined for anything but the one spelling of the bytes in either alphabet. */
function fromAnyBase64(text: string): Buffer | undefined {
  const bare = text.replace(/={1,2}$/, '');
  if (bare !== text && text.length % 4 !== 0) return undefined;
  const alphabet = /^[A-Za-z0-9+/]+$/.test(bare) ? 'base64' : 'base64url';
  const bytes = Buffer.from(bare, alphabet);
  return bytes.toString(alphabet).replace(/=+$/, '') === bare ? bytes : undefined;
}

function bad(text: string, why: string, instead: string): JetError {
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  return new JetError(Exit.usage, 'bad-hash', `"${shown}" names no file: ${why}. ${instead}`);
}

/** A range of a file in bytes; without a length it goes to the end. */
export interface AskedRange {
  readonly offset: number;
  /** At least 1. */
  readonly length: number | undefined;
}

/**
 * Reads `START-[END]`, both inclusive and counted from 0, as in curl.
 *
 * @throws JetError (exit 2) `bad-range`
 */
export function parseRange(text: string): AskedRange {
  const refuse = (why: string) =>
    new JetError(
      Exit.usage,
      'bad-range',
      `"${text.slice(0, 100)}" is no range: ${why}. Write --range START-END or START-, counted from 0.`,
    );
  if (/^-\d+$/.test(text)) throw refuse('it has no start');
  const [, start, end] = /^(\d+)-(\d*)$/.exec(text) ?? [];
  if (start === undefined || end === undefined) throw refuse('it is not two numbers of bytes');
  const offset = Number(start);
  const last = end === '' ? undefined : Number(end);
  // One past the last byte has to be a number, too.
  if (Math.max(offset, last ?? 0) >= Number.MAX_SAFE_INTEGER) throw refuse('no file is that large');
  if (last === undefined) return { offset, length: undefined };
  if (last < offset) throw refuse('it ends before it starts');
  return { offset, length: last - offset + 1 };
}
