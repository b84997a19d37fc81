/**
 * The name of a part, which is written down before anything is made of it: a crash leaves nothing that nobody
 * knows of.
 */
import { lstat, readdir, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { randomId } from '../core/bytes.ts';
import { systemCode } from '../core/errors.ts';
import { partName } from './names.ts';

/** What all the small files of a folder stand in, with the list before and the states behind them. */
export const PACK = 'pack';
export const packName = `${PACK}.jet-part`;

/** Permission bits of a part: it is its user's alone. */
export const PART_MODE = 0o600;
export const FOLDER_MODE = 0o700;

const MAX_ATTEMPTS = 8;

/** Told the path of a part before it is made. */
export type Naming = (path: string) => void;

/**
 * Makes a part beside its target: `NAME.jet-part`, or `NAME.ID.jet-part` where something lies there.
 *
 * @param make - exclusively; EEXIST leads to another name
 * @throws the system's error
 */
export async function makeNamed<T>(
  target: string,
  naming: Naming | undefined,
  make: (path: string) => Promise<T>,
): Promise<T> {
  let path = join(dirname(target), partName(basename(target)));
  for (let attempt = 0; ; attempt++) {
    // What others have made is never written down as ours.
    const free = (await lstat(path).catch(() => undefined)) === undefined;
    try {
      if (free) naming?.(path);
      if (free || attempt > MAX_ATTEMPTS) return await make(path);
    } catch (error) {
      if (systemCode(error) !== 'EEXIST' || attempt > MAX_ATTEMPTS) throw error;
    }
    path = join(dirname(target), partName(basename(target), randomId().slice(0, 8)));
  }
}

/**
 * Removes a part of which nothing but its name was written down. Nothing has come into it then: what holds a single
 * byte is another's, and stays. Never rejects.
 */
export async function removeUnused(path: string): Promise<void> {
  const names = await readdir(path).catch(() => undefined);
  if (names === undefined) {
    if (await isUnused(path, 'file', PART_MODE)) await rm(path).catch(() => undefined);
    return;
  }
  const pack = join(path, packName);
  if (!(await isUnused(path, 'folder', FOLDER_MODE)) || names.some((name) => name !== packName))
    return;
  if (names.length > 0 && !(await isUnused(pack, 'file', PART_MODE))) return;
  await rm(pack, { force: true }).catch(() => undefined);
  await rmdir(path).catch(() => undefined);
}

async function isUnused(path: string, kind: 'file' | 'folder', mode: number): Promise<boolean> {
  const there = await lstat(path).catch(() => undefined);
  if (there === undefined || there.uid !== process.geteuid?.()) return false;
  if ((there.mode & 0o7777) !== mode) return false;
  return kind === 'folder' ? there.isDirectory() : there.isFile() && there.size === 0;
}
