/** What a `jet send` was given, looked at before anybody is asked for anything. */
import { basename } from 'node:path';
import { asError } from '../core/errors.ts';
import { FileSource } from '../files/source.ts';
import { spool } from '../files/spool.ts';
import type { Sendable } from './send.ts';

/** Standard input among the arguments. */
export const STDIN = '-';
/** What the other side calls it by default. */
const INPUT_NAME = 'stdin';

/** One thing to offer; opened when its turn comes, and again when it has to be offered again. */
export interface Item {
  /** For the user. */
  readonly label: string;
  /** @throws JetError (exit 8) */
  open(): Promise<Sendable>;
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
      } else {
        await (await FileSource.open(path)).close();
        const label = basename(path);
        const name = options.name ?? label;
        items.push({ label, open: async () => sendable(await FileSource.open(path), name, true) });
      }
    } catch (error) {
      options.signal.throwIfAborted();
      refused.push({ label: path, error: asError(error) });
    }
  }
  const close = async () => {
    for (const source of kept) await source.close();
  };
  return { items, refused, close };
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
    read: (offset, end) => source.read(offset, end),
    close: () => (ends ? source.close() : Promise.resolve()),
  };
}
