/** A sink for `--stdout`: bytes go on as they come. Whoever reads them must heed the exit status. */
import type { Writable } from 'node:stream';
import { Exit, JetError } from '../core/errors.ts';
import type { Sink } from './landing.ts';
import { release } from './memory.ts';

/** Writes to a stream, one block at a time, and waits until the stream has passed it on. */
export class StreamSink implements Sink {
  readonly #stream: Writable;
  readonly #frees: boolean;
  #error: Error | undefined;

  /** @param frees - what was passed on is in the kernel; other streams may keep the memory (a pipe of streams does) */
  constructor(stream: Writable, frees = false) {
    this.#stream = stream;
    this.#frees = frees;
    // Stays for good: a stream tells an error to the writer and then again as an event.
    stream.on('error', (error) => {
      this.#error ??= error;
    });
  }

  /** @throws JetError (exit 8) `output-closed` with the stream's error as its cause */
  write(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: Error | null) => {
        this.#stream.off('close', gone);
        if (error) reject(closed(this.#error ?? error));
        else {
          if (this.#frees) release(bytes);
          resolve();
        }
      };
      // A stream that is destroyed may forget who waits.
      const gone = () => settle(new Error('the stream is closed'));
      this.#stream.once('close', gone);
      this.#stream.write(bytes, settle);
    });
  }
}

function closed(cause: Error): JetError {
  return new JetError(
    Exit.localFile,
    'output-closed',
    'the output was closed before the end of the file. Start the program that reads it again, and try again.',
    { cause },
  );
}
