/** Writing once more what stands in the parts of a folder, where it turned out to be wrong. */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import type { Sink } from './landing.ts';
import { writeFailure } from './refusal.ts';
import type { Runs } from './runs.ts';
import { partPath } from './staging-folder.ts';

/** Part by part; one large file is open at a time. */
export class Rewriting {
  readonly #folder: string;
  readonly #pack: FileHandle;
  #open: { readonly part: number; readonly file: FileHandle } | undefined;
  #stopped = false;

  /** @param pack - the open part of the small files; stays its owner's */
  constructor(folder: string, pack: FileHandle) {
    this.#folder = folder;
    this.#pack = pack;
  }

  /** Takes no more bytes. */
  stop(): void {
    this.#stopped = true;
  }

  /** A sink for the bytes from `offset` on. Rejects with a JetError (exit 8) `disk-full`, `write-failed`; RangeError */
  range(runs: Runs, offset: number, length: number): Sink {
    const end = offset + length;
    let at = offset;
    return {
      write: (bytes) => {
        if (at + bytes.length > end)
          return Promise.reject(new RangeError('more bytes than the range has'));
        const from = at;
        at += bytes.length;
        return this.#write(runs, bytes, from);
      },
    };
  }

  /** What was written is on the disk. Not the pack: its owner sees to that. */
  async sync(): Promise<void> {
    await this.#open?.file.datasync();
  }

  /** As `sync`, and nothing is open any more. */
  async close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    try {
      await open?.file.datasync();
    } finally {
      await open?.file.close();
    }
  }

  async #write(runs: Runs, bytes: Buffer, from: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.length;) {
        if (this.#stopped) throw new Error('the folder is closed');
        const run = runs.runs[runs.indexOf(from + done)];
        if (run === undefined) throw new RangeError('the range leaves what is there');
        const within = from + done - run.start;
        const length = Math.min(bytes.length - done, run.size - within);
        const file = run.part === undefined ? this.#pack : await this.#file(run.part);
        done += (await file.write(bytes, done, length, run.at + within)).bytesWritten;
      }
    } catch (error) {
      throw writeFailure(this.#folder, error);
    }
  }

  async #file(part: number): Promise<FileHandle> {
    if (this.#open?.part === part) return this.#open.file;
    await this.close();
    const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const file = await open(partPath(this.#folder, part), flags);
    this.#open = { part, file };
    return file;
  }
}
