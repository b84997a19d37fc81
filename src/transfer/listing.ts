/** What a holder lets a peer have, as the content of a stream (docs/sealed.md §7). */
import { Exit, JetError } from '../core/errors.ts';
import { parseObject } from '../core/json.ts';
import { fromHex } from '../core/bytes.ts';
import type { Bytes } from './encrypting.ts';
import type { Target } from './decrypting.ts';

/** The name under which a list travels. */
export const LIST_NAME = 'list';
/** Most bytes of a list: about 300,000 files. */
const MOST_BYTES = 64 * 1024 * 1024;
const LONGEST_NAME = 4096;

/** A file that may be fetched. */
export interface Listed {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** When it was last changed. */
  readonly date: Date;
  /** 64 lower-case hex digits. */
  readonly sha256: string;
}

/** A list as it is encrypted: one JSON object a line. */
export function writeList(files: Iterable<Listed>): Buffer {
  const lines: string[] = [];
  for (const { name, size, date, sha256 } of files)
    lines.push(`${JSON.stringify({ name, size, date: date.toISOString(), sha256 })}\n`);
  return Buffer.from(lines.join(''));
}

/** Reads a list from a peer. @throws JetError (exit 9) `bad-list` */
export function readList(bytes: Buffer): Listed[] {
  const lines = bytes.toString().split('\n');
  if (lines.pop() !== '') throw badList();
  return lines.map((line) => {
    const listed = decode(line);
    if (listed === undefined) throw badList();
    return listed;
  });
}

function decode(line: string): Listed | undefined {
  const value = parseObject(line);
  if (value === undefined) return undefined;
  const { name, size, date, sha256 } = value;
  if (typeof name !== 'string' || name === '' || name.length > LONGEST_NAME) return undefined;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) return undefined;
  if (typeof sha256 !== 'string' || fromHex(sha256)?.length !== 32) return undefined;
  const changed = new Date(typeof date === 'string' ? date : NaN);
  if (Number.isNaN(changed.getTime())) return undefined;
  return { name, size, date: changed, sha256: sha256.toLowerCase() };
}

function badList(): JetError {
  return new JetError(
    Exit.remoteFile,
    'bad-list',
    'the list of the other side is malformed. Ask there for an update of jet',
  );
}

/** Bytes in memory to encrypt. */
export function memoryBytes(bytes: Buffer): Bytes {
  return {
    size: bytes.length,
    async *read(offset, end) {
      await Promise.resolve();
      if (end > offset) yield bytes.subarray(offset, end);
    },
    close: () => Promise.resolve(),
  };
}

/** Keeps what is decrypted in memory, bounded. @throws JetError (exit 9) `bad-list` when it is too much */
export function memoryTarget(size: number): Target & { readonly bytes: () => Buffer } {
  if (size > MOST_BYTES) throw badList();
  const chunks: Buffer[] = [];
  return {
    as: 'stdout',
    write: (bytes) => {
      chunks.push(Buffer.from(bytes));
      return Promise.resolve();
    },
    finish: () => Promise.resolve(undefined),
    abort: () => Promise.resolve(undefined),
    bytes: () => Buffer.concat(chunks),
  };
}
