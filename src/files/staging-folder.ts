/** The folder on the disk in which a folder's stream is kept: made, recognised, looked through, removed. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rm, rmdir, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { asError, Exit, JetError, systemCode } from '../core/errors.ts';
import type { PartIdentity } from './identity.ts';
import { FOLDER_MODE, makeNamed, packName, type Naming } from './part-name.ts';
import { tailOf } from './part.ts';
import type { Runs } from './runs.ts';

/** Not followed, and not waited for, whatever lies there. */
export const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Names that are given here; what else lies there is somebody else's. */
const OURS = /^(?:pack\.jet-part|\d+(?:\.jet-part)?(?:\.new)?)$/;

/**
 * Removes what had come of a folder, if it is what was left there: the parts, and the folder unless it holds
 * anything else.
 *
 * @remarks The number of a folder that was removed may be given to the next one, so that it alone says little.
 */
export async function removeStaging(
  path: string,
  { dev, ino, uid, mode }: Pick<PartIdentity, 'dev' | 'ino' | 'uid' | 'mode'>,
): Promise<void> {
  const there = await lstat(path, { bigint: true }).catch(() => undefined);
  if (there?.isDirectory() !== true) return;
  if (there.dev !== dev || there.ino !== ino || there.uid !== uid || there.mode !== mode) return;
  for (const name of await readdir(path))
    if (OURS.test(name)) await rm(join(path, name), { force: true }).catch(() => undefined);
  await rmdir(path).catch(() => undefined);
}

/** The part of a large file, by its number. */
export function partPath(folder: string, part: number): string {
  return join(folder, `${part}.jet-part`);
}

/** Exclusively, for its user alone. @returns its path */
export function makeFolder(target: string, naming?: Naming): Promise<string> {
  return makeNamed(target, naming, async (path) => {
    await mkdir(path, FOLDER_MODE);
    return path;
  });
}

/** @throws JetError (exit 8) `part-missing`, `part-changed` unless it is the one that is expected */
export async function openFolder(path: string, expected?: PartIdentity): Promise<FileHandle> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const folder = await open(path, flags).catch((error: unknown) => {
    throw refusal(path, error);
  });
  try {
    const { dev, ino, uid, mode } = await folder.stat({ bigint: true });
    if (expected === undefined) return folder;
    if (dev !== expected.dev || ino !== expected.ino) throw changed(path, 'it is another folder');
    if (uid !== expected.uid) throw changed(path, 'it belongs to another user');
    if (mode !== expected.mode) throw changed(path, 'its permissions were changed');
    return folder;
  } catch (error) {
    await folder.close();
    throw error;
  }
}

/** The first bytes of a part. */
export async function readStart(part: string, length: number, folder: string): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let done = 0;
  const file = await openPart(part, folder);
  try {
    while (done < length) {
      const { bytesRead } = await file.read(bytes, done, length - done, done);
      if (bytesRead === 0) throw changed(folder, 'something in it is shorter');
      done += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

/** SHA-256 over what was written last: in the pack, and in the large file that is under way. */
export async function tailAt(path: string, runs: Runs, written: number): Promise<Buffer> {
  const hash = createHash('sha256');
  const add = async (part: string, end: number) => {
    if (end === 0) return;
    const file = await openPart(part, path);
    try {
      if ((await file.stat()).size < end) throw changed(path, 'something in it is shorter');
      hash.update(await tailOf(file, end));
    } finally {
      await file.close();
    }
  };
  await add(join(path, packName), runs.packed(written));
  const run = runs.runs[runs.indexOf(written)];
  if (run?.part !== undefined) await add(partPath(path, run.part), written - run.start);
  return hash.digest();
}

/**
 * Looks at the parts of all large files that are over, and removes what is not known.
 *
 * @remarks They may have a second name: that of the file, where landing was cut off. Nothing is written to them.
 * @throws JetError (exit 8) `part-missing`, `part-changed`
 */
export async function checkParts(path: string, runs: Runs, written: number): Promise<void> {
  const known = new Set([packName]);
  for (const { part, start, size } of runs.runs) {
    if (part === undefined || start >= written) continue;
    known.add(`${part}.jet-part`);
    if (start + size > written) continue;
    const there = await lstat(partPath(path, part)).catch((error: unknown) => {
      throw refusal(path, error);
    });
    if (!there.isFile()) throw changed(path, 'something in it is no file now');
    if (there.size !== size) throw changed(path, 'the size of something in it is another');
  }
  for (const name of await readdir(path))
    if (!known.has(name) && OURS.test(name)) await rm(join(path, name), { force: true });
}

async function openPart(part: string, folder: string): Promise<FileHandle> {
  const file = await open(part, READ).catch((error: unknown) => {
    throw refusal(folder, error);
  });
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw changed(folder, 'something in it is no file now');
}

/** What opening something of it failed with, for the user. */
function refusal(path: string, error: unknown): unknown {
  const code = systemCode(error) ?? '';
  if (code === 'ENOENT') return gone(path);
  if (code === 'ELOOP') return changed(path, 'it is, or holds, a link now');
  if (code === 'ENOTDIR') return changed(path, 'it is no folder now');
  if (code === 'ENXIO') return changed(path, 'something in it is no file now');
  if (code === 'EACCES') return changed(path, 'permissions were changed');
  return asError(error);
}

const AGAIN = 'Start the transfer again from the beginning.';

function gone(path: string): JetError {
  const message = `${path}, or some of what had come of the folder in it, is gone. ${AGAIN}`;
  return new JetError(Exit.localFile, 'part-missing', message);
}

/** @returns the error (exit 8) for what is not what was left there */
export function changed(path: string, why: string): JetError {
  const message = `${path} is not what was left there of the folder: ${why}. ${AGAIN}`;
  return new JetError(Exit.localFile, 'part-changed', message);
}
