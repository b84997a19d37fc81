/** What a file is known by from one run to the next, and how a journal keeps that. */
import type { BigIntStats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { fromHex } from '../core/bytes.ts';

/** What tells a file from another and from itself after a change. */
export interface SourceIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** What tells the part of a file that is being received from anything else under its name. */
export interface PartIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly uid: bigint;
  readonly mode: bigint;
  /** SHA-256 of its last block: up to TAIL bytes before what is written ends, or before `until`. */
  readonly tail: Buffer;
  /** Where the tail ends, while what is behind it is written again; only without `rest`. */
  readonly until?: number;
  /** Size and times when it was set aside; none while it is written, since they change then. */
  readonly rest?: {
    readonly size: bigint;
    readonly mtimeNs: bigint;
    readonly ctimeNs: bigint;
  };
}

/** Bytes of a part's end that its identity covers. */
export const TAIL = 64 * 1024;

/** The identity of an open file. */
export function sourceIdentity(stats: BigIntStats): SourceIdentity {
  const { dev, ino, size, mtimeNs, ctimeNs } = stats;
  return { dev, ino, size, mtimeNs, ctimeNs };
}

/** The identity of the file that lies at a path; undefined where there is none, as where a link is. */
export async function identityAt(path: string): Promise<SourceIdentity | undefined> {
  const there = await lstat(path, { bigint: true }).catch(() => undefined);
  return there?.isFile() === true ? sourceIdentity(there) : undefined;
}

/** Whether the file at a path is this one, unchanged. */
export async function isUnchanged(path: string, file: SourceIdentity): Promise<boolean> {
  const there = await identityAt(path);
  return there !== undefined && sameSource(there, file);
}

/** True when nothing that is known of the two differs. */
export function sameSource(a: SourceIdentity, b: SourceIdentity): boolean {
  return (
    a.dev === b.dev &&
    a.ino === b.ino &&
    a.size === b.size &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs
  );
}

/** One line of text: numbers in decimal, since they exceed what JSON holds exactly. */
export function encodeSource({ dev, ino, size, mtimeNs, ctimeNs }: SourceIdentity): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
}

/** Reads what `encodeSource` wrote; undefined for anything else. */
export function decodeSource(text: string): SourceIdentity | undefined {
  const numbers = decimals(text);
  if (numbers?.length !== 5) return undefined;
  const [dev = 0n, ino = 0n, size = 0n, mtimeNs = 0n, ctimeNs = 0n] = numbers;
  return { dev, ino, size, mtimeNs, ctimeNs };
}

/** One line of text. */
export function encodePart({ dev, ino, uid, mode, tail, until, rest }: PartIdentity): string {
  const last = until === undefined ? [] : [until];
  const end = rest === undefined ? last : [rest.size, rest.mtimeNs, rest.ctimeNs];
  return [tail.toString('hex'), dev, ino, uid, mode, ...end].join(' ');
}

/** Reads what `encodePart` wrote; undefined for anything else. */
export function decodePart(text: string): PartIdentity | undefined {
  const space = text.indexOf(' ');
  const tail = fromHex(text.slice(0, space));
  const numbers = decimals(text.slice(space + 1));
  if (tail?.length !== 32 || numbers === undefined || ![4, 5, 7].includes(numbers.length))
    return undefined;
  const [dev = 0n, ino = 0n, uid = 0n, mode = 0n, size, mtimeNs, ctimeNs] = numbers;
  const identity = { dev, ino, uid, mode, tail };
  if (size === undefined) return identity;
  if (mtimeNs !== undefined && ctimeNs !== undefined)
    return { ...identity, rest: { size, mtimeNs, ctimeNs } };
  const until = Number(size);
  return Number.isSafeInteger(until) && until >= 0 ? { ...identity, until } : undefined;
}

/** Times before 1970 are negative. */
function decimals(text: string): bigint[] | undefined {
  const words = text.split(' ');
  return words.every((word) => /^-?\d{1,30}$/.test(word)) ? words.map(BigInt) : undefined;
}
