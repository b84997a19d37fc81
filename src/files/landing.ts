/** Landing a file: a part beside the target that only `finish` turns into the file. */
import { rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { alignDown, alignedBuffer, ALIGNMENT, alignUp, readAligned } from './aligned.ts';
import { TAIL, type PartIdentity } from './identity.ts';
import { release } from './memory.ts';
import type { Naming } from './part-name.ts';
import { checkName, makePart, partIdentity, reopenPart, type Part } from './part.ts';
import { permit, place, syncFolder } from './place.ts';
import { checkLanding, type LandingPlan, writeFailure } from './refusal.ts';
import { WriteRing } from './ring.ts';
import { FILE_MODE } from './umask.ts';

export type { ConflictPolicy } from './refusal.ts';

/** Where the pump writes plaintext that is not verified yet. */
export interface Sink {
  /**
   * Takes the bytes over. The caller does not touch the buffer again: the sink may keep it, or free its
   * memory.
   *
   * @returns undefined when more may come at once, else a promise for when it may
   */
  write(bytes: Buffer): Promise<void> | undefined;
}

/** How to land. */
export interface LandingOptions extends LandingPlan {
  /** False: always through the page cache. Default true, where the file system takes it. */
  readonly direct?: boolean;
  /** Told what the part is called, before there is one. */
  readonly naming?: Naming;
}

/** How to go on with a part that was set aside. */
export interface ResumeOptions extends LandingOptions {
  readonly part: string;
  /** Bytes that are written in the part. */
  readonly offset: number;
  /** Undefined: what it was is known by the folder in which it lies. */
  readonly expected?: PartIdentity;
}

/** How far a part is written, and what it is known by. */
export interface Checkpoint {
  readonly written: number;
  readonly identity: PartIdentity;
}

/** Files below this size in bytes go through the page cache. */
const SMALL = 4 * 1024 * 1024;

/** A file that is being received. */
export class Landing implements Sink {
  /** Path of the part. */
  readonly part: string;
  /** True when the bytes pass by the page cache (O_DIRECT). */
  readonly direct: boolean;
  readonly #options: LandingOptions;
  readonly #part: Part;
  #ring: WriteRing;
  /** Bytes that stood in the part without a gap before the ring began. */
  #base: number;
  /** The range that takes bytes; undefined: the landing itself does. */
  #range: Sink | undefined;
  #finishing: Promise<string | undefined> | undefined;
  #closed = false;
  /** False once the part became the file or was removed: its name may be another's then. */
  #ours = true;

  private constructor(options: LandingOptions, part: Part, base: number) {
    this.#options = options;
    this.part = part.path;
    this.direct = part.direct;
    this.#part = part;
    this.#base = base;
    const start = part.direct ? alignDown(base) : base;
    this.#ring = new WriteRing(part.file, part.direct, start, options.size - start);
  }

  /**
   * Makes the part; undefined when the target is there and the policy is `skip`.
   *
   * @throws JetError (exit 8) `target-exists`, `disk-full`, `folder-read-only`, `folder-missing`,
   * `write-failed`
   */
  static async open(options: LandingOptions): Promise<Landing | undefined> {
    if ((await checkLanding(options)) === 'skip') return undefined;
    try {
      return new Landing(
        options,
        await makePart(options.target, wantsDirect(options), options.naming),
        0,
      );
    } catch (error) {
      throw writeFailure(options.target, error);
    }
  }

  /**
   * Opens a part again, if it is what it was; undefined when the target is there and the policy is
   * `skip`. The first byte to write is that at `start`, at most 4,095 before the offset.
   *
   * @remarks From the first write on the part's times are no longer those of `expected`. What is to
   * survive a crash is recorded before, without them: `checkpoint` gives it.
   * @throws JetError (exit 8) `part-missing`, `part-changed`, and as `open`
   */
  static async resume(
    options: ResumeOptions,
  ): Promise<{ readonly landing: Landing; readonly start: number } | undefined> {
    const { target, size, offset, part, expected } = options;
    if ((await checkLanding({ ...options, size: size - offset })) === 'skip') return undefined;
    try {
      const opened = await reopenPart(part, wantsDirect(options), offset, expected);
      const landing = new Landing(options, opened, offset);
      return { landing, start: landing.#ring.end };
    } catch (error) {
      throw writeFailure(target, error);
    }
  }

  /** The open part, for reading what is written (aligned, by `readAligned`). Closed by the landing. */
  get file(): FileHandle {
    return this.#part.file;
  }

  /** Rejects with a JetError (exit 8) `disk-full`, `write-failed`. */
  write(bytes: Buffer): Promise<void> | undefined {
    return this.#take(undefined, bytes);
  }

  /**
   * A sink for the bytes from `offset` to `offset + length`, at any position up to what is written.
   * Waits for the writes before it; from then on the landing itself and earlier ranges take no more,
   * so that bytes of an old session never mix with those of a new one.
   *
   * @throws JetError (exit 8) `disk-full`, `write-failed`; RangeError for a range that leaves a gap
   * or the file
   */
  async range(offset: number, length: number): Promise<Sink> {
    let room = length;
    const range: Sink = {
      write: (bytes) => {
        if (bytes.length > room)
          return Promise.reject(new RangeError('more bytes than the range has'));
        room -= bytes.length;
        return this.#take(range, bytes);
      },
    };
    this.#range = range;
    await this.settle();
    if (!(offset >= 0 && length >= 0 && offset <= this.#base))
      throw new RangeError('the range leaves a gap');
    if (offset + length > this.#options.size) throw new RangeError('the range leaves the file');
    const start = this.direct ? alignDown(offset) : offset;
    const head = await this.#read(start, offset);
    this.#ring = new WriteRing(this.file, this.direct, start, length, head);
    return range;
  }

  /**
   * Everything that was taken stands in the part, which is cut to that: it can be read, and hashed.
   * After it bytes go to a new `range` only.
   *
   * @returns bytes that are written without a gap
   * @throws JetError (exit 8) `disk-full`, `write-failed`
   */
  async settle(): Promise<number> {
    try {
      await this.#flush();
      this.#base = this.#written;
      await this.file.truncate(this.#base);
      return this.#base;
    } catch (error) {
      throw writeFailure(this.#options.target, error);
    }
  }

  /**
   * Makes durable what came so far, while more may come.
   *
   * @param range - is to be written again: by its bytes, and what is behind them, the part is not known then
   * @throws JetError (exit 8) `disk-full`, `write-failed`
   */
  async checkpoint(range?: {
    readonly offset: number;
    readonly length: number;
  }): Promise<Checkpoint> {
    try {
      const written = await this.#reach();
      await this.file.datasync();
      const inTail = range !== undefined && range.offset + range.length > written - TAIL;
      const until = inTail ? Math.min(written, range.offset) : undefined;
      return { written, identity: await partIdentity(this.file, written, false, until) };
    } catch (error) {
      throw writeFailure(this.#options.target, error);
    }
  }

  /**
   * How far it is, while more may come. What is there outlives this process, but perhaps not a power cut: nothing
   * waits for the disk.
   *
   * @throws JetError (exit 8) `disk-full`, `write-failed`
   */
  async reached(): Promise<Checkpoint> {
    try {
      const written = await this.#reach();
      return { written, identity: await partIdentity(this.file, written, false) };
    } catch (error) {
      throw writeFailure(this.#options.target, error);
    }
  }

  /**
   * Sets the part aside, durably and cut to what is written.
   *
   * @returns what `resume` wants to know
   * @throws JetError (exit 8) `disk-full`, `write-failed`: the part is closed and kept all the same
   */
  async suspend(): Promise<Checkpoint> {
    this.#ring.stop();
    try {
      // A write that failed ends the part where it stands; what is before that is good.
      await this.#flush().catch(() => undefined);
      const written = this.#written;
      await this.file.truncate(written);
      await this.file.sync();
      return { written, identity: await partIdentity(this.file, written, true) };
    } catch (error) {
      throw writeFailure(this.#options.target, error);
    } finally {
      await this.#close('remove');
    }
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

  async #reach(): Promise<number> {
    const end = await this.#ring.reach();
    return Math.max(this.#base, end);
  }

  /** Bytes without a gap, once the ring is flushed. */
  get #written(): number {
    return Math.max(this.#base, this.#ring.intact);
  }

  #take(range: Sink | undefined, bytes: Buffer): Promise<void> | undefined {
    if (this.#range !== range) return Promise.reject(new Error('another range is being written'));
    const room = this.#ring.write(bytes);
    // The ring has copied them.
    if (room === undefined) release(bytes);
    return room?.then(
      () => release(bytes),
      (error: unknown) => {
        throw writeFailure(this.#options.target, error);
      },
    );
  }

  /** Bytes behind the end of a range are written again as they are: a direct write has whole blocks. */
  async #flush(): Promise<void> {
    this.#ring.stop();
    const end = this.#ring.end;
    await this.#ring.flush(await this.#read(end, Math.min(this.#base, alignUp(end))));
  }

  /** Less than one block; empty unless direct, since only then it is of use. */
  async #read(from: number, end: number): Promise<Buffer> {
    if (!this.direct || end <= from) return Buffer.alloc(0);
    return readAligned(this.file, alignedBuffer(ALIGNMENT), from, end);
  }

  async #finish(): Promise<string | undefined> {
    const { target, onConflict } = this.#options;
    try {
      await this.settle();
      await permit(this.file, FILE_MODE);
      await this.file.sync();
      // What lands is what was written here, not what somebody put in its place.
      this.#ours = false;
      await checkName(this.#part);
      this.#ours = true;
      await this.#close('remove');
      const landed = await place(this.part, target, onConflict);
      if (landed === undefined) {
        await this.#remove();
        return undefined;
      }
      this.#ours = false;
      await syncFolder(dirname(target));
      return landed;
    } catch (error) {
      await this.#close('keep');
      throw writeFailure(target, error);
    }
  }

  async #close(part: 'keep' | 'remove'): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (part === 'keep') {
      // Padding and what lies behind a failed write must not look like data.
      await this.#flush().catch(() => undefined);
      await this.file.truncate(this.#written).catch(() => undefined);
    }
    await this.#ring.settle();
    await this.file.close().catch(() => undefined);
  }

  async #remove(): Promise<void> {
    if (!this.#ours) return;
    this.#ours = false;
    await rm(this.part, { force: true }).catch(() => undefined);
  }
}

function wantsDirect({ direct, size }: LandingOptions): boolean {
  return direct !== false && size >= SMALL;
}
