/** A file that goes to a stream, such as standard output: what was written to it cannot be taken back. */
import { createHash, type Hash as Hasher } from 'node:crypto';
import type { Writable } from 'node:stream';
import { StreamSink } from '../files/stream-sink.ts';
import { nodeName, type Algorithm } from '../jingle/hashes.ts';
import type { Built, Target } from './decrypting.ts';
import type { Opening } from './targets.ts';

/**
 * Takes the bytes of a file in their order, in one session or in consecutive ones. It is not read again: where
 * it takes several sessions the whole is hashed on the way, and nobody goes on with it after one that broke.
 */
export class StreamTarget implements Target {
  readonly as = 'stdout';
  readonly built: Built;
  readonly #sink: StreamSink;
  readonly #size: number;
  #hashers: readonly { readonly algorithm: Algorithm; readonly hasher: Hasher }[] | undefined;
  #at = 0;

  /**
   * @param size - bytes of what is to come
   * @param frees - as of {@link StreamSink}
   */
  constructor(stream: Writable, size: number, frees = false) {
    this.#sink = new StreamSink(stream, frees);
    this.#size = size;
    this.built = {
      follow: (functions) => {
        this.#hashers ??= functions.map((algorithm) => ({
          algorithm,
          hasher: createHash(nodeName(algorithm)),
        }));
      },
      taken: () => Promise.resolve(this.#at === this.#size),
      digests: () =>
        Promise.resolve(
          (this.#hashers ?? []).map(({ algorithm, hasher }) => ({
            algorithm,
            digest: hasher.digest(),
          })),
        ),
      doubt: (cause) => {
        throw cause;
      },
    };
  }

  write(bytes: Buffer): Promise<void> {
    for (const { hasher } of this.#hashers ?? []) hasher.update(bytes);
    this.#at += bytes.length;
    return this.#sink.write(bytes);
  }

  finish(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  abort(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  /** What the next session brings, once the one before is proven: at most `most` bytes. */
  rest(most: number): Opening {
    const offset = this.#at;
    const extent = { offset, length: Math.min(this.#size - offset, most) };
    return { target: this, size: this.#size, extent, fresh: false };
  }
}
