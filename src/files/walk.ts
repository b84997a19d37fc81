/** What a folder holds, for sending: in a stable order, a folder at a time in memory. */
import { isUtf8 } from 'node:buffer';
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  realpathSync,
} from 'node:fs';
import { basename, resolve, sep } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import picomatch from 'picomatch';
import { Exit, JetError, messageOf, systemCode } from '../core/errors.ts';
import { type SourceIdentity, sourceIdentity } from './identity.ts';
import { staysInside } from './links.ts';

/** One thing in a tree, under a relative path with `/`; its first segment names the tree. */
export type TreeEntry = {
  readonly path: string;
  /** Permission bits, without set-id and sticky ones. */
  readonly mode: number;
  /** Ms since 1970. */
  readonly mtime: number;
} & (
  | { readonly kind: 'folder' }
  | { readonly kind: 'file'; readonly size: number }
  | { readonly kind: 'link'; readonly target: string }
);

/** An entry with where it lies here, and of a file what it is. */
export type Walked = TreeEntry & { readonly source: string; readonly identity?: SourceIdentity };

/** How to walk. */
export interface WalkOptions {
  /** Take symbolic links that lead to a place inside the folder. Default: skip them. */
  readonly links?: boolean;
  /** Globs of what to leave out: of a name, or with a `/` of a path below the folder. */
  readonly exclude?: readonly string[];
  /** Tell what each file is; by default not: there may be very many. */
  readonly identify?: boolean;
  /** What is left out although nobody asked for it, and why; for the user. */
  readonly skipped: (path: string, why: string) => void;
  /** What may not be read, or cannot, and why. Default: `skipped`. */
  readonly unread?: (path: string, why: string) => void;
}

/** Deeper folders are refused: paths have to fit the system. */
const MAX_DEPTH = 200;
/** Entries between two turns of the loop. */
const SLICE = 500;

/**
 * Everything in a folder: the folder itself, then what it holds, sorted by the bytes of the names. Some hundred
 * at once: a promise for each would take as long as the looking.
 *
 * @throws JetError (exit 8) `not-a-folder`, `folder-unreadable` for the folder itself; what lies in it
 * and cannot be read is told to `unread`
 */
export async function* walk(
  root: string,
  options: WalkOptions,
): AsyncGenerator<readonly Walked[], void, undefined> {
  const path = resolve(root);
  let stats: BigIntStats;
  try {
    stats = lstatSync(path, { bigint: true });
  } catch (error) {
    throw refuse('folder-unreadable', `${root} could not be read (${messageOf(error)})`, error);
  }
  if (!stats.isDirectory()) throw refuse('not-a-folder', `${root} is no folder`);
  const name = basename(path) || 'root';
  const walker = new Walker(realpathSync(path), options, excluder(options.exclude ?? []));
  let slice: Walked[] = [];
  for (const entry of walker.folder(path, name, stats, 0)) {
    if (slice.push(entry) < SLICE) continue;
    yield slice;
    slice = [];
    await setImmediate();
  }
  yield slice;
}

class Walker {
  readonly #real: string;
  readonly #options: WalkOptions;
  readonly #excluded: (path: string) => boolean;

  constructor(real: string, options: WalkOptions, excluded: (path: string) => boolean) {
    this.#real = real;
    this.#options = options;
    this.#excluded = excluded;
  }

  *folder(
    source: string,
    path: string,
    stats: BigIntStats,
    depth: number,
  ): Generator<Walked, void, undefined> {
    const { skipped } = this.#options;
    if (depth > MAX_DEPTH) {
      skipped(source, 'it lies too deep');
      return;
    }
    let names: Name[];
    try {
      names = namesIn(source, stats);
    } catch (error) {
      if (depth === 0)
        throw refuse(
          'folder-unreadable',
          `${source} could not be read (${messageOf(error)})`,
          error,
        );
      this.#missed(source, error);
      return;
    }
    yield { kind: 'folder', path, source, ...about(stats) };
    const above = source.endsWith(sep) ? source : source + sep;
    for (const { name, exact } of names) {
      const inner = `${path}/${name}`;
      if (this.#excluded(inner)) continue;
      const at = above + name;
      if (!exact) {
        skipped(at, 'its name is no UTF-8');
        continue;
      }
      const found = this.#look(at);
      if (found?.isDirectory() === true) yield* this.folder(at, inner, found, depth + 1);
      else {
        const leaf = found && this.#leaf(at, inner, found);
        if (leaf !== undefined) yield leaf;
      }
    }
  }

  #look(source: string): BigIntStats | undefined {
    try {
      return lstatSync(source, { bigint: true });
    } catch (error) {
      this.#missed(source, error);
      return undefined;
    }
  }

  /** What is no folder; undefined for what is skipped. */
  #leaf(source: string, path: string, stats: BigIntStats): Walked | undefined {
    const { links, skipped, identify } = this.#options;
    const { mode, mtime } = about(stats);
    if (stats.isFile()) {
      const file = { kind: 'file', path, source, size: Number(stats.size), mode, mtime } as const;
      return identify === true ? { ...file, identity: sourceIdentity(stats) } : file;
    }
    if (!stats.isSymbolicLink()) skipped(source, 'it is no file, folder or link');
    else if (links !== true) skipped(source, 'it is a link (--links sends links)');
    else {
      const target = attempt(() => readlinkSync(source)) ?? '';
      if (staysInside(path, target) && this.#inside(source))
        return { kind: 'link', path, source, target, mode, mtime };
      skipped(source, 'it is a link that leads outside');
    }
    return undefined;
  }

  /** What is gone by now is no part of the folder any more. */
  #missed(source: string, error: unknown): void {
    const { skipped, unread = skipped } = this.#options;
    if (systemCode(error) === 'ENOENT') skipped(source, 'it is gone');
    else unread(source, `it could not be read (${messageOf(error)})`);
  }

  /** Where the link really ends, through other links; one that ends nowhere leads to no place outside. */
  #inside(source: string): boolean {
    const end = attempt(() => realpathSync(source));
    return end === undefined || end === this.#real || end.startsWith(this.#real + sep);
  }
}

interface Name {
  readonly name: string;
  /** False where the bytes are no UTF-8. */
  readonly exact: boolean;
}

/** What may stand for bytes that are no UTF-8, and what JavaScript sorts otherwise than its bytes. */
const UNSURE = /[\ud800-\uffff]/;

/** The names in a folder, sorted by their bytes; a link that has taken its place since is not followed. */
function namesIn(source: string, { dev, ino }: BigIntStats): Name[] {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const file = openSync(source, flags);
  try {
    const names = readNames(source);
    const now = fstatSync(file, { bigint: true });
    const after = lstatSync(source, { bigint: true });
    for (const stats of [now, after])
      if (stats.dev !== dev || stats.ino !== ino) throw new Error('it was replaced');
    return names;
  } finally {
    closeSync(file);
  }
}

function readNames(source: string): Name[] {
  const plain = readdirSync(source);
  if (!plain.some((name) => UNSURE.test(name)))
    return plain.sort().map((name) => ({ name, exact: true }));
  const names = readdirSync(source, { encoding: 'buffer' });
  return names
    .sort((a, b) => a.compare(b))
    .map((bytes) => ({ name: bytes.toString(), exact: isUtf8(bytes) }));
}

function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

function about(stats: BigIntStats): { mode: number; mtime: number } {
  return { mode: Number(stats.mode) & 0o777, mtime: Number(stats.mtimeMs) };
}

/** Tells what in a tree is left out: a glob without `/` is of a name at any depth, as in other tools. */
function excluder(globs: readonly string[]): (path: string) => boolean {
  const matchers = globs.map((glob) => {
    const bare = glob.replace(/^\.?\/+|\/+$/g, '');
    if (bare === '')
      throw new JetError(
        Exit.usage,
        'bad-glob',
        `"${glob}" is no pattern. Write --exclude '*.tmp'.`,
      );
    const match = picomatch(bare, { dot: true });
    const whole = bare.includes('/');
    return (path: string) => match(whole ? path : path.slice(path.lastIndexOf('/') + 1));
  });
  if (matchers.length === 0) return () => false;
  return (path) => {
    const inside = path.slice(path.indexOf('/') + 1);
    return matchers.some((match) => match(inside));
  };
}

function refuse(code: string, what: string, cause?: unknown): JetError {
  const message = `${what}. Name a folder that you may read.`;
  return new JetError(Exit.localFile, code, message, { cause });
}
