/** What a folder holds, for sending: in a stable order, a folder at a time in memory. */
import { constants, type BigIntStats } from 'node:fs';
import { lstat, open, readdir, readlink, realpath } from 'node:fs/promises';
import { basename, join, resolve, sep } from 'node:path';
import picomatch from 'picomatch';
import { Exit, JetError, messageOf } from '../core/errors.ts';
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

/** An entry with where it lies here. */
export type Walked = TreeEntry & { readonly source: string };

/** How to walk. */
export interface WalkOptions {
  /** Take symbolic links that lead to a place inside the folder. Default: skip them. */
  readonly links?: boolean;
  /** Globs of what to leave out: of a name, or with a `/` of a path below the folder. */
  readonly exclude?: readonly string[];
  /** What is left out although nobody asked for it, and why; for the user. */
  readonly skipped: (path: string, why: string) => void;
}

/** Deeper folders are refused: paths have to fit the system. */
const MAX_DEPTH = 200;

/**
 * Everything in a folder: the folder itself, then what it holds, sorted by the bytes of the names.
 *
 * @throws JetError (exit 8) `not-a-folder`, `folder-unreadable` for the folder itself; what lies in it
 * and cannot be read is skipped
 */
export async function* walk(
  root: string,
  options: WalkOptions,
): AsyncGenerator<Walked, void, undefined> {
  const path = resolve(root);
  const stats = await lstat(path, { bigint: true }).catch((error: unknown) => {
    throw refuse('folder-unreadable', `${root} could not be read (${messageOf(error)})`, error);
  });
  if (!stats.isDirectory()) throw refuse('not-a-folder', `${root} is no folder`);
  const name = basename(path) || 'root';
  const walker = new Walker(await realpath(path), options, excluder(options.exclude ?? []));
  yield* walker.folder(path, name, stats, 0);
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

  async *folder(
    source: string,
    path: string,
    stats: BigIntStats,
    depth: number,
  ): AsyncGenerator<Walked, void, undefined> {
    const { skipped } = this.#options;
    if (depth > MAX_DEPTH) {
      skipped(source, 'it lies too deep');
      return;
    }
    let names: Buffer[];
    try {
      names = await namesIn(source, stats);
    } catch (error) {
      if (depth === 0)
        throw refuse(
          'folder-unreadable',
          `${source} could not be read (${messageOf(error)})`,
          error,
        );
      skipped(source, `it could not be read (${messageOf(error)})`);
      return;
    }
    yield { kind: 'folder', path, source, ...about(stats) };
    for (const bytes of names.sort((a, b) => a.compare(b))) {
      const name = bytes.toString();
      const inner = `${path}/${name}`;
      if (this.#excluded(inner.slice(inner.indexOf('/') + 1))) continue;
      if (!Buffer.from(name).equals(bytes)) skipped(join(source, name), 'its name is no UTF-8');
      else yield* this.#entry(join(source, name), inner, depth + 1);
    }
  }

  async *#entry(
    source: string,
    path: string,
    depth: number,
  ): AsyncGenerator<Walked, void, undefined> {
    const { links, skipped } = this.#options;
    const stats = await lstat(source, { bigint: true }).catch(() => undefined);
    if (stats === undefined) skipped(source, 'it is gone');
    else if (stats.isDirectory()) yield* this.folder(source, path, stats, depth);
    else if (stats.isFile())
      yield { kind: 'file', path, source, size: Number(stats.size), ...about(stats) };
    else if (!stats.isSymbolicLink()) skipped(source, 'it is no file, folder or link');
    else if (links !== true) skipped(source, 'it is a link (--links sends links)');
    else {
      const target = await readlink(source).catch(() => '');
      if (staysInside(path, target) && (await this.#inside(source)))
        yield { kind: 'link', path, source, target, ...about(stats) };
      else skipped(source, 'it is a link that leads outside');
    }
  }

  /** Where the link really ends, through other links; one that ends nowhere leads to no place outside. */
  async #inside(source: string): Promise<boolean> {
    const end = await realpath(source).catch(() => undefined);
    return end === undefined || end === this.#real || end.startsWith(this.#real + sep);
  }
}

/** The names in a folder, as bytes; a link that has taken its place since is not followed. */
async function namesIn(source: string, { dev, ino }: BigIntStats): Promise<Buffer[]> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const handle = await open(source, flags);
  try {
    const names = await readdir(source, { encoding: 'buffer' });
    const now = await handle.stat({ bigint: true });
    const after = await lstat(source, { bigint: true });
    for (const stats of [now, after])
      if (stats.dev !== dev || stats.ino !== ino) throw new Error('it was replaced');
    return names;
  } finally {
    await handle.close();
  }
}

function about(stats: BigIntStats): { mode: number; mtime: number } {
  return { mode: Number(stats.mode & 0o777n), mtime: Number(stats.mtimeMs) };
}

/** Tells what is left out: a glob without `/` is of a name at any depth, as in other tools. */
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
  return (path) => matchers.some((match) => match(path));
}

function refuse(code: string, what: string, cause?: unknown): JetError {
  const message = `${what}. Name a folder that you may read.`;
  return new JetError(Exit.localFile, code, message, { cause });
}
