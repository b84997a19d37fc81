/** Files to send, and whether what arrived is the same. */
import { randomFillSync } from 'node:crypto';
import { open } from 'node:fs/promises';
import { runs } from './processes.ts';

const BLOCK = 4 * 1024 * 1024;

/** Makes a file of random bytes that repeat nowhere near. */
export async function makeFile(path: string, bytes: number): Promise<void> {
  const handle = await open(path, 'wx');
  const block = Buffer.allocUnsafe(Math.min(bytes, BLOCK));
  for (let left = bytes; left > 0; left -= block.length)
    await handle.write(randomFillSync(block), 0, Math.min(left, block.length));
  await handle.close();
}

/** @throws Error unless both files hold the same bytes */
export async function sameBytes(one: string, other: string): Promise<void> {
  await runs(['cmp', one, other]);
}
