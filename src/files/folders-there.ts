/** Which folders of a tree were there before any of it landed: they keep their permissions and times. */
import { lstat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { TreeNames } from './tree-names.ts';
import type { TreeEntry } from './walk.ts';

/** A bit for each folder of a list, in its order. */
export class FoldersThere {
  /** Nothing was there. */
  static readonly none = new FoldersThere(Buffer.alloc(0), false);
  /** All that is there was there. */
  static readonly all = new FoldersThere(Buffer.alloc(0), true);
  readonly #bits: Buffer;
  /** Of those that have no bit. */
  readonly #others: boolean;

  private constructor(bits: Buffer, others: boolean) {
    this.#bits = bits;
    this.#others = others;
  }

  /**
   * Looks for them, under the names that they get here; a link is no folder. Nothing is made.
   *
   * @param out - the folder that the tree comes into
   * @param most - entries, see `TreeNames`
   */
  static async look(
    out: string,
    entries: readonly TreeEntry[],
    most: number,
  ): Promise<FoldersThere> {
    const names = new TreeNames(most);
    const missing = new Set<string>();
    const there: number[] = [];
    let n = 0;
    for (const { kind, path } of entries) {
      if (kind !== 'folder') {
        names.leaf(path);
        continue;
      }
      const local = names.folder(path);
      const found = !missing.has(posix.dirname(local)) && (await isFolder(join(out, local)));
      if (found) there.push(n);
      // All others are in the first.
      else if (n === 0) return FoldersThere.none;
      else missing.add(local);
      n++;
    }
    const bits = Buffer.alloc(Math.ceil(((there.at(-1) ?? -1) + 1) / 8));
    for (const at of there) bits[at >> 3] = (bits[at >> 3] ?? 0) | (1 << (at & 7));
    return new FoldersThere(bits, false);
  }

  /** What `words` gave; none for anything else. */
  static of(words: unknown): FoldersThere {
    if (typeof words !== 'string') return FoldersThere.none;
    return new FoldersThere(Buffer.from(words, 'base64'), false);
  }

  /** For the options of a row; empty for none. */
  get words(): string {
    return this.#bits.toString('base64');
  }

  /** @param n - counts the folders of the list */
  has(n: number): boolean {
    const byte = this.#bits[n >> 3];
    return byte === undefined ? this.#others : (byte & (1 << (n & 7))) !== 0;
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined))?.isDirectory() === true;
}
