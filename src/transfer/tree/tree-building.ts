/** A folder whose bytes are all there and proven: its files get their names, one after the other. */
import { constants } from 'node:fs';
import { lstat, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Exit, JetError, messageOf, systemCode } from '../../core/errors.ts';
import { blocksOf } from '../../files/blocks.ts';
import type { Placed } from '../../files/landed-files.ts';
import { Landing, type ConflictPolicy } from '../../files/landing.ts';
import { place, syncFolder } from '../../files/place.ts';
import { checkLanding, targetExists, writeFailure } from '../../files/refusal.ts';
import type { Staging } from '../../files/staging.ts';
import { dressFile, type Tree } from '../../files/tree.ts';
import type { TreeEntry } from '../../files/walk.ts';
import { missingOf, type Missing, type MissingPaths } from './missing.ts';
import { WHOLE } from './tree-list.ts';

/** Files that are made durable at once: several syncs cost little more than one. */
const AT_ONCE = 16;
/** Of its owner. */
const READABLE = 0o400;

/** What is built. */
export interface TreeParts {
  /** What is told as its path, of what is in no folder of its own. */
  readonly root: string;
  /** All of it, settled. */
  readonly staging: Staging;
  readonly tree: Tree;
  readonly entries: readonly TreeEntry[];
  /** What became of each file at the side that has read it. */
  readonly states: Buffer;
  readonly onConflict: ConflictPolicy;
  /** Whether what lies at a path has landed there before: where its bytes are the same it is the file. */
  readonly landedBefore: (path: string) => Promise<boolean>;
  readonly skipped: (path: string, why: string) => void;
  /** Told where each file lies. */
  readonly placed: (file: Placed) => void;
}

/** What was built. */
export interface Built {
  /** Path of the folder, or `root`. */
  readonly path: string;
  /** What of it did not land; undefined where all of it did. */
  readonly missing: (Missing & MissingPaths) | undefined;
}

/**
 * Builds the folder, durably. What stands in the staging folder stays there, so that a crash at any moment
 * leaves what is needed to do it again.
 *
 * @throws JetError (exit 8) `disk-full`, and where the folder itself cannot be made
 */
export async function buildTree(parts: TreeParts): Promise<Built> {
  return new TreeBuilding(parts).run();
}

interface Ready {
  /** In the list, and among its files. */
  readonly line: number;
  readonly index: number;
  readonly entry: TreeEntry & { readonly kind: 'file' };
  readonly target: string;
}

class TreeBuilding {
  readonly #parts: TreeParts;
  /** Folders whose names have to be made durable. */
  readonly #touched = new Set<string>();
  /** Lines of the list. */
  readonly #failed = new Set<number>();

  constructor(parts: TreeParts) {
    this.#parts = parts;
  }

  async run(): Promise<Built> {
    const { tree, entries, states, root } = this.#parts;
    let folder: string | undefined;
    let ready: Ready[] = [];
    let index = 0;
    for (const [line, entry] of entries.entries()) {
      const { kind } = entry;
      if (kind === 'link') tree.link(entry);
      else if (kind === 'folder') {
        const make = () => tree.folder(entry);
        // Without the folder itself there is nothing.
        const made = line === 0 ? (folder = await make()) : await this.#trying(line, make);
        if (made !== undefined) this.#touched.add(made).add(dirname(made));
      } else if (states[index++] !== WHOLE) {
        // It still has its name, so that those of others do not depend on it.
        const named = await this.#trying(line, () => tree.file(entry));
        if (named !== undefined) this.#fail(line, 'it could not be read there');
      } else {
        const target = await this.#trying(line, () => tree.file(entry));
        if (target !== undefined) ready.push({ line, index: index - 1, entry, target });
        if (ready.length < AT_ONCE) continue;
        await this.#land(ready);
        ready = [];
      }
    }
    await this.#land(ready);
    // A folder that only leads to something stands in no line.
    const lines = new Map(entries.map(({ path }, line) => [path, line]));
    await tree.finish((path, action) => this.#trying(lines.get(path) ?? 0, action));
    await inGroups([...this.#touched], syncFolder);
    return { path: folder ?? root, missing: this.#missing() };
  }

  /** Several become files at once, in any order; they get their names in that of the list. */
  async #land(ready: readonly Ready[]): Promise<void> {
    const made = await Promise.all(
      ready.map(({ line, index, entry }) => this.#trying(line, () => this.#make(index, entry))),
    );
    for (const [n, { line, index, entry, target }] of ready.entries()) {
      const part = made[n];
      if (part === undefined) continue;
      const path = await this.#trying(line, () => this.#name(index, entry, part, target));
      if (path === undefined) continue;
      this.#touched.add(dirname(path));
      this.#parts.placed({ entry, place: path });
    }
  }

  /** A file of its own, dressed and durable. */
  async #make(index: number, entry: Ready['entry']): Promise<string> {
    const { staging, tree } = this.#parts;
    const part = staging.partOf(index);
    if (part !== undefined) {
      // As long as it may have to be read again.
      await tree.settle(part, { ...entry, mode: entry.mode | READABLE });
      return part;
    }
    const path = join(staging.path, String(index));
    try {
      const bytes = await staging.bytes(staging.startOf(index), entry.size);
      await rm(path, { force: true });
      const flags =
        constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      const file = await open(path, flags, 0o600);
      try {
        await file.writeFile(bytes);
        await dressFile(file, entry);
        await file.sync();
      } finally {
        await file.close();
      }
      return path;
    } catch (error) {
      throw writeFailure(path, error);
    }
  }

  /** @returns its path @throws JetError (exit 8) also where something is there already, and it is to be skipped */
  async #name(index: number, entry: Ready['entry'], part: string, target: string): Promise<string> {
    const { staging, tree, onConflict, landedBefore } = this.#parts;
    const keep = staging.partOf(index) !== undefined;
    const there = async (path: string) => (await landedBefore(path)) && sameFile(part, path);
    try {
      if (onConflict === 'overwrite') await checkLanding({ target, size: 0, onConflict });
      const path = await place(part, target, onConflict, { keep, there }).catch(
        (error: unknown) => {
          if (systemCode(error) !== 'EXDEV') throw error;
          return this.#copy(entry, part, target, there);
        },
      );
      if (path === undefined) throw targetExists(target);
      if (keep && (entry.mode & READABLE) === 0) await tree.settle(path, entry);
      return path;
    } catch (error) {
      throw writeFailure(target, error);
    }
  }

  /** A folder in the folder is another file system. */
  async #copy(
    entry: Ready['entry'],
    part: string,
    target: string,
    there: (path: string) => Promise<boolean>,
  ): Promise<string | undefined> {
    if (await there(target)) return target;
    const { onConflict, tree } = this.#parts;
    const landing = await Landing.open({ target, size: entry.size, onConflict });
    if (landing === undefined) return undefined;
    try {
      for await (const block of blocksOf(part)) await landing.write(block);
      const path = await landing.finish();
      if (path !== undefined) await tree.settle(path, entry);
      return path;
    } catch (error) {
      await landing.abort('remove');
      throw error;
    }
  }

  /** What is wrong with one file is no matter of the others; a full disk, or a peer that lies, is. */
  async #trying<T>(line: number, action: () => Promise<T>): Promise<T | undefined> {
    try {
      return await action();
    } catch (error) {
      const one = error instanceof JetError && error.exit === Exit.localFile;
      if (!one || error.code === 'disk-full') throw error;
      this.#fail(line, messageOf(error));
      return undefined;
    }
  }

  #fail(line: number, why: string): void {
    this.#failed.add(line);
    this.#parts.skipped(this.#pathOf(line), why.replace(/\.$/, ''));
  }

  #pathOf(line: number): string {
    return this.#parts.entries[line]?.path ?? '';
  }

  #missing(): Built['missing'] {
    if (this.#failed.size === 0) return undefined;
    const missing = missingOf(this.#failed);
    return { ...missing, paths: missing.lines.map((line) => this.#pathOf(line)) };
  }
}

/** Whether two paths are one file, or files with the same bytes; a link is neither. */
async function sameFile(one: string, other: string): Promise<boolean> {
  const look = (path: string) => lstat(path, { bigint: true }).catch(() => undefined);
  const [a, b] = await Promise.all([look(one), look(other)]);
  if (a === undefined || b?.isFile() !== true || a.size !== b.size) return false;
  if (a.dev === b.dev && a.ino === b.ino) return true;
  const theirs = blocksOf(other);
  try {
    for await (const block of blocksOf(one)) {
      const next = await theirs.next();
      if (next.done === true || !next.value.equals(block)) return false;
    }
    return true;
  } catch (error) {
    // What may not be read is not known to be the same.
    if (systemCode(error) === 'EACCES' || systemCode(error) === 'ELOOP') return false;
    throw error;
  } finally {
    await theirs.return(undefined);
  }
}

async function inGroups<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < all.length; at += AT_ONCE)
    await Promise.all(all.slice(at, at + AT_ONCE).map(work));
}
