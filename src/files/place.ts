/** Giving a finished part its name without ever replacing a file that was there before. */
import { constants, type BigIntStats } from 'node:fs';
import { link, lstat, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { systemCode } from '../core/errors.ts';
import { alternativeName } from './names.ts';
import { type ConflictPolicy, targetExists } from './refusal.ts';

/** What link() says where a hard link cannot be made: no such thing here, or not of this file. */
const NO_LINKS = new Set(['EPERM', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

const MAX_ALTERNATIVES = 10_000;

/** How a part gets its name where it may have got one before. */
export interface Placing {
  /** The part keeps its own name, too, where the file system has hard links. */
  readonly keep?: boolean;
  /** Whether what lies there is this very file. */
  readonly there?: (path: string) => Promise<boolean>;
}

/**
 * Names the part as the policy has it.
 *
 * @returns the path it has, or undefined when `skip` found the target taken; the part stays then
 * @throws JetError (exit 8) `target-exists`; the system's error
 */
export async function place(
  part: string,
  target: string,
  onConflict: ConflictPolicy,
  { keep = false, there }: Placing = {},
): Promise<string | undefined> {
  if (onConflict === 'overwrite') {
    await rename(keep ? await secondName(part) : part, target);
    return target;
  }
  for (let n = 0; n < MAX_ALTERNATIVES; n++) {
    const path = n === 0 ? target : join(dirname(target), alternativeName(basename(target), n));
    if (await placeNew(part, path, keep)) return path;
    if (await there?.(path)) return path;
    if (onConflict === 'skip') return undefined;
    if (onConflict === 'fail') break;
  }
  throw targetExists(target);
}

/**
 * Where a part has got its name already, by a landing that was cut off before anybody heard of it. Its own name
 * goes then, if it is still there.
 *
 * @param known - what the part is
 */
export async function placedAt(
  part: string,
  target: string,
  known: { readonly dev: bigint; readonly ino: bigint },
): Promise<string | undefined> {
  const look = (path: string) => lstat(path, { bigint: true }).catch(() => undefined);
  for (let n = 0; n < MAX_ALTERNATIVES; n++) {
    const path = n === 0 ? target : join(dirname(target), alternativeName(basename(target), n));
    const there = await look(path);
    if (there === undefined) return undefined;
    if (!there.isFile() || there.dev !== known.dev || there.ino !== known.ino) continue;
    const own = await look(part);
    if (own?.dev === known.dev && own.ino === known.ino) await rm(part);
    return path;
  }
  return undefined;
}

/** Sets permission bits; file systems without them may refuse that. */
export async function permit(file: FileHandle, mode: number): Promise<void> {
  await file.chmod(mode).catch((error: unknown) => {
    if (!['EPERM', 'EOPNOTSUPP', 'ENOSYS'].includes(systemCode(error) ?? '')) throw error;
  });
}

/**
 * Names the part `path` unless that is taken, by whatever it may be: false then, and the part stays.
 *
 * @remarks rename() overwrites, and Node has no call that does not: link() fails when the name is
 * taken, in one step. File systems without hard links get an empty placeholder, made exclusively and
 * then renamed over. There, what another program puts in the placeholder's place, or writes into it,
 * in the moment between the two calls is replaced; with link() there is no such moment.
 * @param keep - the part keeps its own name, too, unless it was renamed
 * @throws the system's error; then neither the part nor `path` changed
 */
export async function placeNew(part: string, path: string, keep = false): Promise<boolean> {
  try {
    await link(part, path);
  } catch (error) {
    const code = systemCode(error) ?? '';
    if (code === 'EEXIST') return false;
    if (NO_LINKS.has(code)) return placeByRename(part, path);
    throw error;
  }
  // The file is there; a second name of it that cannot be removed makes it no less so.
  if (!keep) await rm(part).catch(() => undefined);
  return true;
}

/** Another name of the part, to be renamed; the part itself where it can have no other. */
async function secondName(part: string): Promise<string> {
  const path = `${part}.new`;
  await rm(path, { force: true });
  try {
    await link(part, path);
    return path;
  } catch (error) {
    if (NO_LINKS.has(systemCode(error) ?? '')) return part;
    throw error;
  }
}

async function placeByRename(part: string, path: string): Promise<boolean> {
  let placeholder: BigIntStats;
  try {
    const handle = await open(path, 'wx', 0o600);
    try {
      placeholder = await handle.stat({ bigint: true });
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
  try {
    await rename(part, path);
    return true;
  } catch (error) {
    await removePlaceholder(path, placeholder).catch(() => undefined);
    throw error;
  }
}

/** Removes the placeholder if it is still ours and empty. */
async function removePlaceholder(path: string, { dev, ino }: BigIntStats): Promise<void> {
  const now = await lstat(path, { bigint: true });
  if (now.dev === dev && now.ino === ino && now.size === 0n) await rm(path);
}

/** Makes the names in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } catch (error) {
    // Some file systems cannot sync a folder; the file itself is durable.
    if (systemCode(error) !== 'EINVAL') throw error;
  } finally {
    await handle.close();
  }
}
