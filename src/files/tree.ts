/** Building a received tree: nothing of it ever lies outside its folder, whatever the peer sends. */
import { constants } from 'node:fs';
import {
  lstat,
  mkdir,
  open,
  readlink,
  realpath,
  rmdir,
  symlink,
  type FileHandle,
} from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { Exit, JetError, systemCode } from '../core/errors.ts';
import type { FoldersThere } from './folders-there.ts';
import { resolveLink } from './links.ts';
import { permit } from './place.ts';
import { writeFailure } from './refusal.ts';
import { TreeNames } from './tree-names.ts';
import { allowedMode } from './umask.ts';
import type { TreeEntry } from './walk.ts';

/** How to build. */
export interface TreeOptions {
  /** Of what an earlier run of this transfer had begun: which folders were there before it. */
  readonly before?: FoldersThere;
  /** Most entries; default a million. */
  readonly most?: number;
  /** A link that is not made, and why; for the user. */
  readonly skipped: (path: string, why: string) => void;
}

/** Does something for what has this path in the list. */
export type Trying = (path: string, action: () => Promise<void>) => Promise<unknown>;

/** Permission bits and the time of the last change, as the peer gives them. */
type Attributes = Pick<TreeEntry, 'mode' | 'mtime'>;

/** Ms since 1970 at the end of the year 9999. */
const MAX_TIME = 253_402_300_799_000;

/**
 * Builds one tree, entry by entry, in the order of the list. Folders are there at once, files land by
 * `Landing` at the path that `file` gives, links and the attributes of folders come last.
 *
 * @remarks Every folder on the way is looked at each time: what is a link there is never followed.
 * Only another program of a user who may write into these folders could put one there between the
 * look and the use.
 */
export class Tree {
  readonly #root: string;
  readonly #options: TreeOptions;
  readonly #names: TreeNames;
  readonly #made = new Set<string>();
  readonly #folders = new Map<string, Attributes & { readonly path: string }>();
  /** Folders of the list so far. */
  #count = 0;
  readonly #links: { readonly local: string; readonly path: string; readonly target: string }[] =
    [];

  private constructor(root: string, options: TreeOptions) {
    this.#root = root;
    this.#options = options;
    this.#names = new TreeNames(options.most ?? 1_000_000);
  }

  /** @param out - the folder, which is there, that the tree comes into; may be named by a link */
  static async open(out: string, options: TreeOptions): Promise<Tree> {
    try {
      return new Tree(await realpath(out), options);
    } catch (error) {
      throw writeFailure(join(out, 'x'), error);
    }
  }

  /**
   * Makes a folder, unless it is there: then it keeps its permissions and times.
   *
   * @returns its path here
   * @throws JetError: exit 8 `link-in-the-way`, `file-in-the-way` and as `Landing`; exit 9
   * `unsafe-path`, `too-many-entries`
   */
  async folder(entry: TreeEntry): Promise<string> {
    const earlier = this.#options.before?.has(this.#count++) === false;
    const local = this.#names.folder(entry.path);
    const path = await this.#descend(local);
    if (this.#made.has(path) || earlier) this.#folders.set(local, entry);
    return path;
  }

  /** Makes the folders that lead to a file. @returns where it has to land; the rest as `folder` */
  async file(entry: TreeEntry): Promise<string> {
    const local = this.#names.leaf(entry.path);
    await this.#descend(posix.dirname(local));
    return join(this.#root, local);
  }

  /** Gives a file that has landed, or is about to, its permission bits and times. @throws JetError (exit 8) */
  async settle(path: string, entry: Attributes): Promise<void> {
    await dress(path, entry, constants.O_NONBLOCK);
  }

  /** Remembers a link; one that could lead outside is skipped. @throws JetError (exit 9) */
  link(entry: TreeEntry & { readonly kind: 'link' }): void {
    const { path, target } = entry;
    const local = this.#names.leaf(path);
    const resolved = target.length > 4096 ? undefined : resolveLink(path, target);
    if (resolved === undefined) this.#options.skipped(local, 'it is a link that leads outside');
    else this.#links.push({ local, path, target: resolved });
  }

  /**
   * Makes the links, then dresses the folders, the deepest first.
   *
   * @param trying - does it for what is at a path of the list; may make nothing of an error
   * @throws JetError (exit 8)
   */
  async finish(trying: Trying = (_, action) => action()): Promise<void> {
    for (const { local, path, target } of this.#links)
      await trying(path, async () => {
        const folder = posix.dirname(local);
        const relative = posix.relative(folder, this.#names.find(target)) || '.';
        await this.#link(join(await this.#descend(folder), posix.basename(local)), relative);
      });
    const deepest = [...this.#folders].sort(([a], [b]) => depth(b) - depth(a));
    for (const [local, { path, ...attributes }] of deepest)
      await trying(path, async () =>
        dress(await this.#descend(local), attributes, constants.O_DIRECTORY),
      );
  }

  /** Takes the folders away again that were made here and are empty. Never rejects. */
  async abandon(): Promise<void> {
    const deepest = [...this.#made].sort((a, b) => b.length - a.length);
    for (const path of deepest) await rmdir(path).catch(() => undefined);
  }

  async #link(path: string, target: string): Promise<void> {
    try {
      await symlink(target, path);
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw writeFailure(path, error);
      const same = (await readlink(path).catch(() => undefined)) === target;
      if (!same) this.#options.skipped(path, 'something of that name is there already');
    }
  }

  /** Goes down, making what is not there; a folder, and no link to one, at each step. */
  async #descend(local: string): Promise<string> {
    let path = this.#root;
    let at = '';
    for (const step of local.split('/').filter((name) => name !== '.')) {
      path = join(path, step);
      at = posix.join(at, step);
      try {
        if (!this.#made.has(path)) await this.#make(path, at);
        const stats = await lstat(path);
        if (stats.isSymbolicLink()) throw inTheWay('link', path);
        if (!stats.isDirectory()) throw inTheWay('file', path);
      } catch (error) {
        throw writeFailure(path, error);
      }
    }
    return path;
  }

  /** For us alone until it is dressed. */
  async #make(path: string, local: string): Promise<void> {
    try {
      await mkdir(path, 0o700);
      this.#made.add(path);
      // A folder that is only implied by a path is like any new one.
      this.#folders.set(local, { mode: 0o777, mtime: NaN, path: local });
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error;
    }
  }
}

/** Sets what can be set; a link in its place is not followed. */
async function dress(path: string, attributes: Attributes, kind: number): Promise<void> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | kind);
    try {
      await dressFile(file, attributes);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (systemCode(error) === 'ELOOP') throw inTheWay('link', path);
    throw writeFailure(path, error);
  }
}

/** Gives an open file its permission bits and times. @throws the system's error */
export async function dressFile(file: FileHandle, { mode, mtime }: Attributes): Promise<void> {
  await permit(file, allowedMode(mode));
  if (mtime >= 0 && mtime <= MAX_TIME) await file.utimes(Date.now() / 1000, seconds(mtime));
}

/** A fraction that is no binary one comes out a little small, and would lose its last millisecond. */
function seconds(ms: number): number {
  return ms % 1000 === 0 ? ms / 1000 : (ms + 0.0005) / 1000;
}

function depth(local: string): number {
  return local.split('/').length;
}

/** @returns the error (exit 8) for what lies where a folder has to be */
export function inTheWay(what: 'link' | 'file', path: string): JetError {
  return new JetError(
    Exit.localFile,
    `${what}-in-the-way`,
    `${path} is a ${what} where a folder has to be, in ${dirname(path)}. Move it away, or choose another folder with --out.`,
  );
}
