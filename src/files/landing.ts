/** Landing a file: a part beside the target that only `finish` turns into the file. */
import { constants } from 'node:fs';
import { link, lstat, open, rename, rm, statfs, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { randomId } from '../core/bytes.ts';
import { Exit, JetError, systemCode } from '../core/errors.ts';
import { alternativeName, partName } from './names.ts';
import { WriteRing } from './ring.ts';

/** What to do when the target is there already. */
export type ConflictPolicy = 'rename' | 'overwrite' | 'skip' | 'fail';

/** Where the pump writes plaintext that is not verified yet. */
export interface Sink {
  /** Takes the bytes (they may be reused after it resolves) and holds back while there is no room. */
  write(bytes: Buffer): Promise<void>;
}

/** How to land. */
export interface LandingOptions {
  /** Wanted path; its last segment has gone through `safeName`. */
  readonly target: string;
  /** Bytes to come. */
  readonly size: number;
  readonly onConflict: ConflictPolicy;
  /** False: always through the page cache. Default true, where the file system takes it. */
  readonly direct?: boolean;
}

/** Files below this size in bytes go through the page cache. */
const SMALL = 4 * 1024 * 1024;
const MAX_ALTERNATIVES = 10_000;

function failure(path: string, error: unknown): JetError {
  if (error instanceof JetError) return error;
  const code = systemCode(error) ?? 'unknown error';
  const [word, text] =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? ['disk-full', `no space left to write ${path}; free some and try again.`]
      : code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
        ? ['folder-read-only', `${dirname(path)} may not be written to: change its permissions, or choose another with --out.`]
        : code === 'ENOENT' || code === 'ENOTDIR'
          ? ['folder-missing', `${dirname(path)} is not a folder: make it, or choose another with --out.`]
          : ['write-failed', `${path} could not be written (${code}).`];
  return new JetError(Exit.localFile, word, text, { cause: error });
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}

function taken(path: string): JetError {
  return new JetError(Exit.localFile, 'target-exists', `${path} exists already: move it away, or choose --on-conflict rename.`);
}

/** Opens the part exclusively, so that neither a planted link nor another receiver's part is used. */
async function openPart(
  target: string,
  direct: boolean,
): Promise<{ path: string; file: FileHandle; direct: boolean }> {
  const base = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  let path = join(dirname(target), partName(basename(target)));
  let wanted = direct;
  for (let attempt = 0; ; attempt++) {
    try {
      const flags = wanted ? base | constants.O_DIRECT : base;
      return { path, file: await open(path, flags, 0o600), direct: wanted };
    } catch (error) {
      const code = systemCode(error);
      if (attempt > 8) throw error;
      if (code === 'EINVAL' || code === 'EOPNOTSUPP') {
        if (!wanted) throw error;
        wanted = false;
        // Some kernels refuse O_DIRECT only after they have made the file; it is ours and empty.
        await rm(path, { force: true });
      } else if (code === 'EEXIST') {
        path = join(dirname(target), partName(basename(target), randomId().slice(0, 8)));
      } else throw error;
    }
  }
}

/** A file that is being received. */
export class Landing implements Sink {
  readonly part: string;
  readonly #options: LandingOptions;
  readonly #file: FileHandle;
  readonly #ring: WriteRing;
  #written = 0;
  #closed = false;

  private constructor(options: LandingOptions, part: string, file: FileHandle, direct: boolean) {
    this.#options = options;
    this.part = part;
    this.#file = file;
    this.#ring = new WriteRing(file, direct, 0, options.size);
  }

  /**
   * Makes the part; undefined when the target is there and the policy is `skip`.
   *
   * @throws JetError (exit 8) `target-exists`, `disk-full`, `folder-read-only`, `folder-missing`
   */
  static async open(options: LandingOptions): Promise<Landing | undefined> {
    const { target, size, onConflict } = options;
    try {
      if ((onConflict === 'fail' || onConflict === 'skip') && (await exists(target))) {
        if (onConflict === 'skip') return undefined;
        throw taken(target);
      }
      const space = await statfs(dirname(target), { bigint: true });
      if (space.bavail * space.bsize < BigInt(size))
        throw new JetError(
          Exit.localFile,
          'disk-full',
          `${dirname(target)} has not enough space for ${basename(target)}: free some, or choose another folder with --out.`,
        );
      const direct = options.direct !== false && size >= SMALL;
      const part = await openPart(target, direct);
      return new Landing(options, part.path, part.file, part.direct);
    } catch (error) {
      throw failure(target, error);
    }
  }

  /** @throws JetError (exit 8) `disk-full`, `write-failed` */
  async write(bytes: Buffer): Promise<void> {
    try {
      await this.#ring.write(bytes);
      this.#written += bytes.length;
    } catch (error) {
      throw failure(this.#options.target, error);
    }
  }

  /**
   * Everything is verified: makes the part the file, durably.
   *
   * @returns the path it has, or undefined when `skip` found the target taken meanwhile
   * @throws JetError (exit 8); the part stays then
   */
  async finish(): Promise<string | undefined> {
    const { target } = this.#options;
    try {
      await this.#ring.flush();
      await this.#file.truncate(this.#written);
      await this.#file.chmod(0o666 & ~process.umask());
      await this.#file.sync();
      await this.#close();
      const landed = await this.#place();
      if (landed !== undefined) await syncFolder(dirname(target));
      return landed;
    } catch (error) {
      await this.#close();
      throw failure(target, error);
    }
  }

  /** Gives up; the target stays untouched. Never rejects. */
  async abort(part: 'keep' | 'remove'): Promise<void> {
    if (this.#closed) return;
    await this.#ring.settle();
    // What is padded beyond the last byte must not look like data.
    if (part === 'keep') {
      await this.#ring.flush().catch(() => undefined);
      await this.#file.truncate(this.#written).catch(() => undefined);
    }
    await this.#close();
    if (part === 'remove') await rm(this.part, { force: true }).catch(() => undefined);
  }

  async #close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#ring.settle();
    await this.#file.close().catch(() => undefined);
  }

  async #place(): Promise<string | undefined> {
    const { target, onConflict } = this.#options;
    if (onConflict === 'overwrite') {
      await rename(this.part, target);
      return target;
    }
    for (let n = 0; n < MAX_ALTERNATIVES; n++) {
      const path = n === 0 ? target : join(dirname(target), alternativeName(basename(target), n));
      if (await placeNew(this.part, path)) return path;
      if (onConflict === 'skip') {
        await rm(this.part, { force: true });
        return undefined;
      }
      if (onConflict === 'fail') throw taken(target);
    }
    throw taken(target);
  }
}

/**
 * Names the part `path` unless that is taken: false then.
 *
 * @remarks rename() overwrites, and Node has no call that does not: link() fails when the name is
 * taken, in one step, links included. File systems without hard links get an empty placeholder that
 * is made exclusively and then renamed over, so that nobody else's file is ever replaced.
 */
async function placeNew(part: string, path: string): Promise<boolean> {
  try {
    await link(part, path);
    await rm(part);
    return true;
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EEXIST') return false;
    if (code !== 'EPERM' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS') throw error;
  }
  try {
    await (await open(path, 'wx', 0o600)).close();
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
  await rename(part, path);
  return true;
}

async function syncFolder(folder: string): Promise<void> {
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
