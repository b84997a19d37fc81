/** SHA-256 of a file of which one stream is only a part. */
import { createHash } from 'node:crypto';
import type { Bytes } from './encrypting.ts';

/** Follows the streams as long as they come in the order of the file, so that it is read once. */
export class RunningHash {
  readonly #hash = createHash('sha256');
  readonly #size: number;
  #at = 0;
  #known: Buffer | undefined;

  /** @param known - of this file, as it lies on the disk now */
  constructor(size: number, known?: Buffer) {
    this.#size = size;
    this.#known = known;
  }

  /** Of the whole file; undefined before all of it was seen. */
  get known(): Buffer | undefined {
    return this.#known;
  }

  /** What is to be told the bytes from `offset` on; undefined where they are of no use. */
  follow(offset: number): ((bytes: Buffer) => void) | undefined {
    if (offset !== this.#at || this.#known !== undefined) return undefined;
    return (bytes) => {
      this.#hash.update(bytes);
      this.#at += bytes.length;
      if (this.#at === this.#size) this.#known = this.#hash.digest();
    };
  }

  /** It was the whole, in one stream. */
  is(sha256: Buffer): void {
    this.#known = sha256;
  }

  /**
   * Of what was not seen in order: all of it is read.
   *
   * @param read - told the bytes of each block
   * @throws JetError (exit 8) as the source
   */
  async complete(source: Bytes, read: (bytes: number) => void): Promise<Buffer> {
    if (this.#known !== undefined) return this.#known;
    const hash = createHash('sha256');
    for await (const block of source.read(0, source.size)) {
      hash.update(block);
      read(block.length);
    }
    this.#known = hash.digest();
    return this.#known;
  }
}
