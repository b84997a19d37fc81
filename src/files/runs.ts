/** How the stream of a folder lies in parts: runs of small files in one, each large file in its own. */

/** Files of fewer bytes stand one behind the other: to copy them costs less than to make each durable twice. */
export const LARGE = 128 * 1024;

/** Bytes of the stream that stand together. */
export interface Run {
  /** Where it begins in the stream, and how many bytes it has; never none. */
  readonly start: number;
  readonly size: number;
  /** Number of the large file, from 0 among all files; undefined: among the small ones. */
  readonly part?: number;
  /** Where it begins in its part. */
  readonly at: number;
}

/** Finds every byte of the stream: the list, the files in its order, and what follows them. */
export class Runs {
  readonly runs: readonly Run[];
  readonly #starts: readonly number[];
  readonly #sizes: readonly number[];

  /**
   * @param head - bytes of the list
   * @param size - bytes of the stream
   * @param sizes - of the files, in order
   */
  constructor(head: number, size: number, sizes: readonly number[]) {
    const runs: Run[] = [];
    const starts: number[] = [];
    let begun = 0;
    let packed = 0;
    let end = head;
    const pack = () => {
      if (end > begun) runs.push({ start: begun, size: end - begun, at: packed });
      packed += end - begun;
    };
    for (const [part, bytes] of sizes.entries()) {
      starts.push(end);
      if (bytes >= LARGE) {
        pack();
        runs.push({ start: end, size: bytes, part, at: 0 });
        begun = end + bytes;
      }
      end += bytes;
    }
    end = Math.max(end, size);
    pack();
    this.runs = runs;
    this.#starts = starts;
    this.#sizes = sizes;
  }

  /** The run of a byte; one past the last run for what is behind all of them. */
  indexOf(position: number): number {
    let [low, high] = [0, this.runs.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const { start = 0, size = 0 } = this.runs[middle] ?? {};
      if (start + size <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Bytes among the small files, of the stream up to a position. */
  packed(position: number): number {
    let index = this.indexOf(position);
    const run = this.runs[index];
    if (run !== undefined && run.part === undefined) return run.at + position - run.start;
    while (index-- > 0) {
      const before = this.runs[index];
      if (before !== undefined && before.part === undefined) return before.at + before.size;
    }
    return 0;
  }

  /** Whether a file has a part for itself. */
  isLarge(file: number): boolean {
    return (this.#sizes[file] ?? 0) >= LARGE;
  }

  /** Where a file begins in the stream. */
  startOf(file: number): number {
    return this.#starts[file] ?? 0;
  }
}
