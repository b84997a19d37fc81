/** A folder to send, as one stream: the list, the files in its order, and what became of each. */
import { Exit, JetError, messageOf } from '../core/errors.ts';
import { FileSource } from '../files/source.ts';
import type { Walked } from '../files/walk.ts';
import type { Sendable } from './send.ts';
import { BROKEN, WHOLE, writeTree } from './tree-list.ts';

/** Bytes of zeros at once in place of what could not be read. */
const BLANK = 1024 * 1024;

type WalkedFile = Walked & { readonly kind: 'file' };

/** The stream of a folder. A file that cannot be read is marked at the end, and does not stop the others. */
export function treeSource(
  name: string,
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
  return {
    ...{ name, size, mtime: new Date(entries[0]?.mtime ?? 0), tree: head },
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
