/** A ring of page-aligned blocks, written at positions with several writes under way. */
import type { FileHandle } from 'node:fs/promises';

/** The one part of the global that is used here; the compiler's library for Node lacks it. */
declare const WebAssembly: {
  Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};

/** What O_DIRECT wants address, length and offset to be multiples of. */
export const ALIGNMENT = 4096;
const BLOCK = 1024 * 1024;
const BLOCKS = 8;

/** Collects bytes into blocks and writes those that are full. */
export class WriteRing {
  readonly #file: FileHandle;
  readonly #direct: boolean;
  readonly #free: Buffer[] = [];
  readonly #writes = new Set<Promise<void>>();
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
   */
  constructor(file: FileHandle, direct: boolean, position: number, expected: number) {
    this.#file = file;
    this.#direct = direct;
    this.#position = position;
    this.#taken = position;
    const blocks = Math.max(1, Math.min(BLOCKS, Math.ceil(expected / BLOCK)));
    const wanted = Math.min(BLOCK, Math.max(1, expected));
    const size = Math.ceil(wanted / ALIGNMENT) * ALIGNMENT;
    // The memory of WebAssembly is the only one that starts at a page.
    const pages = Math.ceil((blocks * size) / 65_536);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer;
    for (let i = 0; i < blocks; i++) this.#free.push(Buffer.from(memory, i * size, size));
  }

  /** How many bytes stand in the file without a gap, once `flush` has ended. */
  get intact(): number {
    return Math.min(this.#taken, this.#failure?.position ?? this.#taken);
  }

  /** Takes no more bytes: a write that waits for room fails. What was taken may still be flushed. */
  stop(): void {
    this.#stopped = true;
  }

  /** Copies the bytes; resolves once they are in the ring. @throws what a write failed with */
  async write(bytes: Buffer): Promise<void> {
    let taken = 0;
    while (taken < bytes.length) {
      this.#check();
      if (this.#stopped) throw new Error('the ring is stopped');
      this.#current ??= this.#free.pop();
      const block = this.#current;
      if (block === undefined) {
        await Promise.race(this.#writes);
        continue;
      }
      const copied = bytes.copy(block, this.#filled, taken);
      taken += copied;
      this.#filled += copied;
      this.#taken += copied;
      if (this.#filled === block.length) this.#start(block, block.length);
    }
    this.#check();
  }

  /** Writes what is left, padded when direct: truncate after it. @throws what a write failed with */
  async flush(): Promise<void> {
    const block = this.#current;
    if (block !== undefined && this.#filled > 0) {
      const length = this.#direct ? Math.ceil(this.#filled / ALIGNMENT) * ALIGNMENT : this.#filled;
      block.fill(0, this.#filled, length);
      this.#start(block, length);
    }
    await this.settle();
    this.#check();
  }

  /** Resolves when no write is under way. */
  async settle(): Promise<void> {
    while (this.#writes.size > 0) await Promise.all(this.#writes);
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #start(block: Buffer, length: number): void {
    const position = this.#position;
    const write = this.#put(block.subarray(0, length), position)
      .catch((error: unknown) => {
        // Blocks finish in any order: the first gap is what counts.
        if (this.#failure === undefined || position < this.#failure.position)
          this.#failure = { error, position };
      })
      .then(() => {
        this.#writes.delete(write);
        this.#free.push(block);
      });
    this.#writes.add(write);
    this.#position += length;
    this.#current = undefined;
    this.#filled = 0;
  }

  async #put(bytes: Buffer, position: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const left = bytes.length - done;
      const { bytesWritten } = await this.#file.write(bytes, done, left, position + done);
      // A short direct write goes on from the last aligned byte.
      const whole = bytesWritten === left || !this.#direct;
      const advance = whole ? bytesWritten : bytesWritten - (bytesWritten % ALIGNMENT);
      // Nothing, or less than can be gone on from, is written only where there is no room for more.
      if (advance === 0) throw Object.assign(new Error('nothing written'), { code: 'ENOSPC' });
      done += advance;
    }
  }
}
