/**
 * What has come of a folder, before it is proven: one folder of its own, in which small files stand one behind
 * the other in one part, and every large file has a part for itself.
 *
 * So a checkpoint makes few files durable, however many there are in the folder, and a large file is written once.
 */
import { open, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { JetError } from '../core/errors.ts';
import type { Reading } from './aligned.ts';
import type { PartIdentity } from './identity.ts';
import { Landing, type Checkpoint, type Sink } from './landing.ts';
import { PACK, packName, type Naming } from './part-name.ts';
import { syncFolder } from './place.ts';
import { writeFailure } from './refusal.ts';
import { Rewriting } from './rewriting.ts';
import { Runs, type Run } from './runs.ts';
import {
  changed,
  checkParts,
  makeFolder,
  openFolder,
  partPath,
  READ,
  readStart,
  removeStaging,
  tailAt,
} from './staging-folder.ts';

/** Large files whose last bytes are made durable at once, while others come. */
const MOST_CLOSING = 4;

/** A folder that was set aside. */
export interface Kept {
  readonly path: string;
  /** Bytes of the list at the head of the stream, and of the whole. */
  readonly head: number;
  readonly size: number;
  /** Bytes that are durable. */
  readonly written: number;
  readonly expected: PartIdentity;
  /** The sizes of the files, in order. @throws JetError unless it is the list that was offered */
  readonly sizesOf: (list: Buffer) => readonly number[];
}

/** The stream of a folder on its way into parts. */
export class Staging {
  /** Path of the folder. */
  readonly path: string;
  /** For reading all that was taken, after `settle`; the position is that of the stream. */
  readonly file: Reading = {
    read: (buffer, offset, length, position) => {
      const read = this.#reading.then(() => this.#read(buffer, offset, length, position));
      this.#reading = read.catch(() => undefined);
      return read;
    },
  };
  readonly #folder: FileHandle;
  readonly #pack: Landing;
  #runs: Runs;
  /** The run that takes the next byte, and where that stands in the stream. */
  #at: number;
  #position: number;
  /** The large file that is under way. */
  #part: Landing | undefined;
  readonly #closing = new Set<Promise<void>>();
  #checkpointing: Promise<unknown> = Promise.resolve();
  #reading: Promise<unknown> = Promise.resolve();
  /** A large file that is open for reading. */
  #open: { readonly part: number; readonly file: FileHandle } | undefined;
  readonly #rewriting: Rewriting;
  #failure: Error | undefined;
  /** It was set aside or given up: nothing is opened any more. */
  #over = false;
  /** Something in the folder has a name that is not durable yet. */
  #named = true;
  /** What stands behind it could not be written. */
  #sound = Infinity;

  private constructor(
    path: string,
    folder: FileHandle,
    pack: Landing,
    runs: Runs,
    position: number,
    part?: Landing,
  ) {
    this.path = path;
    this.#folder = folder;
    this.#pack = pack;
    this.#runs = runs;
    this.#position = position;
    this.#at = runs.indexOf(position);
    this.#part = part;
    this.#rewriting = new Rewriting(path, pack.file);
  }

  /**
   * Makes the folder beside the target; nothing that lies there is used.
   *
   * @param head - bytes of the list, which come first
   * @param size - bytes of the stream
   * @throws JetError (exit 8) as `Landing.open`
   */
  static async make(target: string, head: number, size: number, naming?: Naming): Promise<Staging> {
    let path: string | undefined;
    let folder: FileHandle | undefined;
    try {
      path = await makeFolder(target, naming);
      folder = await openFolder(path);
      const plan = { target: join(path, PACK), size, onConflict: 'fail', direct: false } as const;
      const pack = await Landing.open(plan);
      if (pack === undefined) throw new Error('a new folder is empty');
      await syncFolder(dirname(path));
      return new Staging(path, folder, pack, new Runs(head, 0, []), 0);
    } catch (error) {
      await folder?.close();
      if (path !== undefined) await rm(path, { recursive: true, force: true });
      throw writeFailure(target, error);
    }
  }

  /**
   * Opens it again, if it is what it was. What it holds behind `written` goes.
   *
   * @returns with the first byte to write, at most 4,095 before `written`
   * @throws JetError (exit 8) `part-missing`, `part-changed`, and as `Landing.resume`
   */
  static async reopen(kept: Kept): Promise<{ readonly staging: Staging; readonly start: number }> {
    const { path, head, size, written, expected } = kept;
    const open: { close(): Promise<void> }[] = [];
    const landing = async (name: string, offset: number, of: number) => {
      const part = join(path, `${name}.jet-part`);
      const plan = {
        target: join(path, name),
        size: of,
        onConflict: 'fail',
        part,
        offset,
      } as const;
      const opened = await Landing.resume({ ...plan, ...(name === PACK && { direct: false }) });
      if (opened === undefined) throw new Error('nothing is skipped here');
      open.push({ close: () => opened.landing.abort('keep') });
      return opened;
    };
    try {
      const folder = await openFolder(path, expected);
      open.push(folder);
      const runs =
        written < head
          ? new Runs(head, 0, [])
          : new Runs(head, size, kept.sizesOf(await readStart(join(path, packName), head, path)));
      if (!(await tailAt(path, runs, written)).equals(expected.tail))
        throw changed(path, 'what was written last is another');
      const run = runs.runs[runs.indexOf(written)];
      await checkParts(path, runs, written);
      const end = runs.packed(written);
      const pack = await landing(PACK, end, end + size - written);
      const within = run?.part !== undefined && written > run.start ? run : undefined;
      const part =
        within && (await landing(String(within.part), written - within.start, within.size));
      const start = within && part ? within.start + part.start : written;
      const staging = new Staging(path, folder, pack.landing, runs, start, part?.landing);
      return { staging, start };
    } catch (error) {
      for (const one of open) await one.close().catch(() => undefined);
      throw error instanceof JetError ? error : writeFailure(path, error);
    }
  }

  /** Bytes that were taken. */
  get position(): number {
    return this.#position;
  }

  /** The list is there, and says what comes. @param sizes - of the files, in order */
  arrange(head: number, size: number, sizes: readonly number[]): void {
    this.#runs = new Runs(head, size, sizes);
    this.#at = this.#runs.indexOf(this.#position);
  }

  /** As `Sink`. Rejects with a JetError (exit 8) `disk-full`, `write-failed`. */
  write(bytes: Buffer): Promise<void> | undefined {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const run = this.#runs.runs[this.#at];
    const sink = run?.part === undefined ? this.#pack : this.#part;
    const within = run !== undefined && this.#position + bytes.length < run.start + run.size;
    if (!within || sink === undefined) return this.#spread(bytes);
    this.#position += bytes.length;
    return sink.write(bytes);
  }

  /** As `Landing.settle`. */
  async settle(): Promise<number> {
    await this.#closed();
    await this.#pack.settle();
    await this.#part?.settle();
    await this.#rewriting.close();
    return this.#position;
  }

  /**
   * As `Landing.range`, of what stands there already.
   *
   * @throws JetError (exit 8) `disk-full`, `write-failed`; RangeError
   */
  async range(offset: number, length: number): Promise<Sink> {
    await this.settle();
    if (!(offset >= 0 && length >= 0 && offset + length <= this.#position))
      throw new RangeError('the range leaves what is there');
    return this.#rewriting.range(this.#runs, offset, length);
  }

  /** As `Landing.checkpoint`. */
  checkpoint(): Promise<Checkpoint> {
    return this.#taking('checkpoint');
  }

  /** As `Landing.reached`. */
  reached(): Promise<Checkpoint> {
    return this.#taking('reached');
  }

  #taking(how: 'checkpoint' | 'reached'): Promise<Checkpoint> {
    const taken = this.#take(how);
    this.#checkpointing = taken.catch(() => undefined);
    return taken;
  }

  /** As `Landing.suspend`. */
  async suspend(): Promise<Checkpoint> {
    this.#over = true;
    this.#rewriting.stop();
    try {
      await this.#checkpointing;
      await Promise.all(this.#closing);
      await this.#rewriting.close();
      const { written: pack } = await this.#pack.suspend();
      const part = await this.#part?.suspend();
      await this.#syncNames();
      const runs = this.#runs;
      return await this.#identify(runs, this.#reach(runs, this.#at, pack, part?.written ?? 0));
    } catch (error) {
      await this.#part?.abort('keep');
      throw writeFailure(this.path, error);
    } finally {
      await this.#close();
    }
  }

  /** As `Landing.abort`; `remove` takes the whole folder. Never rejects. */
  async abort(part: 'keep' | 'remove'): Promise<void> {
    this.#over = true;
    this.#rewriting.stop();
    await this.#checkpointing;
    await Promise.all(this.#closing);
    await this.#pack.abort(part);
    await this.#part?.abort(part);
    if (part === 'remove') await this.#remove();
    await this.#close();
  }

  /** The part of a large file; undefined for what stands among others. */
  partOf(index: number): string | undefined {
    return this.#runs.isLarge(index) ? partPath(this.path, index) : undefined;
  }

  /** Where a file stands in the stream. */
  startOf(index: number): number {
    return this.#runs.startOf(index);
  }

  /** Bytes of the stream, after `settle`; fewer than asked for only at its end. */
  async bytes(start: number, length: number): Promise<Buffer> {
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await this.file.read(buffer, 0, length, start);
    return buffer.subarray(0, bytesRead);
  }

  /** Goes on over the ends of files. */
  async #spread(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const run = this.#runs.runs[this.#at];
      if (run === undefined) throw new Error('more bytes than the folder has');
      const end = run.start + run.size;
      // Of what is freed by whoever takes it only its length is left.
      const take = bytes.subarray(at, at + end - this.#position);
      const { length } = take;
      await (await this.#sink(run)).write(take);
      at += length;
      this.#position += length;
      if (this.#position === end) await this.#next(run);
    }
  }

  async #sink({ part, size }: Run): Promise<Landing> {
    if (part === undefined) return this.#pack;
    if (this.#part !== undefined) return this.#part;
    const plan = { target: join(this.path, String(part)), size, onConflict: 'fail' } as const;
    const opened = await Landing.open(plan);
    if (opened?.part !== partPath(this.path, part)) {
      await opened?.abort('remove');
      throw changed(this.path, 'something lies there that jet has not made');
    }
    if (this.#over) {
      await opened.abort('keep');
      throw new Error('the folder is closed');
    }
    this.#part = opened;
    this.#named = true;
    return opened;
  }

  /** All bytes of a run are taken. */
  async #next({ part: large, start }: Run): Promise<void> {
    this.#at++;
    const part = this.#part;
    if (large === undefined || part === undefined) return;
    this.#part = undefined;
    const before = this.#checkpointing;
    const close = async () => {
      try {
        // It still looks at this file.
        await before;
        await part.settle();
        await part.file.sync();
      } catch (error) {
        this.#failure ??= writeFailure(this.path, error);
        this.#sound = Math.min(this.#sound, start);
      } finally {
        await part.abort('keep');
      }
    };
    const closing = close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
    if (this.#closing.size >= MOST_CLOSING) await Promise.race(this.#closing);
  }

  /** Every large file that is over is on the disk. */
  async #closed(): Promise<void> {
    await this.#checkpointing;
    await Promise.all(this.#closing);
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #take(how: 'checkpoint' | 'reached'): Promise<Checkpoint> {
    // What is under way now: more may come meanwhile, and does not count.
    const [at, part, runs] = [this.#at, this.#part, this.#runs];
    try {
      await Promise.all(this.#closing);
      if (how === 'checkpoint') await this.#rewriting.sync();
      const { written: pack } = await this.#pack[how]();
      const own = await part?.[how]();
      if (how === 'checkpoint') await this.#syncNames();
      return await this.#identify(runs, this.#reach(runs, at, pack, own?.written ?? 0));
    } catch (error) {
      throw writeFailure(this.path, error);
    }
  }

  async #syncNames(): Promise<void> {
    if (!this.#named) return;
    this.#named = false;
    await syncFolder(this.path);
  }

  /** Up to where the stream is written without a gap, of which `at` is the last run. */
  #reach({ runs }: Runs, at: number, pack: number, part: number): number {
    // Behind the last run, which is in the pack, nothing is to come.
    const run = runs[Math.min(at, runs.length - 1)];
    if (run === undefined) return 0;
    const own = run.part === undefined ? pack - run.at : part;
    return Math.min(run.start + Math.min(own, run.size), this.#sound);
  }

  async #identify(runs: Runs, written: number): Promise<Checkpoint> {
    const { dev, ino, uid, mode } = await this.#folder.stat({ bigint: true });
    const tail = await tailAt(this.path, runs, written);
    return { written, identity: { dev, ino, uid, mode, tail } };
  }

  async #read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesRead: number }> {
    let done = 0;
    while (done < length) {
      const run = this.#runs.runs[this.#runs.indexOf(position + done)];
      if (run === undefined) break;
      const from = position + done - run.start;
      const wanted = Math.min(length - done, run.size - from);
      const file = run.part === undefined ? this.#pack.file : await this.#opened(run.part);
      const { bytesRead } = await file.read(buffer, offset + done, wanted, run.at + from);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return { bytesRead: done };
  }

  async #opened(part: number): Promise<FileHandle> {
    if (this.#open?.part === part) return this.#open.file;
    await this.#open?.file.close();
    this.#open = undefined;
    const file = await open(partPath(this.path, part), READ);
    this.#open = { part, file };
    return file;
  }

  async #remove(): Promise<void> {
    const own = await this.#folder.stat({ bigint: true }).catch(() => undefined);
    if (own !== undefined) await removeStaging(this.path, own).catch(() => undefined);
  }

  async #close(): Promise<void> {
    await this.#reading;
    await this.#open?.file.close().catch(() => undefined);
    this.#open = undefined;
    await this.#rewriting.close().catch(() => undefined);
    await this.#folder.close().catch(() => undefined);
  }
}
