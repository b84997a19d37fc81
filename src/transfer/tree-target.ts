/** A folder that is received as one stream: parts of its files until all is proven, then the files. */
import { rm } from 'node:fs/promises';
import { Exit, JetError, messageOf } from '../core/errors.ts';
import { Landing, type Checkpoint, type ConflictPolicy } from '../files/landing.ts';
import { Tree } from '../files/tree.ts';
import type { TreeEntry } from '../files/walk.ts';
import type { Target } from './decrypting.ts';
import { readTree, WHOLE, type TreeHead } from './tree-list.ts';

/** Most names in a sentence. */
const MOST_NAMES = 20;

type FileEntry = TreeEntry & { readonly kind: 'file' };

/** What is received, and where to. */
export interface TreeLanding {
  /** The folder, which is there, that the tree comes into. */
  readonly out: string;
  /** Of the offer: the first segment of every path. */
  readonly name: string;
  /** Bytes of the stream. */
  readonly size: number;
  readonly head: TreeHead;
  readonly onConflict: ConflictPolicy;
  /** What is not made, and why; for the user. */
  readonly skipped: (path: string, why: string) => void;
}

/** A file whose bytes come; without a landing they go nowhere. */
interface Coming {
  readonly entry: FileEntry;
  readonly target: string;
  readonly landing: Landing | undefined;
}

/** A file whose bytes are all in its part, which is closed: there may be very many. */
interface Part extends Checkpoint {
  readonly entry: FileEntry;
  readonly target: string;
  readonly part: string;
}

/** Takes the stream of a folder apart. */
export class TreeTarget implements Target {
  readonly as = 'file';
  readonly #what: TreeLanding;
  readonly #list: Buffer[] = [];
  #listed = 0;
  #tree: Tree | undefined;
  #root: string | undefined;
  #entries: Iterator<TreeEntry> = [][Symbol.iterator]();
  /** The file whose bytes come. */
  #file: Coming | undefined;
  #left = 0;
  /** One for each file, in order; undefined where nothing is to land. */
  readonly #parts: (Part | undefined)[] = [];
  readonly #states: Buffer[] = [];
  readonly #failed: string[] = [];

  constructor(what: TreeLanding) {
    this.#what = what;
  }

  /** @throws JetError: exit 8 as `Tree` and `Landing`, exit 9 `bad-list`, `unsafe-path` */
  async write(bytes: Buffer): Promise<void> {
    let rest = bytes;
    const take = (most: number): Buffer => {
      const taken = rest.subarray(0, most);
      rest = rest.subarray(taken.length);
      // Whoever lands a block may free its memory, and the others in it are still to come.
      return taken.length === bytes.length ? taken : Buffer.from(taken);
    };
    while (rest.length > 0) {
      if (this.#tree === undefined) {
        const part = Buffer.from(take(this.#what.head.list - this.#listed));
        this.#list.push(part);
        this.#listed += part.length;
        if (this.#listed === this.#what.head.list) await this.#begin();
      } else if (this.#file !== undefined) {
        const part = take(this.#left);
        this.#left -= part.length;
        await this.#keep(part);
        if (this.#left === 0) await this.#next();
      } else this.#states.push(Buffer.from(take(rest.length)));
    }
  }

  async finish(): Promise<string | undefined> {
    const states = Buffer.concat(this.#states);
    const tree = this.#tree;
    if (tree === undefined || this.#file !== undefined) throw new Error('nothing to land');
    for (const [n, part] of this.#parts.entries()) {
      if (part === undefined) continue;
      if (states[n] === WHOLE) await this.#trying(part.entry.path, () => this.#land(tree, part));
      else this.#fail(part.entry.path, 'it could not be read there');
      if (states[n] !== WHOLE) await rm(part.part, { force: true });
      this.#parts[n] = undefined;
    }
    await tree.finish();
    if (this.#failed.length === 0) return this.#root;
    const names = this.#failed.slice(0, MOST_NAMES).join(', ');
    const more =
      this.#failed.length > MOST_NAMES ? ` and ${this.#failed.length - MOST_NAMES} more` : '';
    throw new JetError(
      Exit.partial,
      'some-failed',
      `${this.#failed.length} of ${this.#parts.length} files did not land: ${names}${more}. The others are there`,
    );
  }

  async abort(): Promise<undefined> {
    await this.#file?.landing?.abort('remove');
    for (const part of this.#parts)
      if (part !== undefined) await rm(part.part, { force: true }).catch(() => undefined);
    // What has landed keeps its folders: only empty ones go.
    await this.#tree?.abandon();
  }

  async #begin(): Promise<void> {
    const { out, head, name, size, skipped } = this.#what;
    const entries = readTree(Buffer.concat(this.#list), head, name, size);
    this.#list.length = 0;
    this.#tree = await Tree.open(out, { skipped });
    this.#entries = entries[Symbol.iterator]();
    await this.#next();
  }

  /** Goes on in the list up to a file that has bytes. */
  async #next(): Promise<void> {
    const tree = this.#tree;
    if (tree === undefined) return;
    if (this.#file !== undefined) await this.#set(this.#file);
    this.#file = undefined;
    for (let step = this.#entries.next(); step.done !== true; step = this.#entries.next()) {
      const entry = step.value;
      if (entry.kind === 'folder') this.#root = await this.#folder(tree, entry);
      else if (entry.kind === 'link') tree.link(entry);
      else {
        const file = await this.#open(tree, entry);
        if (entry.size > 0) {
          this.#file = file;
          this.#left = entry.size;
          return;
        }
        await this.#set(file);
      }
    }
  }

  /** @returns the path of the first folder */
  async #folder(tree: Tree, entry: TreeEntry): Promise<string | undefined> {
    const path = await tree.folder(entry);
    return this.#root ?? path;
  }

  async #open(tree: Tree, entry: FileEntry): Promise<Coming> {
    const target = await tree.file(entry);
    const { onConflict } = this.#what;
    const landing = await this.#trying(entry.path, async () => {
      const opened = await Landing.open({ target, size: entry.size, onConflict });
      if (opened === undefined) this.#what.skipped(target, 'it is there already');
      return opened;
    });
    return { entry, target, landing };
  }

  async #keep(bytes: Buffer): Promise<void> {
    await this.#file?.landing?.write(bytes);
  }

  /** All bytes of a file are there. */
  async #set({ entry, target, landing }: Coming): Promise<void> {
    if (landing === undefined) this.#parts.push(undefined);
    else this.#parts.push({ entry, target, part: landing.part, ...(await landing.suspend()) });
  }

  async #land(tree: Tree, { entry, target, part, identity }: Part): Promise<void> {
    const { onConflict } = this.#what;
    const { size } = entry;
    const options = { target, size, onConflict, part, offset: size, expected: identity };
    const resumed = await Landing.resume(options);
    const path = await resumed?.landing.finish();
    if (path !== undefined) await tree.settle(path, entry);
    else {
      await rm(part, { force: true });
      this.#what.skipped(target, 'it is there already');
    }
  }

  /** What is wrong with one file is no matter of the others; a full disk, or a peer that lies, is. */
  async #trying<T>(path: string, action: () => Promise<T>): Promise<T | undefined> {
    try {
      return await action();
    } catch (error) {
      const one = error instanceof JetError && error.exit === Exit.localFile;
      if (!one || error.code === 'disk-full') throw error;
      this.#fail(path, messageOf(error));
      return undefined;
    }
  }

  #fail(path: string, why: string): void {
    this.#failed.push(path);
    this.#what.skipped(path, why.replace(/\.$/, ''));
  }
}
