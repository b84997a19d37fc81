/** What a `jet send` was given, looked at before anybody is asked for anything. */
import { statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { asError } from '../core/errors.ts';
import { FileSource } from '../files/source.ts';
import { spool } from '../files/spool.ts';
import type { Sendable } from './send.ts';
import { shownName } from './tree/tree-list.ts';
import {
  batchSource,
  treeSource,
  walkedFile,
  walkFolder,
  type WalkedFile,
  type WalkedFolder,
} from './tree/tree-source.ts';

/** Standard input among the arguments. */
export const STDIN = '-';
/** What the other side calls it by default. */
const INPUT_NAME = 'stdin';
/** And a text. */
const TEXT_NAME = 'text.txt';

/** Largest file, in bytes, that shares a content with others that were named. */
const SMALL = 1024 * 1024;
/** Fewest of them that do, and most in one content. */
const FEWEST = 8;
const MOST = 10_000;

/** One thing to offer; opened when its turn comes, and again when it has to be offered again. */
export interface Item {
  /** For the user. */
  readonly label: string;
  /** @throws JetError (exit 8) */
  open(): Promise<Sendable>;
  /** Of a folder: what is in it. */
  readonly folder?: WalkedFolder;
  /** Of a file under its own name: what it was when it was named. */
  readonly file?: WalkedFile;
  /** How many of those that were named are in it; default one. */
  readonly count?: number;
}

/**
 * What is offered to a jet: many small files share a content, as those of a folder do, for each session costs more
 * than their bytes. The others, and a few, each have their own.
 */
export function inBatches(items: readonly Item[]): Item[] {
  const small = items.flatMap(({ file }) => (file && file.size <= SMALL ? [file] : []));
  if (small.length < FEWEST) return [...items];
  const batches: Item[] = [];
  for (let at = 0; at < small.length; at += MOST) {
    const files = small.slice(at, at + MOST);
    const open = () => Promise.resolve(batchSource(files));
    const { name, tree } = batchSource(files);
    batches.push({ label: shownName(name, tree), count: files.length, open });
  }
  return [...batches, ...items.filter(({ file }) => file === undefined || file.size > SMALL)];
}

/** What is offered to a program that builds no folders: the files in it, named by their paths. */
export function piecesOf(item: Item): Item[] {
  if (item.folder === undefined) return [item];
  return item.folder.entries
    .filter(({ kind }) => kind === 'file')
    .map(({ path, source }) => ({
      label: path,
      open: async () => sendable(await FileSource.open(source), path.replaceAll('/', '_'), true),
    }));
}

/** What can be sent, and what cannot. */
export interface Gathered {
  readonly items: readonly Item[];
  readonly refused: readonly { readonly label: string; readonly error: Error }[];
  /** Frees what is kept for it. */
  close(): Promise<void>;
}

/** How to gather. */
export interface GatherOptions {
  /** What the other side sees in place of the only item's own name. */
  readonly name?: string;
  /** Sent after the paths, in UTF-8 and as it is: no line end is added. */
  readonly text?: string;
  /** Take links that lead to a place inside their folder. */
  readonly links: boolean;
  /** What to leave out of folders, see `walk`. */
  readonly exclude: readonly string[];
  /** What is left out of a folder, and why. */
  readonly skipped: (path: string, why: string) => void;
  readonly signal: AbortSignal;
  /** Standard input was taken to its end, so many bytes. */
  readonly kept: (size: number) => void;
}

/**
 * Looks at everything that was named, and takes standard input to its end: its size has to be known.
 *
 * @throws the signal's reason
 */
export async function gather(paths: readonly string[], options: GatherOptions): Promise<Gathered> {
  const items: Item[] = [];
  const refused: { label: string; error: Error }[] = [];
  const kept: FileSource[] = [];
  for (const path of paths) {
    try {
      if (path === STDIN) {
        const source = await takeInput(options);
        kept.push(source);
        items.push({
          label: source.name,
          open: () => Promise.resolve(sendable(source, source.name, false)),
        });
      } else if (isFolder(path)) {
        items.push(await folder(path, options));
      } else {
        const source = await FileSource.open(path);
        await source.close();
        const label = basename(path);
        const { name = label } = options;
        const open = async () => sendable(await FileSource.open(path), name, true);
        items.push({ label, open, ...(name === label && { file: walkedFile(source) }) });
      }
    } catch (error) {
      options.signal.throwIfAborted();
      refused.push({ label: path, error: asError(error) });
    }
  }
  if (options.text !== undefined)
    items.push(textItem(options.text, options.name ?? TEXT_NAME, new Date()));
  const close = async () => {
    for (const source of kept) await source.close();
  };
  return { items, refused, close };
}

/** What cannot be looked at is for opening it to explain. */
function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** @throws JetError: exit 8 as `walk`, exit 2 for a pattern that is none */
async function folder(path: string, options: GatherOptions): Promise<Item> {
  const { links, exclude, skipped, signal } = options;
  const name = options.name ?? (basename(resolve(path)) || 'root');
  const walked = { path: resolve(path), name, links, exclude };
  const held = await walkFolder(walked, skipped, signal);
  return { label: name, folder: held, open: () => Promise.resolve(treeSource(walked, held)) };
}

/** Of a text there is no file that a later `jet resume` could read again. */
function textItem(text: string, name: string, mtime: Date): Item {
  const bytes = Buffer.from(text);
  const source: Sendable = {
    ...{ name, mtime, size: bytes.length },
    // A copy: the blocks of a source belong to whoever reads them.
    read: async function* (offset, end) {
      if (offset < end) yield await Promise.resolve(Buffer.from(bytes.subarray(offset, end)));
    },
    close: () => Promise.resolve(),
  };
  return { label: name, open: () => Promise.resolve(source) };
}

async function takeInput({ name = INPUT_NAME, signal, kept }: GatherOptions): Promise<FileSource> {
  const { source } = await spool(process.stdin, { name, signal });
  kept(source.size);
  return source;
}

/** @param ends - closing it closes the file */
function sendable(source: FileSource, name: string, ends: boolean): Sendable {
  return {
    ...{ name, size: source.size, mtime: source.mtime },
    ...(ends && { origin: source }),
    read: (offset, end) => source.read(offset, end),
    close: () => (ends ? source.close() : Promise.resolve()),
  };
}
