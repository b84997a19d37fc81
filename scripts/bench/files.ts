/** Files to send, and whether what arrived is the same. */
import { randomFillSync } from 'node:crypto';
import { mkdir, open, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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

/**
 * Makes small files, a thousand to a folder.
 *
 * @param content - of the one of this number
 * @param time - of their last change; now by default
 */
export async function makeMany(
  folder: string,
  count: number,
  content: (made: number) => Buffer,
  time?: Date,
): Promise<void> {
  for (let made = 0; made < count; made++) {
    const into = join(folder, String(Math.floor(made / 1000)));
    if (made % 1000 === 0) await mkdir(into, { recursive: true });
    const path = join(into, `${made}.bin`);
    await writeFile(path, content(made));
    if (time !== undefined) await utimes(path, time, time);
  }
}
