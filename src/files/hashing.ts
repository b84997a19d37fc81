/** Hashes of what lies on the disk: whole files, ranges, and block by block. */
import { createHash } from 'node:crypto';
import { type Algorithm, nodeName, type Hash } from '../jingle/hashes.ts';
import { alignDown, ALIGNMENT, alignedBuffers, readAligned, type Reading } from './aligned.ts';

const READ = 1024 * 1024;

/** Bytes of a block in a list of block hashes, unless another size is asked for. */
export const HASH_BLOCK = 4 * 1024 * 1024;

/** Which bytes of an open file, and who is told. */
export interface Region {
  /** May have been opened with O_DIRECT. */
  readonly file: Reading;
  readonly offset: number;
  /** One past the last byte; at most the size of the file. */
  readonly end: number;
  readonly signal?: AbortSignal;
  /** Bytes that are hashed so far. */
  readonly onProgress?: (bytes: number) => void;
}

/** Hashes a few regions at a time; others wait their turn. Its buffers are used again. */
export class Hasher {
  readonly #idle: Buffer[][];
  readonly #waiting: (() => void)[] = [];

  /** @param limit - regions that are read at once */
  constructor(limit = 2) {
    this.#idle = Array.from({ length: limit }, () => alignedBuffers(2, READ + ALIGNMENT));
  }

  /**
   * The hashes of a region, in the order of the algorithms; the bytes are read once.
   *
   * @throws JetError (exit 8) `file-shortened` when the file is shorter than the region; the signal's
   * reason; the system's error
   */
  hash(region: Region, algorithms: readonly Algorithm[] = ['sha-256']): Promise<Hash[]> {
    return this.#turn(region, async (buffers) => {
      const hashes = algorithms.map((algorithm) => createHash(nodeName(algorithm)));
      for await (const bytes of read(region, region.end, buffers))
        for (const hash of hashes) hash.update(bytes);
      return hashes.map((hash, i) => ({
        algorithm: algorithms[i] ?? 'sha-256',
        digest: hash.digest(),
      }));
    });
  }

  /**
   * SHA-256 of each `block` bytes of a region in order, the last one may be shorter: where two such
   * lists differ, the bytes do.
   *
   * @throws as `hash`; RangeError for a block that is no positive whole number
   */
  blocks(region: Region, block = HASH_BLOCK): Promise<Buffer[]> {
    if (!Number.isSafeInteger(block) || block < 1) throw new RangeError('no size of a block');
    return this.#turn(region, async (buffers) => {
      const digests: Buffer[] = [];
      for await (const digest of blockDigests(read(region, region.end, buffers), block))
        digests.push(digest);
      return digests;
    });
  }

  async #turn<T>({ signal }: Region, body: (buffers: readonly Buffer[]) => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    while (this.#idle.length === 0) await this.#free(signal);
    const buffers = this.#idle.pop() ?? [];
    try {
      return await body(buffers);
    } finally {
      this.#idle.push([...buffers]);
      this.#waiting.shift()?.();
    }
  }

  #free(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      };
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(wake), 1);
        reject(signal?.reason as Error);
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#waiting.push(wake);
    });
  }
}

/** SHA-256 of each `block` bytes of a stream in order; the last one may be shorter. */
export async function* blockDigests(
  stream: AsyncIterable<Buffer>,
  block: number,
): AsyncGenerator<Buffer, void, undefined> {
  let hash = createHash('sha256');
  let room = block;
  for await (let bytes of stream) {
    while (bytes.length > 0) {
      const taken = bytes.subarray(0, room);
      hash.update(taken);
      bytes = bytes.subarray(taken.length);
      room -= taken.length;
      if (room > 0) continue;
      yield hash.digest();
      hash = createHash('sha256');
      room = block;
    }
  }
  if (room < block) yield hash.digest();
}

/** The region's bytes in order; the next ones are read while these are hashed. */
async function* read(
  { file, offset, signal, onProgress }: Region,
  end: number,
  buffers: readonly Buffer[],
): AsyncGenerator<Buffer, void, undefined> {
  const empty = Buffer.alloc(0);
  const fill = (position: number, turn: number): Promise<Buffer> => {
    const buffer = buffers[turn % buffers.length];
    if (buffer === undefined || position >= end) return Promise.resolve(empty);
    // Whole megabytes at aligned positions, whatever the region starts at.
    const filled = readAligned(file, buffer, position, Math.min(end, alignDown(position) + READ));
    // It may fail while nobody waits for it; whoever asks for the block still gets the error.
    filled.catch(() => undefined);
    return filled;
  };
  let position = offset;
  let pending = fill(position, 0);
  try {
    for (let turn = 1; position < end; turn++) {
      const bytes = await pending;
      signal?.throwIfAborted();
      position += bytes.length;
      pending = fill(position, turn);
      yield bytes;
      onProgress?.(position - offset);
    }
  } finally {
    // The buffers are somebody else's after this.
    await pending.catch(() => empty);
  }
}

/** The ranges of the blocks that differ between two lists of block hashes, neighbours joined. */
export function differingRanges(
  mine: readonly Buffer[],
  theirs: readonly Buffer[],
  size: number,
  block = HASH_BLOCK,
): { readonly offset: number; readonly length: number }[] {
  const ranges: { offset: number; length: number }[] = [];
  for (let i = 0; i * block < size; i++) {
    const [a, b] = [mine[i], theirs[i]];
    if (a !== undefined && b !== undefined && a.equals(b)) continue;
    const offset = i * block;
    const length = Math.min(block, size - offset);
    const last = ranges.at(-1);
    if (last !== undefined && last.offset + last.length === offset) last.length += length;
    else ranges.push({ offset, length });
  }
  return ranges;
}
