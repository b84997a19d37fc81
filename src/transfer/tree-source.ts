/** A folder to send, as one stream: the list, the files in its order, and what became of each. */
import { realpathSync } from 'node:fs';
import { Exit, JetError, messageOf } from '../core/errors.ts';
import { FileSource } from '../files/source.ts';
import { walk, type Walked, type WalkOptions } from '../files/walk.ts';
import type { TransferOptions, TransferRow } from './journal-row.ts';
import type { Sendable } from './send.ts';
import { BROKEN, treeWords, WHOLE, writeTree } from './tree-list.ts';

/** Bytes of zeros at once in place of what could not be read. */
const BLANK = 1024 * 1024;

/** How a folder was walked, so that it can be walked in the same way again. */
export interface Walk {
  /** Absolute path of the folder; may be that of a link to one. */
  readonly path: string;
  /** What the other side calls it. */
  readonly name: string;
  readonly links: boolean;
  readonly exclude: readonly string[];
}

type WalkedFile = Walked & { readonly kind: 'file' };

/**
 * Everything in a folder, under the name that it is sent by.
 *
 * @throws JetError: exit 8 as `walk`, exit 2 for a pattern that is none; the signal's reason
 */
export async function walkFolder(
  { path, name, links, exclude }: Walk,
  skipped: WalkOptions['skipped'],
  signal?: AbortSignal,
): Promise<Walked[]> {
  const entries: Walked[] = [];
  // A link that was named is what the user means.
  for await (const entry of walk(realpathSync(path), { links, exclude, skipped })) {
    signal?.throwIfAborted();
    entries.push(entry);
  }
  const own = entries[0]?.path.length ?? 0;
  return entries.map((entry) => ({ ...entry, path: name + entry.path.slice(own) }));
}

/** How the folder of a row is walked again, for its options. No secret is in it. */
export function walkWords({ links, exclude }: Walk): TransferOptions {
  return { links, exclude: JSON.stringify(exclude) };
}

/**
 * The folder of a row, if nothing in it has changed: its list is the one that was sent.
 *
 * @throws JetError (exit 8) `source-changed`; the signal's reason
 */
export async function reopenTree(
  { path = '', name, options }: TransferRow,
  signal?: AbortSignal,
): Promise<Sendable> {
  const links = options['links'] === true;
  const exclude = JSON.parse(String(options['exclude'] ?? '[]')) as string[];
  const how = { path, name, links, exclude };
  const entries = await walkFolder(how, () => undefined, signal).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw changed(path, error);
  });
  const source = treeSource(how, entries, (_path, why) => {
    throw changed(path, why);
  });
  if (source.tree === undefined || treeWords(source.tree) !== options['tree']) throw changed(path);
  return source;
}

function changed(path: string, cause?: unknown): JetError {
  const message = `${path} is not the folder any more that it was when the transfer began: something in it was changed, or cannot be read. Send it again.`;
  return new JetError(Exit.localFile, 'source-changed', message, { cause });
}

/** The stream of a folder. A file that cannot be read is marked at the end, and does not stop the others. */
export function treeSource(
  walked: Walk,
  entries: readonly Walked[],
  broken: (path: string, why: string) => void,
): Sendable {
  const { bytes: list, head } = writeTree(entries);
  const files = entries.filter((entry): entry is WalkedFile => entry.kind === 'file');
  const states = Buffer.alloc(files.length, WHOLE);
  const segments = [
    memory(list),
    ...files.map((file, n) => ({
      size: file.size,
      read: (from: number, to: number) =>
        readFile(file, from, to, (error) => {
          states[n] = BROKEN;
          broken(file.source, messageOf(error));
        }),
    })),
    memory(states),
  ];
  const size = segments.reduce((sum, segment) => sum + segment.size, 0);
  const { name } = walked;
  return {
    ...{ name, size, mtime: new Date(entries[0]?.mtime ?? 0), tree: head, walked },
    async *read(offset, end) {
      let start = 0;
      for (const segment of segments) {
        const [from, to] = [Math.max(0, offset - start), Math.min(segment.size, end - start)];
        if (from < to) yield* segment.read(from, to);
        start += segment.size;
      }
    },
    close: () => Promise.resolve(),
  };
}

function memory(bytes: Buffer): {
  size: number;
  read(from: number, to: number): AsyncIterable<Buffer>;
} {
  return {
    size: bytes.length,
    async *read(from, to) {
      await Promise.resolve();
      // A copy: whoever takes a block may free it.
      yield Buffer.from(bytes.subarray(from, to));
    },
  };
}

/** Always as many bytes as the list says: what comes after them has its place. */
async function* readFile(
  { source: path, size, mtime }: WalkedFile,
  from: number,
  to: number,
  failed: (error: unknown) => void,
): AsyncGenerator<Buffer, void, undefined> {
  let at = from;
  try {
    const source = await FileSource.open(path);
    try {
      if (source.size !== size || Math.floor(source.mtime.getTime()) !== Math.floor(mtime))
        throw new JetError(Exit.localFile, 'source-changed', `${path} was changed. Send it again.`);
      for await (const block of source.read(from, to)) {
        at += block.length;
        yield block;
      }
    } finally {
      await source.close();
    }
  } catch (error) {
    failed(error);
  }
  for (; at < to; at += BLANK) yield Buffer.alloc(Math.min(BLANK, to - at));
}
