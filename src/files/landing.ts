/** Landing a file: a part beside the target that only `finish` turns into the file. */
import { constants } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { randomId } from '../core/bytes.ts';
import { systemCode } from '../core/errors.ts';
import { release } from './memory.ts';
import { alternativeName, partName } from './names.ts';
import { placeNew, syncFolder } from './place.ts';
import { checkLanding, type LandingPlan, targetExists, writeFailure } from './refusal.ts';
import { WriteRing } from './ring.ts';
import { FILE_MODE } from './umask.ts';

export type { ConflictPolicy } from './refusal.ts';

/** Where the pump writes plaintext that is not verified yet. */
export interface Sink {
  /**
   * Takes the bytes over and holds back while there is no room. The caller does not touch the buffer
   * again: the sink may keep it, or free its memory.
   */
  write(bytes: Buffer): Promise<void>;
}

/** How to land. */
export interface LandingOptions extends LandingPlan {
  /** False: always through the page cache. Default true, where the file system takes it. */
  readonly direct?: boolean;
}

/** Files below this size in bytes go through the page cache. */
const SMALL = 4 * 1024 * 1024;
const MAX_ALTERNATIVES = 10_000;
const MAX_ATTEMPTS = 8;

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
      if (attempt > MAX_ATTEMPTS) throw error;
      if ((code === 'EINVAL' || code === 'EOPNOTSUPP') && wanted) {
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
  /** Path of the part. */
  readonly part: string;
  /** True when the bytes pass by the page cache (O_DIRECT). */
  readonly direct: boolean;
  readonly #options: LandingOptions;
  readonly #file: FileHandle;
  readonly #ring: WriteRing;
  #finishing: Promise<string | undefined> | undefined;
  #closed = false;
  /** False once the part became the file or was removed: its name may be another's then. */
  #ours = true;

  private constructor(options: LandingOptions, part: string, file: FileHandle, direct: boolean) {
    this.#options = options;
    this.part = part;
    this.direct = direct;
    this.#file = file;
    this.#ring = new WriteRing(file, direct, 0, options.size);
  }

  /**
   * Makes the part; undefined when the target is there and the policy is `skip`.
   *
   * @throws JetError (exit 8) `target-exists`, `disk-full`, `folder-read-only`, `folder-missing`,
   * `write-failed`
   */
  static async open(options: LandingOptions): Promise<Landing | undefined> {
    const { target, size } = options;
    if ((await checkLanding(options)) === 'skip') return undefined;
    try {
      const part = await openPart(target, options.direct !== false && size >= SMALL);
      return new Landing(options, part.path, part.file, part.direct);
    } catch (error) {
      throw writeFailure(target, error);
    }
  }

  /** @throws JetError (exit 8) `disk-full`, `write-failed` */
  async write(bytes: Buffer): Promise<void> {
    try {
      await this.#ring.write(bytes);
    } catch (error) {
      throw writeFailure(this.#options.target, error);
    }
    // The ring has copied them.
    release(bytes);
  }

  /**
   * Everything is verified: makes the part the file, durably.
   *
   * @returns the path it has, or undefined when `skip` found the target taken meanwhile
   * @throws JetError (exit 8); the part stays then, until `abort('remove')`
   */
  finish(): Promise<string | undefined> {
    this.#finishing ??= this.#finish();
    return this.#finishing;
  }

  /**
   * Gives up; the target stays untouched. Never rejects. After a `finish` that failed it still decides
   * what becomes of the part; after one that did well it does nothing.
   */
  async abort(part: 'keep' | 'remove'): Promise<void> {
    this.#ring.stop();
    await this.#finishing?.catch(() => undefined);
    await this.#close(part);
    if (part === 'remove') await this.#remove();
  }

  async #finish(): Promise<string | undefined> {
    const { target } = this.#options;
    try {
      await this.#ring.flush();
      await this.#file.truncate(this.#ring.intact);
      await this.#chmod();
      await this.#file.sync();
      await this.#close('remove');
      const landed = await this.#place();
      if (landed !== undefined) await syncFolder(dirname(target));
      return landed;
    } catch (error) {
      await this.#close('keep');
      throw writeFailure(target, error);
    }
  }

  /** File systems without permissions may refuse to set them. */
  async #chmod(): Promise<void> {
    await this.#file.chmod(FILE_MODE).catch((error: unknown) => {
      if (!['EPERM', 'EOPNOTSUPP', 'ENOSYS'].includes(systemCode(error) ?? '')) throw error;
    });
  }

  async #close(part: 'keep' | 'remove'): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (part === 'keep') {
      // Padding and what lies behind a failed write must not look like data.
      await this.#ring.flush().catch(() => undefined);
      await this.#file.truncate(this.#ring.intact).catch(() => undefined);
    }
    await this.#ring.settle();
    await this.#file.close().catch(() => undefined);
  }

  async #remove(): Promise<void> {
    if (!this.#ours) return;
    this.#ours = false;
    await rm(this.part, { force: true }).catch(() => undefined);
  }

  async #place(): Promise<string | undefined> {
    const { target, onConflict } = this.#options;
    if (onConflict === 'overwrite') {
      await rename(this.part, target);
      this.#ours = false;
      return target;
    }
    for (let n = 0; n < MAX_ALTERNATIVES; n++) {
      const path = n === 0 ? target : join(dirname(target), alternativeName(basename(target), n));
      if (await placeNew(this.part, path)) {
        this.#ours = false;
        return path;
      }
      if (onConflict === 'skip') {
        await this.#remove();
        return undefined;
      }
      if (onConflict === 'fail') break;
    }
    throw targetExists(target);
  }
}
