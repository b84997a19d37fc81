/** Where received bytes go: a file of its name, or a part of one. */
import { lstat, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { asError, Exit, JetError } from '../core/errors.ts';
import type { Reading } from '../files/aligned.ts';
import { FoldersThere } from '../files/folders-there.ts';
import { differingRanges, Hasher } from '../files/hashing.ts';
import {
  Landing,
  type Checkpoint,
  type ConflictPolicy,
  type LandingOptions,
  type Sink,
} from '../files/landing.ts';
import { identityAt } from '../files/identity.ts';
import { placedAt } from '../files/place.ts';
import { FileSource } from '../files/source.ts';
import { removeUnused } from '../files/part-name.ts';
import { removeStaging } from '../files/staging-folder.ts';
import type { Algorithm, Hash } from '../jingle/hashes.ts';
import type { Built, Target } from './decrypting.ts';
import { joined, total, wrongRanges } from './journal/doubt.ts';
import { blockOf, listSize, readHashList } from './hash-list.ts';
import { pathsIn, type TransferRow } from './journal/journal-row.ts';
import type { Recorder } from './journal/recorder.ts';
import type { Extent } from './sealed.ts';
import { headOf } from './tree/tree-list.ts';
import { targetOf, TreeLanding, type TreePlan } from './tree/tree-target.ts';

/** What bytes go into until all is proven: the part of a file, or what has come of a folder. See `Landing`. */
export interface Vessel extends Pick<
  Landing,
  'part' | 'write' | 'settle' | 'checkpoint' | 'suspend' | 'finish' | 'abort'
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
  keeping?: Pick<Keeping, 'say'>,
): Promise<Target | undefined> {
  const { target: path } = options;
  const naming = recorder && ((part: string) => recorder.note({ path, part }));
  const landing = await Landing.open({ ...options, ...(naming && { naming }) });
  if (landing === undefined) return undefined;
  try {
    // Also a part that is killed before its first byte is known again.
    recorder?.checkpoint(await landing.checkpoint());
  } catch (error) {
    await landing.abort('remove');
    throw error;
  }
  return new FileTarget(landing, as, 0, options.size, recorder, keeping);
}

/** What is received of a folder, as a peer has offered it. */
export type TreeOffer = Omit<TreePlan, 'naming' | 'proven' | 'landed' | 'anew' | 'remember'>;

/**
 * A folder beside the target, from which it is built when all is proven.
 *
 * @param recorder - as of `fileTarget`
 * @throws JetError (exit 8)
 */
export async function treeTarget(
  plan: TreeOffer,
  recorder?: Recorder,
  keeping?: Pick<Keeping, 'say'>,
): Promise<Target> {
  const landing = await TreeLanding.open(recorder ? recorded(plan, recorder) : plan);
  try {
    recorder?.checkpoint(await landing.checkpoint());
  } catch (error) {
    await landing.abort('remove');
    throw error;
  }
  const target = new FileTarget(landing, 'file', 0, plan.size, recorder, keeping);
  target.first = (await landing.ahead()).end;
  return target;
}

/** Of what has landed of the folder before nothing comes again, and what lands now is remembered. */
function recorded(plan: TreeOffer, recorder: Recorder): TreePlan {
  const { out, head } = plan;
  const folder = head.batch ? pathsIn(out) : resolve(targetOf(plan));
  const landed = head.batch ? recorder.landedInto(out) : recorder.landedFiles(folder);
  return {
    ...plan,
    // What turned out not to fit is of no use a second time.
    ...(landed && { landed, anew: recorder.row().doubt !== undefined }),
    naming: (part) => recorder.note({ path: targetOf(plan), part }),
    proven: proven(recorder),
    remember: (files) => recorder.rememberLanded(folder, files),
  };
}

/** Writes down that the files of a folder are about to get their names. */
function proven(recorder: Recorder): NonNullable<TreePlan['proven']> {
  return (all, { words: there }) => {
    recorder.checkpoint(all);
    const { options } = recorder.row();
    recorder.note({ options: { ...options, landing: true, ...(there !== '' && { there }) } });
  };
}

/** What is to come next of a file, and where it goes. */
export interface Opening {
  readonly target: Target;
  /** Bytes of the whole of what travels: of the file, or of the list of its hashes. */
  readonly size: number;
  readonly extent: Extent;
  /** The hashes of blocks of so many bytes are wanted, in place of the file. */
  readonly hashes?: number;
  /** Nothing of the file stood there before. */
  readonly fresh: boolean;
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

/** Of a folder, as it is told. */
export function notMade(path: string, why: string): string {
  return `Not made: ${path}: ${why}.`;
}

/** What comes first of a new target. */
export function opening(target: Target, size: number, most: number): Opening {
  const length = Math.min(target.first ?? size, most);
  return { target, size, extent: { offset: 0, length }, fresh: true };
}

/**
 * The part that an earlier session left behind, if it is what it was, with what is missing or wrong in it;
 * else a new one, which is told.
 *
 * @returns undefined as `fileTarget`
 * @throws JetError (exit 8)
 */
export async function keptTarget(keeping: Keeping): Promise<Opening | undefined> {
  const { recorder, size, most, say, skipped } = keeping;
  const row = recorder.row();
  const { path, part, partIdentity: expected, written: offset, options, name } = row;
  if (path === undefined) throw new Error('a row without a path');
  const plan = { target: path, size, onConflict: policyOf(options['onConflict']) };
  const head = headOf(row);
  const again = options['landing'] === true;
  const there = FoldersThere.of(options['there']);
  const tree = head && { ...plan, out: dirname(path), name, head, again, there, skipped };
  if (part !== undefined && expected !== undefined) {
    const placed = tree === undefined ? await placedAt(part, path, expected) : undefined;
    if (placed !== undefined) return placedTarget(placed, path, keeping);
    try {
      const left = { part, offset, expected };
      const kept =
        tree === undefined
          ? await Landing.resume({ ...plan, ...left })
          : await TreeLanding.resume(recorded(tree, recorder), left);
      if (kept === undefined) return undefined;
      // The first write makes untrue what the row says of the part's times, and perhaps of its end.
      const [wrong] = wrongRanges(row.doubt);
      recorder.checkpoint(await kept.landing.checkpoint(wrong));
      return await missingOf(keeping, kept.landing, kept.start);
    } catch (error) {
      const lost = error instanceof JetError && error.code.startsWith('part-');
      if (!lost) throw error;
      if (offset > 0)
        say('starts-anew', `${error.message.replace(/ Start .*$/, '')} ${name} starts from zero.`);
      // Of a folder the rest is still ours, if the folder is.
      if (tree !== undefined) await removePart(row);
      recorder.restart();
    }
  } else await removePart(row);
  const target =
    tree === undefined
      ? await fileTarget(plan, 'file', recorder, keeping)
      : await treeTarget(tree, recorder, keeping);
  return target && opening(target, size, most);
}

/** A file that had landed when its process was killed: nothing is missing but the proof, and its receipt. */
async function placedTarget(
  placed: string,
  target: string,
  { recorder, size, say }: Keeping,
): Promise<Opening> {
  const file = await identityAt(placed);
  recorder.note({ path: placed, ...(file && { file }) });
  // Its user may have changed it meanwhile.
  const doubt = () => {
    recorder.note({ path: target });
    beginsAnew(recorder, say, `${placed} is not what came any more.`);
  };
  return {
    target: landedTarget(placed, doubt),
    ...{ size, extent: { offset: size, length: 0 }, fresh: false },
  };
}

/** What is missing in a part, or wrong. */
async function missingOf(keeping: Keeping, landing: Vessel, start: number): Promise<Opening> {
  const { recorder, size, most } = keeping;
  const { doubt } = recorder.row();
  if (doubt === 'unknown') {
    const hashes = blockOf(size);
    const list = listSize(size, hashes);
    const target = new HashTarget(keeping, landing, hashes);
    return { target, size: list, extent: { offset: 0, length: list }, hashes, fresh: false };
  }
  const [wrong, ...others] = wrongRanges(doubt);
  if (wrong === undefined || landing.range === undefined) {
    const next = (await landing.ahead?.()) ?? { start, end: size };
    const target = new FileTarget(landing, 'file', next.start, size, recorder, keeping);
    return {
      ...{ target, size, fresh: start === 0 },
      extent: { offset: next.start, length: Math.min(next.end - next.start, most) },
    };
  }
  const length = Math.min(wrong.length, most);
  const { offset } = wrong;
  const end = { offset: offset + length, length: wrong.length - length };
  const rest = length < wrong.length ? [end, ...others] : others;
  const sink = await landing.range(offset, length);
  const target = new FileTarget(landing, 'file', size, size, recorder, keeping, { sink, rest });
  return { target, size, extent: { offset, length }, fresh: false };
}

/** Takes away what was kept: nothing can say what is wrong in it. */
export async function startAnew({
  recorder,
  say,
}: Pick<Keeping, 'recorder' | 'say'>): Promise<void> {
  const row = recorder.row();
  await removePart(row);
  beginsAnew(recorder, say, `What is wrong in ${row.name} cannot be found out.`);
}

/** Nothing of the part is of use, which is told; a second time the other side is wrong. */
function beginsAnew(recorder: Recorder, say: Say | undefined, why: string): void {
  recorder.restart();
  recorder.note({ doubt: 'anew' });
  say?.('starts-anew', `${why} It starts from zero.`);
}

/** What lies there is removed only if it is the part that was left there. */
export async function removePart({ part, partIdentity, state }: TransferRow): Promise<void> {
  if (state === 'done' || part === undefined) return;
  if (partIdentity === undefined) return removeUnused(part);
  const there = await lstat(part, { bigint: true }).catch(() => undefined);
  if (there?.isDirectory() === true) await removeStaging(part, partIdentity);
  else if (there?.dev === partIdentity.dev && there.ino === partIdentity.ino) await rm(part);
}

function policyOf(word: unknown): ConflictPolicy {
  return (['overwrite', 'skip', 'fail'] as const).find((policy) => policy === word) ?? 'rename';
}

/**
 * For a file that has landed already: nothing is to come, and nothing is written.
 *
 * @param doubt - as of `Built`; by default it is the end
 */
export function landedTarget(
  path: string,
  doubt: Built['doubt'] = (cause) => {
    throw cause;
  },
): Target {
  return {
    as: 'file',
    write: () => Promise.reject(new Error('nothing is to come')),
    built: {
      taken: () => Promise.resolve(true),
      digests: async (functions) => {
        const source = await FileSource.open(path);
        try {
          const { file, size } = source;
          return await new Hasher(1).hash({ file, offset: 0, end: size }, functions);
        } finally {
          await source.close();
        }
      },
      doubt,
    },
    finish: () => Promise.resolve(path),
    abort: () => Promise.resolve(undefined),
  };
}

/**
 * For a file that the other side has sent before. Is it another one by now, it is taken anew.
 *
 * @param target - its name here
 */
export function earlierTarget(path: string, target: string, recorder: Recorder): Target {
  return landedTarget(path, () => recorder.note({ path: target }));
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
    if (this.#checkpoint === undefined && this.#recorder?.due(this.#bytes) === true)
      this.#checkpoint = this.#record(this.#recorder);
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
  async #record(recorder: Recorder): Promise<void> {
    try {
      recorder.advance(await this.#landing.checkpoint());
    } catch (error) {
      this.#failure = asError(error);
    } finally {
      this.#checkpoint = undefined;
    }
  }
}

/** Takes the hashes of the file's blocks, and finds by them what is wrong in the part. */
class HashTarget implements Target {
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
