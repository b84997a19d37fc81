/** A folder as a stream, for tests of what is received of it. */
import { createHash, randomBytes } from 'node:crypto';
import { decodePart, encodePart } from '../../src/files/identity.ts';
import type { Checkpoint } from '../../src/files/landing.ts';
import { LARGE } from '../../src/files/runs.ts';
import type { TreeEntry } from '../../src/files/walk.ts';
import { writeTree } from '../../src/transfer/tree/tree-list.ts';
import { TreeLanding, type TreePlan } from '../../src/transfer/tree/tree-target.ts';
import { testFolder } from './folder.ts';

/** Of every file. */
export const about = { mode: 0o644, mtime: 1_600_000_000_000 };
const dir = (path: string): TreeEntry => ({ kind: 'folder', path, ...about, mode: 0o755 });

/** A folder, its stream, and where everything begins in that. */
export interface Sample {
  readonly plan: TreePlan;
  readonly stream: Buffer;
  readonly files: ReadonlyMap<string, Buffer>;
  readonly starts: ReadonlyMap<string, number>;
}

/** Small and large files in turn; the last large one goes past the page cache where it can. */
export const SIZES: readonly (readonly [string, number])[] = [
  ['x/none', 0],
  ['x/a', 10],
  ['x/b', LARGE],
  ['x/c', LARGE + 1],
  ['x/in/d', LARGE - 1],
  ['x/in/e', 5],
  ['x/in/f', 4 * 1024 * 1024 + 17],
  ['x/in/g', 7],
];

/** @param more - entries without bytes */
export async function sample(
  sizes = SIZES,
  more: readonly TreeEntry[] = [],
  plan: Partial<TreePlan> = {},
): Promise<Sample> {
  const files = new Map(sizes.map(([path, size]) => [path, randomBytes(size)]));
  const entries = [
    dir('x'),
    dir('x/in'),
    dir('x/empty'),
    ...sizes.map(([path, size]): TreeEntry => ({ kind: 'file', path, size, ...about })),
    ...more,
  ];
  const { bytes, head } = writeTree(entries);
  const states = Buffer.alloc(head.files, '1');
  const stream = Buffer.concat([bytes, ...files.values(), states]);
  const starts = new Map<string, number>();
  let at = bytes.length;
  for (const [path, content] of files) {
    starts.set(path, at);
    at += content.length;
  }
  const out = await testFolder();
  const base = { out, name: 'x', size: stream.length, head, onConflict: 'rename' as const };
  const skipped = () => undefined;
  return { plan: { ...base, again: false, skipped, ...plan }, stream, files, starts };
}

/** Gives it the bytes in pieces that end anywhere. */
export async function write(landing: TreeLanding, bytes: Buffer, piece = 100_003): Promise<void> {
  for (let at = 0; at < bytes.length; at += piece)
    await landing.write(Buffer.from(bytes.subarray(at, at + piece)));
}

/** As the next process finds it. */
export function resume(
  { plan }: Sample,
  part: string,
  { written, identity }: Checkpoint,
  again = false,
) {
  const expected = decodePart(encodePart(identity));
  if (expected === undefined) throw new Error('unreadable identity');
  return TreeLanding.resume({ ...plan, again }, { part, offset: written, expected });
}

/** SHA-256 in hex. */
export const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
