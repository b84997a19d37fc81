/** A sink for `--stdout`: bytes go on as they come. Whoever reads them must heed the exit status. */
import type { Writable } from 'node:stream';
import { Exit, JetError } from '../core/errors.ts';
import type { Sink } from './landing.ts';

/**
 * Writes to a stream, one block at a time, and waits until the stream has passed it on. The stream may
 * keep the memory for longer (a pipe of streams does), so it is never freed here.
 */
export class StreamSink implements Sink {
  readonly #stream: Writable;
  #error: Error | undefined;

  constructor(stream: Writable) {
    this.#stream = stream;
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
        else resolve();
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
