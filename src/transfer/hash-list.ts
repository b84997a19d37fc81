/** The hashes of a file's blocks as the content of a stream (docs/sealed.md §4.3): what differs is found by them. */
import { blockDigests } from '../files/hashing.ts';
import { SealedError } from '../jet/sealed.ts';
import type { Bytes } from './encrypting.ts';

/** The name under which a list travels. */
export const HASHES_NAME = 'hashes';
/** Bytes of a SHA-256. */
const DIGEST = 32;
/** Fewest bytes of a block. */
const LEAST_BLOCK = 64 * 1024;
/** Most blocks of a list, which is 2 MiB long then. */
const MOST_BLOCKS = 65_536;
/** Digests that travel together. */
const TOGETHER = 1024;

/** The block in which a file of this size is compared: a power of two, so that the list stays small. */
export function blockOf(size: number): number {
  let block = LEAST_BLOCK;
  while (size > block * MOST_BLOCKS) block *= 2;
  return block;
}

/**
 * Bytes of the list of a file of `size` bytes.
 *
 * @throws SealedError for a block that is too small, or no block at all
 */
export function listSize(size: number, block: number): number {
  const blocks = Math.ceil(size / block);
  if (!Number.isSafeInteger(block) || block < LEAST_BLOCK || blocks > MOST_BLOCKS)
    throw new SealedError('malformed', 'hashes of blocks were asked for that nobody serves');
  return blocks * DIGEST;
}

/** The list of something, hashed while it is read. Closing it closes the source. @throws as `listSize` */
export function hashList(source: Bytes, block: number): Bytes {
  const size = listSize(source.size, block);
  return {
    size,
    read: (offset, end) => cut(digests(source, block), offset, end),
    close: () => source.close(),
  };
}

/** The digests of a list. */
export function readHashList(bytes: Buffer): Buffer[] {
  return Array.from({ length: bytes.length / DIGEST }, (_, n) =>
    bytes.subarray(n * DIGEST, (n + 1) * DIGEST),
  );
}

async function* digests(source: Bytes, block: number): AsyncGenerator<Buffer, void, undefined> {
  let ready: Buffer[] = [];
  for await (const digest of blockDigests(source.read(0, source.size), block)) {
    ready.push(digest);
    if (ready.length < TOGETHER) continue;
    yield Buffer.concat(ready);
    ready = [];
  }
  if (ready.length > 0) yield Buffer.concat(ready);
}

async function* cut(
  blocks: AsyncIterable<Buffer>,
  offset: number,
  end: number,
): AsyncGenerator<Buffer, void, undefined> {
  let at = 0;
  for await (const bytes of blocks) {
    const part = bytes.subarray(Math.max(0, offset - at), Math.max(0, end - at));
    if (part.length > 0) yield part;
    at += bytes.length;
  }
}
