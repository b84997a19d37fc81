/** Where received bytes go: a file of its name, a part of one, or a stream such as standard output. */
import type { Writable } from 'node:stream';
import { asError, Exit, JetError } from '../core/errors.ts';
import { Hasher } from '../files/hashing.ts';
import {
  Landing,
  type Checkpoint,
  type ConflictPolicy,
  type LandingOptions,
} from '../files/landing.ts';
import { FileSource } from '../files/source.ts';
import { StreamSink } from '../files/stream-sink.ts';
import type { Algorithm, Hash } from '../jingle/hashes.ts';
import type { Target } from './decrypting.ts';
import type { Recorder } from './recorder.ts';

/**
 * A part beside the target, which becomes the file when all is proven.
 *
 * @param as - `range` when what lands is a part of a file
 * @param recorder - is told how far the part is, so that it can be gone on with
 * @returns undefined when the file is there and is to be skipped
 * @throws JetError (exit 8)
 */
export async function fileTarget(
  options: LandingOptions,
  as: 'file' | 'range' = 'file',
  recorder?: Recorder,
): Promise<Target | undefined> {
  const landing = await Landing.open(options);
  if (landing === undefined) return undefined;
  try {
    recorder?.note({ path: options.target, part: landing.part });
    // Also a part that is killed before its first byte is known again.
    recorder?.checkpoint(await landing.checkpoint());
  } catch (error) {
    await landing.abort('remove');
    throw error;
  }
  return new FileTarget(landing, as, 0, options.size, recorder);
}

/** A target with the first byte of the file that is missing in it. */
export interface Opening {
  readonly target: Target;
  readonly offset: number;
}

/**
 * The part that an earlier session left behind, if it is what it was; else a new one, which is told.
 *
 * @param say - why it begins anew
 * @returns undefined as `fileTarget`
 * @throws JetError (exit 8)
 */
export async function keptTarget(
  recorder: Recorder,
  size: number,
  say: (why: string) => void,
): Promise<Opening | undefined> {
  const { path, part, partIdentity: expected, written: offset, options } = recorder.row();
  if (path === undefined) throw new Error('a row without a path');
  const plan = { target: path, size, onConflict: policyOf(options['onConflict']) };
  if (part !== undefined && expected !== undefined)
    try {
      const kept = await Landing.resume({ ...plan, part, offset, expected });
      if (kept === undefined) return undefined;
      // The first write makes untrue what the row says of the part's times.
      recorder.checkpoint(await kept.landing.checkpoint());
      const target = new FileTarget(kept.landing, 'file', kept.start, size, recorder);
      return { target, offset: kept.start };
    } catch (error) {
      const lost = error instanceof JetError && error.code.startsWith('part-');
      if (!lost) throw error;
      if (offset > 0) say(error.message.replace(/ Start .*$/, ''));
      recorder.restart();
    }
  const target = await fileTarget(plan, 'file', recorder);
  return target && { target, offset: 0 };
}

function policyOf(word: unknown): ConflictPolicy {
  return (['overwrite', 'skip', 'fail'] as const).find((policy) => policy === word) ?? 'rename';
}

/** For a file that has landed already: nothing is to come, and nothing is written. */
export function landedTarget(path: string): Target {
  return {
    as: 'file',
    write: () => Promise.reject(new Error('nothing is to come')),
    digests: async (functions) => {
      const source = await FileSource.open(path);
      try {
        const { file, size } = source;
        return await new Hasher(1).hash({ file, offset: 0, end: size }, functions);
      } finally {
        await source.close();
      }
    },
    finish: () => Promise.resolve(path),
    abort: () => Promise.resolve(undefined),
  };
}

/** A part that becomes a file. */
export class FileTarget implements Target {
  readonly as: 'file' | 'range';
  readonly #landing: Landing;
  readonly #size: number;
  readonly #recorder: Recorder | undefined;
  #bytes: number;
  #failure: Error | undefined;
  #checkpoint: Promise<void> | undefined;

  /** @param bytes - that stand in the part already, of `size` */
  constructor(
    landing: Landing,
    as: 'file' | 'range',
    bytes: number,
    size: number,
    recorder?: Recorder,
  ) {
    this.#landing = landing;
    this.as = as;
    this.#bytes = bytes;
    this.#size = size;
    this.#recorder = recorder;
  }

  write(bytes: Buffer): Promise<void> | undefined {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const { length } = bytes;
    const room = this.#landing.write(bytes);
    if (room !== undefined) return room.then(() => this.#count(length));
    this.#count(length);
    return undefined;
  }

  #count(length: number): void {
    this.#bytes += length;
    if (this.#checkpoint === undefined && this.#recorder?.due(this.#bytes) === true)
      this.#checkpoint = this.#record(this.#recorder);
  }

  async digests(functions: readonly Algorithm[]): Promise<Hash[]> {
    await this.#checkpoint;
    const end = await this.#landing.settle();
    if (end !== this.#size) throw new Error('a part that is not whole has no hash');
    return new Hasher(1).hash({ file: this.#landing.file, offset: 0, end }, functions);
  }

  async finish(): Promise<string> {
    await this.#checkpoint;
    const path = await this.#landing.finish();
    if (path !== undefined) return path;
    const message = 'a file of that name appeared meanwhile';
    throw new JetError(Exit.localFile, 'target-exists', message);
  }

  async abort(keep: boolean): Promise<Checkpoint | undefined> {
    await this.#checkpoint;
    if (keep && this.#bytes > 0 && this.#recorder !== undefined && this.as === 'file')
      // What could not be made durable is still as good as the last checkpoint says.
      return this.#landing.suspend().catch(() => undefined);
    await this.#landing.abort('remove');
    return undefined;
  }

  /** The next write fails where this does: the row is another's then, and so is the part. */
  async #record(recorder: Recorder): Promise<void> {
    try {
      recorder.checkpoint(await this.#landing.checkpoint());
    } catch (error) {
      this.#failure = asError(error);
    } finally {
      this.#checkpoint = undefined;
    }
  }
}

/** A stream: what was written to it cannot be taken back. */
export function streamTarget(stream: Writable): Target {
  const sink = new StreamSink(stream);
  return {
    as: 'stdout',
    write: (bytes) => sink.write(bytes),
    finish: () => Promise.resolve(undefined),
    abort: () => Promise.resolve(undefined),
  };
}
