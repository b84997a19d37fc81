/** The bytes of a file, block by block; each block is its taker's, to keep or to free. */
import { open } from 'node:fs/promises';
import { READ } from './staging-folder.ts';

/** Bytes that are read, or made, at once. */
const BLOCK = 1024 * 1024;

/**
 * What lies at a path from `from` up to `to`, or up to its end. A link is not followed.
 *
 * @throws the system's error
 */
export async function* blocksOf(
  path: string,
  from = 0,
  to = Infinity,
): AsyncGenerator<Buffer, void, undefined> {
  const file = await open(path, READ);
  try {
    for (let at = from; at < to;) {
      const block = Buffer.allocUnsafeSlow(Math.min(BLOCK, to - at));
      const { bytesRead } = await file.read(block, 0, block.length, at);
      if (bytesRead === 0) return;
      yield block.subarray(0, bytesRead);
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
}

/** So many zeros, in place of what cannot be read. */
export function* blanks(length: number): Generator<Buffer, void, undefined> {
  for (let at = 0; at < length; at += BLOCK) yield Buffer.alloc(Math.min(BLOCK, length - at));
}
