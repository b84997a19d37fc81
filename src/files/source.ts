/** A file to send: opened once, identified, read in order with read-ahead. */
import { constants, type BigIntStats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { Exit, JetError, systemCode } from '../core/errors.ts';
import { type SourceIdentity, sameSource, sourceIdentity } from './identity.ts';

export type { SourceIdentity } from './identity.ts';

const BLOCK = 1024 * 1024;

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
  /** Permission bits. */
  readonly mode: number;
  readonly identity: SourceIdentity;
  /** For reading at positions; closed with the source. */
  readonly file: FileHandle;
  #closed = false;

  private constructor(path: string, name: string, file: FileHandle, stats: BigIntStats) {
    this.path = path;
    this.name = name;
    this.size = Number(stats.size);
    this.mtime = stats.mtime;
    this.mode = Number(stats.mode) & 0o777;
    this.identity = sourceIdentity(stats);
    this.file = file;
  }

  /**
   * Opens a regular file.
   *
   * @param expected - what it was when the transfer began, to go on with it
   * @throws JetError (exit 8) `file-missing`, `file-unreadable`, `is-a-folder`, `not-a-file`,
   * `source-changed` when it is not what was expected
   */
  static async open(path: string, expected?: SourceIdentity): Promise<FileSource> {
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
      if (expected !== undefined && !sameSource(sourceIdentity(stats), expected))
        throw changed(`${path} is not the file any more that it was when the transfer began`);
      return new FileSource(path, basename(path), file, stats);
    } catch (error) {
      await file.close();
      throw error instanceof JetError ? error : refusal(path, error);
    }
  }

  /** A source of a file that is open already, under a name of its own; `path` is for messages. */
  static async of(file: FileHandle, name: string, path: string): Promise<FileSource> {
    return new FileSource(path, name, file, await file.stat({ bigint: true }));
  }

  /**
   * The bytes from `offset` up to `end`, in order. A block is valid only until the next one is asked
   * for.
   *
   * @throws RangeError for a range that is none of this file; JetError (exit 8) `source-changed` when the file is no longer what was opened
   */
  async *read(offset = 0, end = this.size): AsyncGenerator<Buffer, void, undefined> {
    if (!(offset >= 0 && offset <= end && end <= this.size))
      throw new RangeError('the range leaves the file');
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
    const now = sourceIdentity(await this.file.stat({ bigint: true }));
    if (!sameSource(now, this.identity)) throw this.#changed();
  }

  /** Closes the file; twice is once. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.file.close();
  }

  #fill(block: Buffer, position: number, end: number): Promise<number> {
    const length = Math.min(block.length, end - position);
    const filled = this.file.read(block, 0, length, position).then(
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
    return changed(`${this.path} was changed while it was being sent`);
  }
}

function changed(what: string): JetError {
  return new JetError(Exit.localFile, 'source-changed', `${what}. Send it again.`);
}
