/** A folder, or a batch of files, that is received as one stream: parts in a folder of their own until all is proven, then the files. */
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { Exit, JetError } from '../../core/errors.ts';
import type { Reading } from '../../files/aligned.ts';
import type { PartIdentity } from '../../files/identity.ts';
import { FoldersThere } from '../../files/folders-there.ts';
import { rememberFiles, type LandedFiles, type Placed } from '../../files/landed-files.ts';
import type { Checkpoint, ConflictPolicy } from '../../files/landing.ts';
import { safeName } from '../../files/names.ts';
import type { Naming } from '../../files/part-name.ts';
import { Staging } from '../../files/staging.ts';
import { TreeNames } from '../../files/tree-names.ts';
import { inTheWay, Tree } from '../../files/tree.ts';
import type { TreeEntry } from '../../files/walk.ts';
import { LandedBefore } from '../journal/landed-before.ts';
import { buildTree, type Built } from './tree-building.ts';
import { readTree, type TreeHead } from './tree-list.ts';
import type { Vessel } from '../file-target.ts';

/** Most entries of a folder, implied folders among them. */
const MOST_ENTRIES = 1_000_000;

/** What is received, and where to. */
export interface TreePlan {
  /** The folder, which is there, that the tree comes into. */
  readonly out: string;
  /** Of the offer: the first segment of every path, or the first file of a batch. */
  readonly name: string;
  /** Bytes of the stream. */
  readonly size: number;
  readonly head: TreeHead;
  readonly onConflict: ConflictPolicy;
  /** What is not made, and why; for the user. */
  readonly skipped: (path: string, why: string) => void;
  /** Files of it may have got their names before: what lies there with the same bytes is one of them. */
  readonly again: boolean;
  /** Told where it is kept until then, before there is anything. */
  readonly naming?: Naming;
  /** Which folders were there before that. */
  readonly there?: FoldersThere;
  /** Told before the first file gets its name, with how far all of it has come, and which folders are there. */
  readonly proven?: (all: Checkpoint, there: FoldersThere) => void;
  /** What of this folder has landed before: as far as it is what it was, it does not have to come again. */
  readonly landed?: LandedFiles;
  /** It comes again all the same. */
  readonly anew?: boolean;
  /** Told what has landed, for the next time. */
  readonly remember?: (files: Buffer) => void;
}

/** What is known of a folder that was interrupted. */
export interface TreePart {
  readonly part: string;
  /** Bytes of the stream that are durable. */
  readonly offset: number;
  readonly expected: PartIdentity;
}

/** A folder that is being received. */
export class TreeLanding implements Vessel {
  readonly #plan: TreePlan;
  readonly #staging: Staging;
  /** The list as far as it has come; nothing once it is read. */
  #list: Buffer[];
  #entries: readonly TreeEntry[] | undefined;
  #tree: Tree | undefined;
  #finishing: Promise<string> | undefined;
  #before: LandedBefore | undefined;
  /** Up to there what lies here already is taken over before the next byte is. */
  #until = 0;
  #filling: Promise<void> | undefined;
  #stopped = false;
  /** What had come is gone: the files have their names. */
  #landed = false;
  #files: readonly Placed[] = [];
  #missing: Built['missing'];

  private constructor(
    plan: TreePlan,
    staging: Staging,
    list: readonly Buffer[],
    entries?: readonly TreeEntry[],
  ) {
    this.#plan = plan;
    this.#staging = staging;
    this.#list = [...list];
    this.#entries = entries;
  }

  /** @throws JetError (exit 8) as `Staging.make`, `link-in-the-way`, `file-in-the-way` */
  static async open(plan: TreePlan): Promise<TreeLanding> {
    const target = targetOf(plan);
    const there = await lstat(target).catch(() => undefined);
    if (!plan.head.batch && there !== undefined && !there.isDirectory())
      throw inTheWay(there.isSymbolicLink() ? 'link' : 'file', target);
    const { head, size, naming } = plan;
    return new TreeLanding(plan, await Staging.make(target, head.list, size, naming), []);
  }

  /**
   * Opens again what was set aside, if it is what it was. The first byte to write is that at `start`, at most
   * 4,095 before the offset.
   *
   * @throws JetError (exit 8) as `Staging.reopen`
   */
  static async resume(
    plan: TreePlan,
    { part, offset, expected }: TreePart,
  ): Promise<{ readonly landing: TreeLanding; readonly start: number }> {
    const { size, head } = plan;
    let entries: readonly TreeEntry[] | undefined;
    const sizesOf = (list: Buffer) => {
      try {
        entries = entriesOf(plan, list);
      } catch {
        throw new JetError(
          Exit.localFile,
          'part-changed',
          `${part} is not what was left there of the folder: the list in it is another. Start the transfer again from the beginning.`,
        );
      }
      return sizes(entries);
    };
    const kept = { path: part, head: head.list, size, written: offset, expected, sizesOf };
    const { staging, start } = await Staging.reopen(kept);
    try {
      const list = entries === undefined ? [await staging.bytes(0, start)] : [];
      return { landing: new TreeLanding(plan, staging, list, entries), start };
    } catch (error) {
      await staging.abort('keep');
      throw error;
    }
  }

  get part(): string {
    return this.#staging.path;
  }

  /** Where the next bytes go, and up to where they are to come; what is between lies here already. */
  async ahead(): Promise<{ readonly start: number; readonly end: number }> {
    const { position } = this.#staging;
    const { landed, anew = false, head, size } = this.#plan;
    if (landed === undefined || anew) return { start: position, end: size };
    if (this.#entries === undefined) return { start: position, end: head.list };
    this.#before ??= await LandedBefore.of(landed, this.#entries, head.list, size);
    const gap = this.#before.gapAt(position);
    this.#until = gap.start;
    return gap;
  }

  get file(): Reading {
    return this.#staging.file;
  }

  /** Where the files of a batch lie, once they do. */
  get files(): readonly string[] | undefined {
    return this.#plan.head.batch ? this.#files.map(({ place }) => place) : undefined;
  }

  /** What of it has not landed, once the rest has; undefined where all has. */
  get missing(): Built['missing'] {
    return this.#missing;
  }

  /**
   * As `Staging.range`. Undefined where files may have got their names: what stands there may be theirs, and
   * changed by their user.
   */
  get range(): Staging['range'] | undefined {
    if (this.#plan.again) return undefined;
    return (offset, length) => this.#staging.range(offset, length);
  }

  /** Rejects with a JetError: exit 8 as `Staging.write`, exit 9 `bad-list`, `unsafe-path`. */
  write(bytes: Buffer): Promise<void> | undefined {
    if (this.#entries === undefined) return this.#begin(bytes);
    if (this.#staging.position < this.#until) return this.#afterFilling(bytes);
    return this.#staging.write(bytes);
  }

  settle(): Promise<number> {
    return this.#staging.settle();
  }

  checkpoint(): Promise<Checkpoint> {
    return this.#staging.checkpoint();
  }

  reached(): Promise<Checkpoint> {
    return this.#staging.reached();
  }

  async suspend(): Promise<Checkpoint> {
    await this.#stop();
    return this.#staging.suspend();
  }

  /**
   * Everything is verified: builds the folder, durably, as far as it can be.
   *
   * @returns its path
   * @throws JetError (exit 8) as `buildTree`
   */
  finish(): Promise<string> {
    this.#finishing ??= this.#finish();
    return this.#finishing;
  }

  async abort(part: 'keep' | 'remove'): Promise<void> {
    await this.#stop();
    if (!this.#landed) await this.#staging.abort(part);
    // What has landed keeps its folders: only empty ones go.
    if (part === 'remove') await this.#tree?.abandon();
  }

  async #stop(): Promise<void> {
    this.#stopped = true;
    await this.#filling?.catch(() => undefined);
    await this.#finishing?.catch(() => undefined);
  }

  async #afterFilling(bytes: Buffer): Promise<void> {
    this.#filling = this.#fill();
    await this.#filling;
    await this.#staging.write(bytes);
  }

  /** Copies what lies here already, up to where the next bytes go. */
  async #fill(): Promise<void> {
    const from = this.#staging.position;
    for await (const block of this.#before?.read(from, this.#until) ?? []) {
      if (this.#stopped) throw new Error('the folder is closed');
      await this.#staging.write(block);
    }
  }

  /** The list comes first, and says where everything else goes. */
  async #begin(bytes: Buffer): Promise<void> {
    const { head, size } = this.#plan;
    const first = Buffer.from(bytes.subarray(0, head.list - this.#staging.position));
    const rest = bytes.subarray(first.length);
    // Whoever writes the bytes may free them.
    this.#list.push(Buffer.from(first));
    if (first.length > 0) await this.#staging.write(first);
    if (this.#staging.position < head.list) return;
    const entries = entriesOf(this.#plan, Buffer.concat(this.#list));
    this.#list = [];
    this.#staging.arrange(head.list, size, sizes(entries));
    this.#entries = entries;
    if (rest.length > 0) await this.#staging.write(rest);
  }

  async #finish(): Promise<string> {
    const { out, skipped, again, head, size, proven, landed } = this.#plan;
    const staging = this.#staging;
    const entries = this.#entries;
    if (entries === undefined || staging.position !== size) throw new Error('nothing to land');
    await staging.settle();
    // From here on a crash leaves some files where they belong: the next run finds them by this.
    const { there = FoldersThere.none } = this.#plan;
    const before = again ? there : await FoldersThere.look(out, entries, MOST_ENTRIES);
    if (proven !== undefined) proven(await staging.checkpoint(), before);
    const tree = await Tree.open(out, { skipped, ...(again && { before }) });
    this.#tree = tree;
    const states = await staging.bytes(size - head.files, head.files);
    const files: Placed[] = [];
    const { path, missing } = await buildTree({
      ...{ ...this.#plan, staging, tree, entries, states },
      root: targetOf(this.#plan),
      landedBefore: async (path) => again || (await landed?.has(path)) === true,
      placed: (file) => files.push(file),
    });
    this.#missing = missing;
    // A second name that goes changes the file's times.
    await staging.abort('remove');
    this.#landed = true;
    this.#files = files;
    // Also where something else has not landed.
    await this.#remember(files);
    return path;
  }

  async #remember(files: readonly Placed[]): Promise<void> {
    const { remember, landed, head } = this.#plan;
    // The next batch may be of other files.
    const known = remember && (await rememberFiles(files, head.batch ? landed : undefined));
    if (known !== undefined) remember?.(known);
  }
}

/** Where the folder comes to lie, or by its own name the first file of a batch. */
export function targetOf({ out, name }: Pick<TreePlan, 'out' | 'name'>): string {
  return join(out, safeName(name));
}

/** @throws JetError (exit 9) `bad-list`, `unsafe-path`, `too-many-entries` */
function entriesOf({ head, name, size }: TreePlan, list: Buffer): TreeEntry[] {
  const entries = readTree(list, head, name, size);
  // Refused before anything is made, and not when all of it has come.
  const names = new TreeNames(MOST_ENTRIES);
  for (const { kind, path } of entries)
    if (kind === 'folder') names.folder(path);
    else names.leaf(path);
  return entries;
}

function sizes(entries: readonly TreeEntry[]): number[] {
  return entries.flatMap((entry) => (entry.kind === 'file' ? [entry.size] : []));
}
