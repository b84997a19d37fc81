/** The part of a file that is being received: made, recognised, opened again. */
import { createHash } from 'node:crypto';
import { constants, type BigIntStats } from 'node:fs';
import { lstat, open, rm, type FileHandle } from 'node:fs/promises';
import { Exit, JetError, systemCode } from '../core/errors.ts';
import { alignDown, alignedBuffer, alignUp, readAligned } from './aligned.ts';
import { TAIL, type PartIdentity } from './identity.ts';
import { makeNamed, PART_MODE, type Naming } from './part-name.ts';

/** An open part. */
export interface Part {
  readonly path: string;
  readonly file: FileHandle;
  /** Opened with O_DIRECT. */
  readonly direct: boolean;
}

const NO_DIRECT = new Set(['EINVAL', 'EOPNOTSUPP']);

/** Makes a part exclusively, so that neither a planted link nor another receiver's part is used. */
export function makePart(target: string, direct: boolean, naming?: Naming): Promise<Part> {
  const base = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  return makeNamed(target, naming, async (path) => {
    if (direct)
      try {
        const file = await open(path, base | constants.O_DIRECT, PART_MODE);
        return { path, file, direct };
      } catch (error) {
        if (!NO_DIRECT.has(systemCode(error) ?? '')) throw error;
        // Some kernels refuse O_DIRECT only after they have made the file; it is ours and empty.
        await rm(path, { force: true });
      }
    return { path, file: await open(path, base, PART_MODE), direct: false };
  });
}

/**
 * Opens a part that was set aside, if it is what it was.
 *
 * @param written - bytes that the journal says are in it
 * @param expected - undefined: what it was is known by the folder in which it lies
 * @throws JetError (exit 8) `part-missing`, `part-changed`; the system's error
 */
export async function reopenPart(
  path: string,
  direct: boolean,
  written: number,
  expected: PartIdentity | undefined,
): Promise<Part> {
  const part = await openExisting(path, direct);
  try {
    const now = await part.file.stat({ bigint: true });
    const why = difference(now, written, expected);
    if (why !== undefined) throw changed(path, why);
    const end = Math.min(written, expected?.until ?? written);
    if (expected !== undefined && !(await tailOf(part.file, end)).equals(expected.tail))
      throw changed(path, 'its last block is another');
    return part;
  } catch (error) {
    await part.file.close();
    throw error;
  }
}

async function openExisting(path: string, direct: boolean): Promise<Part> {
  // Without O_NONBLOCK a fifo in its place would hold us here.
  const base = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  for (let wanted = direct; ; wanted = false) {
    try {
      const flags = wanted ? base | constants.O_DIRECT : base;
      return { path, file: await open(path, flags), direct: wanted };
    } catch (error) {
      const code = systemCode(error) ?? '';
      if (NO_DIRECT.has(code) && wanted) continue;
      if (code === 'ENOENT' || code === 'ENOTDIR') throw missing(path);
      if (code === 'ELOOP') throw changed(path, 'it is a link now');
      if (code === 'EISDIR' || code === 'ENXIO') throw changed(path, 'it is no file now');
      if (code === 'EACCES') throw changed(path, 'its permissions were changed');
      throw error;
    }
  }
}

/** What is not as it was, in words; undefined when nothing is. */
function difference(
  now: BigIntStats,
  written: number,
  expected: PartIdentity | undefined,
): string | undefined {
  if (!now.isFile()) return 'it is no file now';
  if (expected !== undefined) {
    if (now.dev !== expected.dev || now.ino !== expected.ino) return 'it is another file';
    if (now.uid !== expected.uid) return 'it belongs to another user';
    if (now.mode !== expected.mode) return 'its permissions were changed';
  }
  if (now.nlink !== 1n) return 'it has a second name';
  if (now.size < BigInt(written)) return 'it is shorter';
  const rest = expected?.rest;
  if (rest === undefined) return undefined;
  if (now.size !== rest.size) return 'its size is another';
  if (now.mtimeNs !== rest.mtimeNs || now.ctimeNs !== rest.ctimeNs) return 'it was written to';
  return undefined;
}

/**
 * The identity of a part of which `written` bytes are written.
 *
 * @param resting - nothing writes to it any more
 * @param until - its bytes from there on are written again, and say nothing about it
 */
export async function partIdentity(
  file: FileHandle,
  written: number,
  resting: boolean,
  until?: number,
): Promise<PartIdentity> {
  const tail = await tailOf(file, until ?? written);
  const { dev, ino, uid, mode, size, mtimeNs, ctimeNs } = await file.stat({ bigint: true });
  const identity = { dev, ino, uid, mode, tail, ...(until !== undefined && { until }) };
  return resting ? { ...identity, rest: { size, mtimeNs, ctimeNs } } : identity;
}

/** SHA-256 of up to TAIL bytes before `end`. */
export async function tailOf(file: FileHandle, end: number): Promise<Buffer> {
  const hash = createHash('sha256');
  const start = Math.max(0, end - TAIL);
  if (end > start) {
    const buffer = alignedBuffer(alignUp(end - alignDown(start)));
    hash.update(await readAligned(file, buffer, start, end));
  }
  return hash.digest();
}

/** @throws JetError (exit 8) `part-changed`, `part-missing` unless `path` still names this open file */
export async function checkName({ path, file }: Part): Promise<void> {
  const { dev, ino } = await file.stat({ bigint: true });
  const named = await lstat(path, { bigint: true }).catch((error: unknown) => {
    throw systemCode(error) === 'ENOENT' ? missing(path) : error;
  });
  if (named.dev !== dev || named.ino !== ino) throw changed(path, 'it is another file');
}

const AGAIN = 'Start the transfer again from the beginning.';

function missing(path: string): JetError {
  const message = `${path}, the part of the file that had come, is gone. ${AGAIN}`;
  return new JetError(Exit.localFile, 'part-missing', message);
}

function changed(path: string, why: string): JetError {
  const message = `${path} is not the part of the file that was left there: ${why}. ${AGAIN}`;
  return new JetError(Exit.localFile, 'part-changed', message);
}
