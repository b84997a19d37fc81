/** Where received bytes go: a file of its name, or a part of one. */
import { lstat, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { JetError } from '../core/errors.ts';
import { FoldersThere } from '../files/folders-there.ts';
import { Hasher } from '../files/hashing.ts';
import { Landing, type ConflictPolicy, type LandingOptions } from '../files/landing.ts';
import { identityAt } from '../files/identity.ts';
import { placedAt } from '../files/place.ts';
import { FileSource } from '../files/source.ts';
import { removeUnused } from '../files/part-name.ts';
import { removeStaging } from '../files/staging-folder.ts';
import type { Built, Target } from './decrypting.ts';
import { beginsAnew, FileTarget, HashTarget, type Keeping, type Vessel } from './file-target.ts';
import { wrongRanges } from './journal/doubt.ts';
import { blockOf, listSize } from './hash-list.ts';
import { pathsIn, type TransferRow } from './journal/journal-row.ts';
import type { Recorder } from './journal/recorder.ts';
import type { Extent } from './sealed.ts';
import { headOf } from './tree/tree-list.ts';
import { targetOf, TreeLanding, type TreePlan } from './tree/tree-target.ts';

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
