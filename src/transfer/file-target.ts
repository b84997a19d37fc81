/** What takes the bytes of a file, or of what stands for one, into a part. */
import { asError, Exit, JetError } from '../core/errors.ts';
import type { Reading } from '../files/aligned.ts';
import { differingRanges, Hasher } from '../files/hashing.ts';
import { identityAt } from '../files/identity.ts';
import type { Checkpoint, Landing, Sink } from '../files/landing.ts';
import type { Algorithm, Hash } from '../jingle/hashes.ts';
import type { Built, Target } from './decrypting.ts';
import { readHashList } from './hash-list.ts';
import { joined, total } from './journal/doubt.ts';
import type { Due, Recorder } from './journal/recorder.ts';
import type { Extent } from './sealed.ts';
import type { TreeLanding } from './tree/tree-target.ts';

/** What bytes go into until all is proven: the part of a file, or what has come of a folder. See `Landing`. */
export interface Vessel extends Pick<
  Landing,
  'part' | 'write' | 'settle' | 'checkpoint' | 'reached' | 'suspend' | 'finish' | 'abort'
> {
  readonly file: Reading;
  /** Only of what is put right where it is wrong. */
  readonly range?: Landing['range'] | undefined;
  /** Only of a batch: where its files lie, once they do. */
  readonly files?: readonly string[] | undefined;
  /** As in `Target`. */
  readonly missing?: Target['missing'];
  /** Only of what may lie here in part already: where the next bytes go, and up to where they are to come. */
  readonly ahead?: TreeLanding['ahead'];
}

/** A file that goes into a part. */
export interface Keeping {
  readonly recorder: Recorder;
  /** Bytes of the file. */
  readonly size: number;
  /** Bytes that one session carries at most. */
  readonly most: number;
  /** Tells what of the part is of no use. */
  readonly say: Say;
  /** Tells what of a folder is not made, and why. */
  readonly skipped: (path: string, why: string) => void;
}

/** A word for programs, and a sentence. */
export type Say = (code: 'starts-anew' | 'part-wrong' | 'left-out', message: string) => void;

/** Nothing of the part is of use, which is told; a second time the other side is wrong. */
export function beginsAnew(recorder: Recorder, say: Say | undefined, why: string): void {
  recorder.restart();
  recorder.note({ doubt: 'anew' });
  say?.('starts-anew', `${why} It starts from zero.`);
}

/** A range of a part that is written again, and what is wrong beside it. */
interface Again {
  readonly sink: Sink;
  readonly rest: readonly Extent[];
}

/** A part that becomes a file. */
export class FileTarget implements Target {
  readonly as: 'file' | 'range';
  first?: number;
  readonly built?: Built;
  readonly #landing: Vessel;
  readonly #size: number;
  readonly #recorder: Recorder | undefined;
  readonly #keeping: Pick<Keeping, 'say'> | undefined;
  readonly #again: Again | undefined;
  #bytes: number;
  #failure: Error | undefined;
  #checkpoint: Promise<void> | undefined;
  /** Nothing of it is of use. */
  #spoilt = false;

  /** @param bytes - that stand in the part already, of `size` */
  constructor(
    landing: Vessel,
    as: 'file' | 'range',
    bytes: number,
    size: number,
    recorder?: Recorder,
    keeping?: Pick<Keeping, 'say'>,
    again?: Again,
  ) {
    this.#landing = landing;
    this.as = as;
    this.#bytes = bytes;
    this.#size = size;
    this.#recorder = recorder;
    this.#keeping = keeping;
    this.#again = again;
    if (recorder !== undefined)
      this.built = {
        taken: () => Promise.resolve(this.#taken(recorder)),
        digests: (functions) => this.#digests(functions),
        doubt: (cause) => this.#doubt(recorder, cause),
      };
  }

  write(bytes: Buffer): Promise<void> | undefined {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const { length } = bytes;
    if (this.#again !== undefined) return this.#again.sink.write(bytes);
    const room = this.#landing.write(bytes);
    if (room !== undefined) return room.then(() => this.#count(length));
    this.#count(length);
    return undefined;
  }

  #count(length: number): void {
    this.#bytes += length;
    if (this.#checkpoint !== undefined) return;
    const due = this.#recorder?.due(this.#bytes);
    if (this.#recorder !== undefined && due !== undefined)
      this.#checkpoint = this.#record(this.#recorder, due);
  }

  get files(): readonly string[] | undefined {
    return this.#landing.files;
  }

  get missing(): Target['missing'] {
    return this.#landing.missing;
  }

  async finish(): Promise<string> {
    await this.#checkpoint;
    const path = await this.#landing.finish();
    if (path !== undefined && this.missing !== undefined) {
      this.#recorder?.landedPartly(path);
      return path;
    }
    if (path !== undefined) {
      const file = await identityAt(path);
      // By that it is known again when it is offered once more.
      if (this.as === 'file') this.#recorder?.landed(path, file);
      return path;
    }
    const message = 'a file of that name appeared meanwhile';
    throw new JetError(Exit.localFile, 'target-exists', message);
  }

  async abort(keep: boolean): Promise<Checkpoint | undefined> {
    await this.#checkpoint;
    const kept = keep && !this.#spoilt && this.#bytes > 0;
    if (kept && this.#recorder !== undefined && this.as === 'file')
      // What could not be made durable is still as good as the last checkpoint says.
      return this.#landing.suspend().catch(() => undefined);
    await this.#landing.abort('remove');
    return undefined;
  }

  #taken(recorder: Recorder): boolean {
    if (this.#again === undefined) return this.#bytes === this.#size;
    const { rest } = this.#again;
    recorder.note({ doubt: rest.length === 0 ? 'repaired' : rest });
    return rest.length === 0;
  }

  async #digests(functions: readonly Algorithm[]): Promise<Hash[]> {
    await this.#checkpoint;
    const end = await this.#landing.settle();
    if (end !== this.#size) throw new Error('a part that is not whole has no hash');
    return new Hasher(1).hash({ file: this.#landing.file, offset: 0, end }, functions);
  }

  /** First what is wrong is found, then all comes again; after that it is the other side that is wrong. */
  #doubt(recorder: Recorder, cause: Error): void {
    const { doubt, name } = recorder.row();
    if (doubt === 'anew') throw cause;
    if (doubt === undefined && this.#landing.range !== undefined) {
      recorder.note({ doubt: 'unknown' });
      return;
    }
    this.#spoilt = true;
    const why =
      doubt === undefined
        ? `What had come of ${name} does not belong to it.`
        : `${name} is still not right.`;
    beginsAnew(recorder, this.#keeping?.say, why);
  }

  /** The next write fails where this does: the row is another's then, and so is the part. */
  async #record(recorder: Recorder, due: Due): Promise<void> {
    try {
      if (due === 'durable') recorder.advance(await this.#landing.checkpoint());
      else recorder.reach(await this.#landing.reached());
    } catch (error) {
      this.#failure = asError(error);
    } finally {
      this.#checkpoint = undefined;
    }
  }
}

/** Takes the hashes of the file's blocks, and finds by them what is wrong in the part. */
export class HashTarget implements Target {
  readonly as = 'range';
  readonly built: Built;
  readonly #keeping: Keeping;
  readonly #landing: Vessel;
  readonly #block: number;
  readonly #list: Buffer[] = [];
  #spoilt = false;

  constructor(keeping: Keeping, landing: Vessel, block: number) {
    this.#keeping = keeping;
    this.#landing = landing;
    this.#block = block;
    this.built = {
      taken: () => this.#compare(),
      digests: () => Promise.reject(new Error('a list of hashes is no file')),
      doubt: (cause) => {
        throw cause;
      },
    };
  }

  write(bytes: Buffer): Promise<void> {
    this.#list.push(Buffer.from(bytes));
    return Promise.resolve();
  }

  finish(): Promise<string | undefined> {
    return Promise.reject(new Error('a list of hashes does not land'));
  }

  async abort(keep: boolean): Promise<Checkpoint | undefined> {
    if (keep && !this.#spoilt) return this.#landing.suspend().catch(() => undefined);
    await this.#landing.abort('remove');
    return undefined;
  }

  async #compare(): Promise<boolean> {
    const { recorder, size, say } = this.#keeping;
    const { name } = recorder.row();
    const region = { file: this.#landing.file, offset: 0, end: size };
    const own = await new Hasher(1).blocks(region, this.#block);
    const theirs = readHashList(Buffer.concat(this.#list));
    const wrong = joined(differingRanges(own, theirs, size, this.#block));
    const bytes = total(wrong);
    // Where nothing differs the whole would not, either.
    if (bytes === 0 || bytes === size) {
      this.#spoilt = true;
      beginsAnew(recorder, say, `What had come of ${name} does not belong to it.`);
      return false;
    }
    recorder.note({ doubt: wrong });
    say('part-wrong', `${bytes} bytes of what had come of ${name} are wrong and come again.`);
    return false;
  }
}
