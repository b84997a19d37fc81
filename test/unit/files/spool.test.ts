import { createHash, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { spool } from '../../../src/files/spool.ts';
import { settle } from '../../support/clock.ts';
import { startChild } from '../../support/children.ts';
import { testFolder } from '../../support/folder.ts';
import { canMount, mount } from '../../support/mounts.ts';

const MIB = 1024 * 1024;

test('knows size and hash after, gives any range, and has no name', async () => {
  const folder = await testFolder();
  for (const size of [0, 1, 3 * MIB + 5]) {
    const bytes = randomBytes(size);
    const seen: number[] = [];
    const input = Readable.from([bytes.subarray(0, 1), bytes.subarray(1)]);
    const onProgress = (n: number) => seen.push(n);
    const { source, sha256 } = await spool(input, { name: 'n.txt', folder, onProgress });
    expect(readdirSync(folder)).toEqual([]);
    expect([source.name, source.size, seen.at(-1)]).toEqual(['n.txt', size, size]);
    expect(sha256.equals(createHash('sha256').update(bytes).digest())).toBe(true);
    const blocks: Buffer[] = [];
    for await (const block of source.read(Math.min(1, size))) blocks.push(Buffer.from(block));
    expect(Buffer.concat(blocks).equals(bytes.subarray(1))).toBe(true);
    await source.close();
  }
});

test('nobody else may read it while it has a name', async () => {
  const folder = await testFolder();
  const child = startChild(['spool', folder]);
  await child.said('600 0');
  child.process.kill('SIGKILL');
  await child.ended;
  expect(readdirSync(folder)).toEqual([]);
});

test('an input that fails, or that nobody waits for any more, leaves nothing', async () => {
  const folder = await testFolder();
  let onProgress: (bytes: number) => void = () => undefined;
  const broken = new PassThrough();
  const took = new Promise((resolve) => (onProgress = resolve));
  const failing = spool(broken, { name: 'n', folder, onProgress: (n) => onProgress(n) });
  broken.write('abc');
  await took;
  broken.destroy(new Error('gone'));
  await expect(failing).rejects.toMatchObject({ code: 'input-failed', exit: 8 });
  const silent = new PassThrough();
  const abort = new AbortController();
  const waiting = spool(silent, { name: 'n', folder, signal: abort.signal });
  silent.write('abc');
  await settle();
  abort.abort(new Error('called off'));
  await expect(waiting).rejects.toThrow('called off');
  await expect(spool(silent, { name: 'n', folder, signal: abort.signal })).rejects.toThrow(
    'called off',
  );
  const nowhere = { name: 'n', folder: join(folder, 'none') };
  await expect(spool(Readable.from([]), nowhere)).rejects.toMatchObject({ code: 'folder-missing' });
  expect(readdirSync(folder)).toEqual([]);
});

test.skipIf(!canMount('tmpfs'))('a disk is not filled to its end (needs mount)', async () => {
  const folder = mount('tmpfs', 'size=40m');
  async function* endless() {
    for (;;) yield await Promise.resolve(Buffer.alloc(MIB, 1));
  }
  let most = 0;
  const onProgress = (n: number) => (most = n);
  const refusal = { code: 'disk-full', exit: 8 };
  await expect(spool(endless(), { name: 'n', folder, onProgress })).rejects.toMatchObject(refusal);
  expect(most).toBeGreaterThan(10 * MIB);
  expect(most).toBeLessThan(40 * MIB);
  expect(readdirSync(folder)).toEqual([]);
});
