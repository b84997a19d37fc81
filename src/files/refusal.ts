/** Why a file cannot land, found out as early as it can be. */
import { constants } from 'node:fs';
import { access, lstat, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Exit, JetError, systemCode } from '../core/errors.ts';

/** What to do when the target is there already. */
export type ConflictPolicy = 'rename' | 'overwrite' | 'skip' | 'fail';

/** The part of a landing that can be judged before anything is accepted. */
export interface LandingPlan {
  /** Wanted path; its last segment has gone through `safeName`. */
  readonly target: string;
  /** Bytes to come. */
  readonly size: number;
  readonly onConflict: ConflictPolicy;
}

const ELSEWHERE = 'or choose another folder with --out';

/** The user's error for anything that went wrong while `path` was being written. */
export function writeFailure(path: string, error: unknown): JetError {
  if (error instanceof JetError) return error;
  const code = systemCode(error) ?? 'unknown error';
  const folder = dirname(path);
  const refuse = (word: string, text: string) =>
    new JetError(Exit.localFile, word, text, { cause: error });
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return refuse(
        'disk-full',
        `no space was left to write ${path}. Free some and try again, ${ELSEWHERE}.`,
      );
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return refuse(
        'folder-read-only',
        `${folder} may not be written to. Change its permissions, ${ELSEWHERE}.`,
      );
    case 'ENOENT':
    case 'ENOTDIR':
      return refuse('folder-missing', `${folder} is no folder. Make it, ${ELSEWHERE}.`);
    default:
      return refuse(
        'write-failed',
        `${path} could not be written (${code}). Check the disk, ${ELSEWHERE}.`,
      );
  }
}

/** The error for a target that is there and must stay. */
export function targetExists(path: string): JetError {
  const message = `${path} exists already. Move it away, or choose another policy with --on-conflict.`;
  return new JetError(Exit.localFile, 'target-exists', message);
}

/**
 * Judges a landing before the offer is accepted; leaves nothing behind. `Landing.open` judges again.
 *
 * @returns `skip` when the target is there and the policy says so
 * @throws JetError (exit 8) `folder-missing`, `folder-read-only`, `disk-full`, `target-exists`
 */
export async function checkLanding(plan: LandingPlan): Promise<'clear' | 'skip'> {
  const { target, onConflict } = plan;
  const folder = dirname(target);
  try {
    if (!(await stat(folder)).isDirectory())
      throw Object.assign(new Error('not a folder'), { code: 'ENOTDIR' });
    const there = await kindOf(target);
    if (there !== 'nothing' && onConflict === 'skip') return 'skip';
    if (there !== 'nothing' && onConflict === 'fail') throw targetExists(target);
    if (there === 'folder' && onConflict === 'overwrite')
      throw new JetError(
        Exit.localFile,
        'target-exists',
        `${target} is a folder, which is never overwritten. Move it away, or choose another policy with --on-conflict.`,
      );
    await access(folder, constants.W_OK | constants.X_OK);
    await checkSpace(folder, plan.size);
    return 'clear';
  } catch (error) {
    throw writeFailure(target, error);
  }
}

async function checkSpace(folder: string, size: number): Promise<void> {
  const { blocks, bavail, bsize } = await statfs(folder, { bigint: true });
  // A file system that counts no blocks at all does not tell.
  if (blocks === 0n || bavail * bsize >= BigInt(size)) return;
  const free = String(bavail * bsize);
  throw new JetError(
    Exit.localFile,
    'disk-full',
    `${folder} has ${free} bytes free, and ${String(size)} are needed. Free some space and try again, ${ELSEWHERE}.`,
  );
}

async function kindOf(path: string): Promise<'nothing' | 'folder' | 'other'> {
  try {
    return (await lstat(path)).isDirectory() ? 'folder' : 'other';
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 'nothing';
    throw error;
  }
}
