/** A ring of page-aligned blocks, written at positions with several writes under way. */
import type { FileHandle } from 'node:fs/promises';
import { alignDown, alignedBuffers, ALIGNMENT, alignUp } from './aligned.ts';

const BLOCK = 1024 * 1024;
const BLOCKS = 8;

/** Collects bytes into blocks and writes those that are full. */
export class WriteRing {
  readonly #file: FileHandle;
  readonly #direct: boolean;
  readonly #free: Buffer[];
  readonly #writes = new Set<Promise<void>>();
  /** Settles when nothing reads the current block any more. */
  #pin: Promise<void> = Promise.resolve();
  #current: Buffer | undefined;
  #filled = 0;
  #position: number;
  /** Where the bytes taken so far end, padding apart. */
  #taken: number;
  #stopped = false;
  #failure: { readonly error: unknown; readonly position: number } | undefined;

  /**
   * @param direct - the file was opened with O_DIRECT
   * @param position - where the first byte goes; a multiple of ALIGNMENT when direct
   * @param expected - bytes to come: small files get a small ring
   * @param head - fewer than ALIGNMENT bytes that stand at `position` already and are written again:
   * those that come follow them
   */
  constructor(
    file: FileHandle,
    direct: boolean,
    position: number,
    expected: number,
    head: Buffer = Buffer.alloc(0),
  ) {
    this.#file = file;
    this.#direct = direct;
    this.#position = position;
    this.#taken = position + head.length;
    const coming = head.length + expected;
    const blocks = Math.max(1, Math.min(BLOCKS, Math.ceil(coming / BLOCK)));
    this.#free = alignedBuffers(blocks, alignUp(Math.min(BLOCK, Math.max(1, coming))));
    if (head.length > 0) {
      this.#current = this.#free.pop();
      this.#filled = this.#current === undefined ? 0 : head.copy(this.#current);
    }
  }

  /** Where the bytes taken so far end. */
  get end(): number {
    return this.#taken;
  }

  /** How many bytes stand in the file without a gap, once `flush` has ended. */
  get intact(): number {
    return Math.min(this.#taken, this.#failure?.position ?? this.#taken);
  }

  /** Takes no more bytes: a write that waits for room fails. What was taken may still be flushed. */
  stop(): void {
    this.#stopped = true;
  }

  /**
   * Copies the bytes: at once where there is room, else the promise tells when they are in the ring; it
   * rejects with what a write failed with.
   */
  write(bytes: Buffer): Promise<void> | undefined {
    const sound = this.#failure === undefined && !this.#stopped;
    const taken = sound ? this.#copy(bytes, 0) : 0;
    return sound && taken === bytes.length ? undefined : this.#rest(bytes, taken);
  }

  async #rest(bytes: Buffer, from: number): Promise<void> {
    for (let taken = from; taken < bytes.length; taken = this.#copy(bytes, taken)) {
      this.#check();
      if (this.#stopped) throw new Error('the ring is stopped');
      if (this.#current === undefined && this.#free.length === 0) await Promise.race(this.#writes);
    }
    this.#check();
  }

  /** Copies from `taken` on as much as there is room for, and says how far it came. */
  #copy(bytes: Buffer, from: number): number {
    let taken = from;
    while (taken < bytes.length) {
      this.#current ??= this.#free.pop();
      const block = this.#current;
      if (block === undefined) break;
      const copied = bytes.copy(block, this.#filled, taken);
      taken += copied;
      this.#filled += copied;
      this.#taken += copied;
      if (this.#filled === block.length) this.#start(block, block.length);
    }
    return taken;
  }

  /**
   * Writes what is left and takes no more. Padded when direct: truncate after it.
   *
   * @param after - bytes that stand in the file behind the end; the padding is taken from them first
   * @throws what a write failed with
   */
  async flush(after: Buffer = Buffer.alloc(0)): Promise<void> {
    this.stop();
    const block = this.#current;
    if (block !== undefined && this.#filled > 0) {
      const length = this.#direct ? alignUp(this.#filled) : this.#filled;
      block.fill(0, this.#filled, length);
      after.copy(block.subarray(0, length), this.#filled);
      this.#start(block, length);
    }
    await this.settle();
    this.#check();
  }

  /**
   * Waits until what was taken so far stands in the file, while more may come. Up to ALIGNMENT − 1
   * bytes at the end wait for the next time when direct.
   *
   * @returns up to where the file is written without a gap
   * @throws what a write failed with
   */
  async reach(): Promise<number> {
    let end = this.#position;
    const block = this.#current;
    const length = this.#direct ? alignDown(this.#filled) : this.#filled;
    if (block !== undefined && length > 0) {
      // The block is written once more when it is full; the bytes are the same then.
      const write = this.#attempt(block.subarray(0, length), end);
      this.#pin = Promise.all([this.#pin, write]).then(() => undefined);
      end += length;
    }
    await Promise.all([...this.#writes, this.#pin]);
    this.#check();
    return end;
  }

  /** Resolves when no write is under way. */
  async settle(): Promise<void> {
    while (this.#writes.size > 0) await Promise.all(this.#writes);
    await this.#pin;
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #start(block: Buffer, length: number): void {
    const pin = this.#pin;
    const position = this.#position;
    const write = Promise.all([pin, this.#attempt(block.subarray(0, length), position)]).then(
      () => {
        this.#writes.delete(write);
        this.#free.push(block);
      },
    );
    this.#writes.add(write);
    this.#pin = Promise.resolve();
    this.#position += length;
    this.#current = undefined;
    this.#filled = 0;
  }

  async #attempt(bytes: Buffer, start: number): Promise<void> {
    let position = start;
    try {
      for (let left = bytes; left.length > 0;) {
        const advance = await this.#put(left, position);
        position += advance;
        left = left.subarray(advance);
      }
    } catch (error) {
      // Blocks finish in any order: the first gap is what counts.
      if (this.#failure === undefined || position < this.#failure.position)
        this.#failure = { error, position };
    }
  }

  /** @returns how many of the bytes are written; a short direct write goes on from the last aligned byte */
  async #put(bytes: Buffer, position: number): Promise<number> {
    const { bytesWritten } = await this.#file.write(bytes, 0, bytes.length, position);
    const whole = bytesWritten === bytes.length || !this.#direct;
    const advance = whole ? bytesWritten : bytesWritten - (bytesWritten % ALIGNMENT);
    // Nothing, or less than can be gone on from, is written only where there is no room for more.
    if (advance === 0) throw Object.assign(new Error('nothing written'), { code: 'ENOSPC' });
    return advance;
  }
}
