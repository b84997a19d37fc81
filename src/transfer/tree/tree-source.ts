/** A folder or a batch of files to send, as one stream: the list, the files in its order, and what became of each. */
import { realpathSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { Exit, JetError } from '../../core/errors.ts';
import { blanks } from '../../files/blocks.ts';
import { FileSource } from '../../files/source.ts';
import { walk, type Walked, type WalkOptions } from '../../files/walk.ts';
import type { TransferOptions, TransferRow } from '../journal/journal-row.ts';
import type { Sendable } from '../send.ts';
import { BROKEN, headOf, treeWords, WHOLE, writeTree } from './tree-list.ts';

/** How a folder was walked, so that it can be walked in the same way again. */
export interface Walk {
  /** Absolute path of the folder; may be that of a link to one. Of a batch that of its first file. */
  readonly path: string;
  /** What the other side calls it, or the first file of a batch. */
  readonly name: string;
  readonly links: boolean;
  readonly exclude: readonly string[];
  /** Absolute paths of the files of a batch. */
  readonly files?: readonly string[];
}

/** A file, and where it lies here. */
export type WalkedFile = Walked & { readonly kind: 'file' };

/** What is in a folder. */
export interface WalkedFolder {
  readonly entries: readonly Walked[];
  /** Paths of what may not be read, or cannot: nobody can know what is in these. */
  readonly unread: readonly string[];
}

/**
 * Everything in a folder, under the name that it is sent by.
 *
 * @throws JetError: exit 8 as `walk`, exit 2 for a pattern that is none; the signal's reason
 */
export async function walkFolder(
  { path, name, links, exclude }: Walk,
  skipped: WalkOptions['skipped'],
  signal?: AbortSignal,
): Promise<WalkedFolder> {
  const entries: Walked[] = [];
  const missed: string[] = [];
  const unread = (source: string, why: string) => {
    missed.push(source);
    skipped(source, why);
  };
  // A link that was named is what the user means.
  for await (const slice of walk(realpathSync(path), { links, exclude, skipped, unread })) {
    signal?.throwIfAborted();
    entries.push(...slice);
  }
  const own = entries[0]?.path.length ?? 0;
  const named = entries.map((entry) => ({ ...entry, path: name + entry.path.slice(own) }));
  return { entries: named, unread: missed };
}

/** A file that was named, as one of a batch. */
export function walkedFile({ path, size, mode, mtime }: FileSource): WalkedFile {
  const source = resolve(path);
  return { kind: 'file', path: basename(source), source, size, mode, mtime: mtime.getTime() };
}

/** Files that share one content as if they lay in a folder. There is at least one. */
export function batchSource(files: readonly WalkedFile[]): Sendable {
  const [first] = files;
  if (first === undefined) throw new Error('a batch of no files');
  const { path: name, source: path } = first;
  const paths = files.map(({ source }) => source);
  const walk = { path, name, links: false, exclude: [], files: paths };
  return treeSource(walk, { entries: files, unread: [] });
}

/** How the folder of a row is walked again, for its options. No secret is in it. */
export function walkWords({ links, exclude, files }: Walk): TransferOptions {
  if (files !== undefined) return { batch: JSON.stringify(files) };
  return { links, exclude: JSON.stringify(exclude) };
}

/**
 * The folder or the batch of a row, if nothing in it has changed: its list is the one that was sent. What of it cannot be read is
 * told by `unread` of the source, as the first time.
 *
 * @throws JetError (exit 8) `source-changed`; the signal's reason
 */
export async function reopenTree(row: TransferRow, signal?: AbortSignal): Promise<Sendable> {
  const { path = '', name, options } = row;
  if (headOf(row)?.batch === true) return reopenBatch(row, signal);
  const links = options['links'] === true;
  const exclude = JSON.parse(String(options['exclude'] ?? '[]')) as string[];
  const how = { path, name, links, exclude };
  const folder = await walkFolder(how, () => undefined, signal).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw changed(path, error);
  });
  const source = treeSource(how, folder);
  if (source.tree === undefined || treeWords(source.tree) !== options['tree']) throw changed(path);
  return source;
}

async function reopenBatch(
  { name, options }: TransferRow,
  signal: AbortSignal | undefined,
): Promise<Sendable> {
  const paths = JSON.parse(String(options['batch'] ?? '[]')) as string[];
  const files: WalkedFile[] = [];
  for (const path of paths) {
    signal?.throwIfAborted();
    const source = await FileSource.open(path);
    files.push(walkedFile(source));
    await source.close();
  }
  const source = batchSource(files);
  if (source.tree !== undefined && treeWords(source.tree) === options['tree']) return source;
  const message = `${name} and the files that were sent with it are not what they were when the transfer began. Send them again.`;
  throw new JetError(Exit.localFile, 'source-changed', message);
}

function changed(path: string, cause?: unknown): JetError {
  const message = `${path} is not the folder any more that it was when the transfer began: something in it was changed. Send it again.`;
  return new JetError(Exit.localFile, 'source-changed', message, { cause });
}

/**
 * The stream of a folder. A file that cannot be read is marked at the end, and does not stop the others.
 *
 * @remarks Read more than once it is the same stream: one that could not be read stays so, and one that could, and
 * cannot any more, is an error (exit 8, `source-changed`).
 */
export function treeSource(walked: Walk, { entries, unread: missed }: WalkedFolder): Sendable {
  const { bytes: list, head } = writeTree(entries, walked.files !== undefined);
  const files = entries.filter((entry): entry is WalkedFile => entry.kind === 'file');
  const states = Buffer.alloc(files.length, WHOLE);
  const unread = [...missed];
  const segments = [
    memory(list),
    ...files.map((file, n) => {
      let read = false;
      return {
        size: file.size,
        async *read(from: number, to: number) {
          if (states[n] === BROKEN) return yield* blanks(to - from);
          yield* readFile(file, from, to, (error) => {
            if (read) throw changed(file.source, error);
            states[n] = BROKEN;
            unread.push(file.source);
          });
          read = to === file.size && states[n] === WHOLE;
        },
      };
    }),
    memory(states),
  ];
  const size = segments.reduce((sum, segment) => sum + segment.size, 0);
  const { name } = walked;
  return {
    ...{ name, size, mtime: new Date(entries[0]?.mtime ?? 0), tree: head, walked, entries, unread },
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
  yield* blanks(to - at);
}
