/** What was named to `jet send`, before anything is offered. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { splitSend } from '../../../src/cli/arguments.ts';
import { gather, inBatches } from '../../../src/transfer/items.ts';
import { batchSource } from '../../../src/transfer/tree/tree-source.ts';
import { testFolder } from '../../support/folder.ts';

const quiet = {
  ...{ links: false, exclude: [], skipped: () => undefined, kept: () => undefined },
  signal: new AbortController().signal,
};

test('a text is the last item, of a known size, and is read as often as it is offered', async () => {
  const folder = await testFolder();
  const path = join(folder, 'a');
  await writeFile(path, 'x');
  const { items } = await gather([path], { ...quiet, text: 'Größe' });
  expect(items.map(({ label }) => label)).toEqual(['a', 'text.txt']);
  for (let offered = 0; offered < 2; offered++) {
    const source = await items[1]?.open();
    if (source === undefined) throw new Error('no text');
    // Nothing of it lies where a later process could read it.
    expect([source.name, source.size, source.origin]).toEqual(['text.txt', 7, undefined]);
    for (const [from, to] of [
      [0, 7],
      [5, 7],
    ] as const) {
      const blocks: Buffer[] = [];
      for await (const block of source.read(from, to)) {
        blocks.push(Buffer.from(block));
        // Whoever takes a block may encrypt it where it lies.
        block.fill(0);
      }
      expect(Buffer.concat(blocks)).toEqual(Buffer.from('Größe').subarray(from, to));
    }
    await source.close();
  }
});

test.each([
  ['', undefined, 'text.txt', 0],
  ['note', 'n.md', 'n.md', 4],
])('the text %j named %s is %s of %d bytes', async (text, name, expected, size) => {
  const { items } = await gather([], { ...quiet, text, ...(name !== undefined && { name }) });
  const source = await items[0]?.open();
  expect([source?.name, source?.size]).toEqual([expected, size]);
  for await (const block of source?.read(0, size) ?? []) expect(block.length).toBe(size);
});

test('a text needs a recipient and no file', () => {
  const there = (path: string) => path === 'f';
  expect(splitSend(['bob@x'], undefined, there, true).files).toEqual([]);
  expect(splitSend([], 'bob@x', there, true).files).toEqual([]);
  expect(splitSend(['f', 'bob@x'], undefined, there, true).files).toEqual(['f']);
  expect(() => splitSend([], undefined, there, true)).toThrow('jet send --text TEXT JID');
  expect(() => splitSend(['f'], undefined, there, true)).toThrow('No recipient given');
  expect(() => splitSend(['bob@x', 'f'], undefined, there, true)).toThrow('Files come first');
});

test('what is no file for a reason of its own is refused with it, and keeps nothing else away', async () => {
  const folder = await testFolder();
  const path = join(folder, 'a');
  await writeFile(path, 'x');
  const { items, refused } = await gather([join(path, 'inside'), path], quiet);
  expect(items).toHaveLength(1);
  expect(refused.map(({ error }) => error)).toMatchObject([{ code: 'file-missing', exit: 8 }]);
});

async function made(sizes: readonly number[]): Promise<string[]> {
  const folder = await testFolder();
  const paths = sizes.map((_, n) => join(folder, `f${n}`));
  for (const [n, path] of paths.entries()) await writeFile(path, Buffer.alloc(sizes[n] ?? 0, n));
  return paths;
}

test.each([
  [7, 0, ['f0', 'f1', 'f2', 'f3', 'f4', 'f5', 'f6']],
  [8, 0, ['f0 and 7 more']],
  [7, 1, ['f0', 'f1', 'f2', 'f3', 'f4', 'f5', 'f6', 'f7']],
  [9, 1, ['f0 and 8 more', 'f9']],
])('of %d small files and %d large ones those share a content that are many', async (...row) => {
  const [small, large, labels] = row;
  const most = 1024 * 1024;
  const sizes = [...Array<number>(small).fill(most), ...Array<number>(large).fill(most + 1)];
  const { items } = await gather(await made(sizes), quiet);
  const batched = inBatches(items);
  expect(batched.map(({ label }) => label)).toEqual(labels);
  expect(batched.reduce((sum, { count = 1 }) => sum + count, 0)).toBe(small + large);
});

test('of a batch what is gone, or was changed, is marked and told, and keeps its place', async () => {
  const [first = '', second = '', third = ''] = await made([3, 4, 5]);
  const { items } = await gather([first, second, third], quiet);
  const source = batchSource(items.flatMap(({ file }) => file ?? []));
  await rm(first);
  await writeFile(second, 'longer than it was');
  const blocks: Buffer[] = [];
  for await (const block of source.read(source.tree?.list ?? 0, source.size))
    blocks.push(Buffer.from(block));
  const bytes = Buffer.concat(blocks);
  expect(bytes).toHaveLength(3 + 4 + 5 + 3);
  expect(bytes.subarray(7, 12)).toEqual(Buffer.alloc(5, 2));
  expect(bytes.subarray(12).toString()).toBe('001');
  expect(source.unread).toEqual([first, second]);
});
