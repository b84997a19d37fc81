/** Where received bytes go: a file of its name, a part of one, or a stream such as standard output. */
import type { Writable } from 'node:stream';
import { Exit, JetError } from '../core/errors.ts';
import { Landing, type LandingOptions } from '../files/landing.ts';
import { StreamSink } from '../files/stream-sink.ts';
import type { Target } from './decrypting.ts';

/**
 * A part beside the target, which becomes the file when all is proven.
 *
 * @param as - `range` when what lands is a part of a file
 * @returns undefined when the file is there and is to be skipped
 * @throws JetError (exit 8)
 */
export async function fileTarget(
  options: LandingOptions,
  as: 'file' | 'range' = 'file',
): Promise<Target | undefined> {
  const landing = await Landing.open(options);
  if (landing === undefined) return undefined;
  return {
    as,
    write: (bytes) => landing.write(bytes),
    finish: async () => {
      const path = await landing.finish();
      if (path !== undefined) return path;
      const message = 'a file of that name appeared meanwhile';
      throw new JetError(Exit.localFile, 'target-exists', message);
    },
    abort: () => landing.abort('remove'),
  };
}

/** A stream: what was written to it cannot be taken back. */
export function streamTarget(stream: Writable): Target {
  const sink = new StreamSink(stream);
  return {
    as: 'stdout',
    write: (bytes) => sink.write(bytes),
    finish: () => Promise.resolve(undefined),
    abort: () => Promise.resolve(),
  };
}
