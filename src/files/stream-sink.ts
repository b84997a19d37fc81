/** A sink for `--stdout`: bytes go on as they come. Whoever reads them must heed the exit status. */
import type { Writable } from 'node:stream';
import { Exit, JetError } from '../core/errors.ts';
import type { Sink } from './landing.ts';

/** Writes to a stream, one block at a time: the block is free once the stream has passed it on. */
export class StreamSink implements Sink {
  readonly #stream: Writable;

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  /** @throws JetError (exit 8) `output-closed` with the stream's error as its cause */
  write(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (cause?: Error) => {
        this.#stream.off('error', fail);
        const message = 'the output was closed before the end of the file';
        reject(new JetError(Exit.localFile, 'output-closed', message, cause && { cause }));
      };
      this.#stream.once('error', fail);
      this.#stream.write(bytes, (error) => {
        this.#stream.off('error', fail);
        if (error) fail(error);
        else resolve();
      });
    });
  }
}
