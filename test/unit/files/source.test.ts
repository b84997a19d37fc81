import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFile,
  chmod,
  mkdir,
  readFile,
  rename,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { decodeSource, encodeSource, sameSource } from '../../../src/files/identity.ts';
import { FileSource } from '../../../src/files/source.ts';
import { isRoot, NOBODY, runChild } from '../../support/children.ts';
import { testFolder } from '../../support/folder.ts';

const SIZE = 5_000_000;

async function opened(size = SIZE): Promise<{ path: string; source: FileSource }> {
  const path = join(await testFolder(), 'source');
  await writeFile(path, randomBytes(size));
  const source = await FileSource.open(path);
  onTestFinished(() => source.close());
  return { path, source };
}

async function readAll(source: FileSource, offset?: number): Promise<Buffer> {
  const blocks: Buffer[] = [];
  for await (const block of source.read(offset)) blocks.push(Buffer.from(block));
  return Buffer.concat(blocks);
}

test.each([
  ['file-missing', (path: string) => Promise.resolve(path)],
  ['file-missing', (path: string) => writeFile(path, '').then(() => join(path, 'x'))],
  ['is-a-folder', (path: string) => mkdir(path).then(() => path)],
  [
    'not-a-file',
    (path: string) => {
      execFileSync('mkfifo', [path]);
      return Promise.resolve(path);
    },
  ],
  [
    'not-a-file',
    (path: string) =>
      new Promise<string>((resolve) => {
        const server = createServer().listen(path, () => resolve(path));
        onTestFinished(() => {
          server.close();
        });
      }),
  ],
  ['not-a-file', () => Promise.resolve('/dev/null')],
])('refuses with %s', async (code, make) => {
  const path = await make(join(await testFolder(), 'x'));
  await expect(FileSource.open(path)).rejects.toMatchObject({ code, exit: 8 });
});

test.skipIf(!isRoot)('refuses what this user may not read (needs root)', async () => {
  const folder = await testFolder();
  await chmod(folder, 0o755);
  await writeFile(join(folder, 'a'), 'secret', { mode: 0o600 });
  expect(await runChild(['read', join(folder, 'a')], NOBODY)).toBe('file-unreadable');
  await chmod(join(folder, 'a'), 0o644);
  expect(await runChild(['read', join(folder, 'a')], NOBODY)).toBe('read');
});

test('reads everything, from any offset', async () => {
  const { path, source } = await opened();
  const bytes = await readFile(path);
  for (const offset of [0, 1, 1_048_576, SIZE - 1, SIZE])
    expect((await readAll(source, offset)).equals(bytes.subarray(offset))).toBe(true);
  expect(await readAll((await opened(0)).source)).toHaveLength(0);
});

test.each([
  ['grows', (path: string) => appendFile(path, 'more')],
  ['shrinks', (path: string) => truncate(path, SIZE - 1)],
  ['shrinks to nothing', (path: string) => truncate(path, 0)],
  [
    'is replaced',
    (path: string) =>
      writeFile(`${path}-new`, randomBytes(SIZE)).then(() => rename(`${path}-new`, path)),
  ],
  ['is removed', (path: string) => unlink(path)],
  [
    'is rewritten with its old times',
    async (path: string) => {
      await writeFile(path, randomBytes(SIZE));
      await utimes(path, 1, 1);
    },
  ],
])('a file that %s while it is read is an error', async (_, change) => {
  const { path, source } = await opened();
  const reading = async () => {
    let blocks = 0;
    for await (const block of source.read()) {
      expect(block.length).toBeGreaterThan(0);
      if (blocks++ === 0) await change(path);
    }
  };
  await expect(reading()).rejects.toMatchObject({ code: 'source-changed', exit: 8 });
});

test('a file that changed between opening and reading is an error', async () => {
  const { path, source } = await opened(10);
  await appendFile(path, 'x');
  await expect(source.check()).rejects.toMatchObject({ code: 'source-changed' });
  await expect(readAll(source)).rejects.toMatchObject({ code: 'source-changed' });
  await source.close();
  await source.close();
});

test('reads any range, and none that the file has not', async () => {
  const { path, source } = await opened();
  const bytes = await readFile(path);
  for (const [from, end] of [
    [0, 0],
    [7, 8],
    [1_048_575, 3_145_729],
    [SIZE, SIZE],
    [SIZE - 1, SIZE],
  ] as const) {
    const blocks: Buffer[] = [];
    for await (const block of source.read(from, end)) blocks.push(Buffer.from(block));
    expect(Buffer.concat(blocks).equals(bytes.subarray(from, end))).toBe(true);
  }
  for (const [from, end] of [
    [-1, 5],
    [6, 5],
    [0, SIZE + 1],
    [NaN, 5],
  ] as const)
    await expect(source.read(from, end).next()).rejects.toThrow(RangeError);
});

test('a range ends with a look at the whole file', async () => {
  const { path, source } = await opened();
  const blocks = source.read(0, 10);
  await blocks.next();
  await appendFile(path, 'x');
  await expect(blocks.next()).rejects.toMatchObject({ code: 'source-changed', exit: 8 });
});

test.each(['dev', 'ino', 'size', 'mtimeNs', 'ctimeNs'])(
  'a file of another %s is another one',
  (field) => {
    const one = { dev: 1n, ino: 2n, size: 3n, mtimeNs: 4n, ctimeNs: 5n };
    expect(sameSource(one, { ...one })).toBe(true);
    expect(sameSource(one, { ...one, [field]: 6n })).toBe(false);
  },
);

test('a file is opened again only as what it was', async () => {
  const { path, source } = await opened(10);
  const expected = decodeSource(encodeSource(source.identity));
  expect(expected).toEqual(source.identity);
  await (await FileSource.open(path, expected)).close();
  await utimes(path, 1, 1);
  const refusal = { code: 'source-changed', exit: 8 };
  await expect(FileSource.open(path, expected)).rejects.toMatchObject(refusal);
  for (const text of ['', '1 2 3 4', '1 2 3 4 x', '1 2 3 4 5 6', ' 1 2 3 4'])
    expect(decodeSource(text)).toBeUndefined();
});
