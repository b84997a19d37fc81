/** A file to send: opened once, identified, read in order with read-ahead. */
import { constants, type BigIntStats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { Exit, JetError, systemCode } from '../core/errors.ts';

/** What tells a file from another and from itself after a change. */
export interface SourceIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

const BLOCK = 1024 * 1024;

function identityOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): SourceIdentity {
  return { dev, ino, size, mtimeNs, ctimeNs };
}

function same(a: SourceIdentity, b: SourceIdentity): boolean {
  return (
    a.dev === b.dev &&
    a.ino === b.ino &&
    a.size === b.size &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs
  );
}

function refusal(path: string, error: unknown): JetError {
  const options = { cause: error };
  const code = systemCode(error);
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new JetError(
      Exit.localFile,
      'file-missing',
      `${path} does not exist. Check the name.`,
      options,
    );
  if (code === 'EACCES' || code === 'EPERM')
    return new JetError(
      Exit.localFile,
      'file-unreadable',
      `${path} may not be read. Change its permissions, or ask its owner.`,
      options,
    );
  // A socket cannot be opened at all.
  if (code === 'ENXIO') return notRegular(path);
  return new JetError(
    Exit.localFile,
    'file-unreadable',
    `${path} could not be read (${code ?? 'unknown error'}). Check the disk, and try again.`,
    options,
  );
}

function notRegular(path: string): JetError {
  return new JetError(
    Exit.localFile,
    'not-a-file',
    `${path} is not a regular file. Copy what it holds into one and send that.`,
  );
}

/** An open source. What was opened is what is sent, whatever the path names later. */
export class FileSource {
  readonly path: string;
  readonly name: string;
  readonly size: number;
  readonly mtime: Date;
  readonly identity: SourceIdentity;
  readonly #file: FileHandle;
  #closed = false;

  private constructor(path: string, file: FileHandle, stats: BigIntStats) {
    this.path = path;
    this.name = basename(path);
    this.size = Number(stats.size);
    this.mtime = stats.mtime;
    this.identity = identityOf(stats);
    this.#file = file;
  }

  /**
   * Opens a regular file.
   *
   * @throws JetError (exit 8) `file-missing`, `file-unreadable`, `is-a-folder`, `not-a-file`
   */
  static async open(path: string): Promise<FileSource> {
    let file: FileHandle;
    try {
      // Without O_NONBLOCK a fifo would hold us here until somebody writes to it.
      file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      throw refusal(path, error);
    }
    try {
      const stats = await file.stat({ bigint: true });
      if (stats.isDirectory())
        throw new JetError(
          Exit.localFile,
          'is-a-folder',
          `${path} is a folder. Send the files in it, or an archive of it.`,
        );
      if (!stats.isFile()) throw notRegular(path);
      return new FileSource(path, file, stats);
    } catch (error) {
      await file.close();
      throw error instanceof JetError ? error : refusal(path, error);
    }
  }

  /**
   * The bytes from `offset` up to `end`, in order. A block is valid only until the next one is asked for.
   *
   * @throws JetError (exit 8) `source-changed` when the file is no longer what was opened
   */
  async *read(offset = 0, end = this.size): AsyncGenerator<Buffer, void, undefined> {
    const room = Math.max(1, Math.min(BLOCK, end - offset));
    let [current, spare] = [Buffer.allocUnsafeSlow(room), Buffer.allocUnsafeSlow(room)];
    let position = offset;
    let pending = this.#fill(current, position, end);
    try {
      while (position < end) {
        const got = await pending;
        if (got === 0) throw this.#changed();
        position += got;
        // The next block is read while the consumer works on this one.
        pending = position < end ? this.#fill(spare, position, end) : Promise.resolve(0);
        yield current.subarray(0, got);
        [current, spare] = [spare, current];
      }
      await this.check();
    } finally {
      await pending.catch(() => 0);
    }
  }

  /** @throws JetError (exit 8) `source-changed` when size, times or the file itself changed */
  async check(): Promise<void> {
    const now = identityOf(await this.#file.stat({ bigint: true }));
    if (!same(now, this.identity)) throw this.#changed();
  }

  /** Closes the file; twice is once. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#file.close();
  }

  #fill(block: Buffer, position: number, end: number): Promise<number> {
    const length = Math.min(block.length, end - position);
    const filled = this.#file.read(block, 0, length, position).then(
      ({ bytesRead }) => bytesRead,
      (error: unknown) => {
        throw refusal(this.path, error);
      },
    );
    // It may fail while nobody waits for it; whoever asks for the block still gets the error.
    filled.catch(() => undefined);
    return filled;
  }

  #changed(): JetError {
    return new JetError(
      Exit.localFile,
      'source-changed',
      `${this.path} was changed while it was being sent. Send it again.`,
    );
  }
}
