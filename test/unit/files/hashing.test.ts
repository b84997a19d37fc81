import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open, truncate, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import type { Reading } from '../../../src/files/aligned.ts';
import { differingRanges, Hasher } from '../../../src/files/hashing.ts';
import { settle } from '../../support/clock.ts';
import { testFolder } from '../../support/folder.ts';

const MIB = 1024 * 1024;

async function fileOf(bytes: Buffer, flags: number = constants.O_RDONLY): Promise<FileHandle> {
  const path = join(await testFolder(), 'a');
  await writeFile(path, bytes);
  const file = await open(path, flags);
  onTestFinished(() => file.close());
  return file;
}

const sha = (name: string, bytes: Buffer) => createHash(name).update(bytes).digest('hex');

test('hashes any region as node:crypto hashes its bytes, aligned or not, direct or not', async () => {
  const bytes = randomBytes(3 * MIB + 77);
  const hasher = new Hasher();
  for (const flags of [constants.O_RDONLY, constants.O_RDONLY | constants.O_DIRECT]) {
    const file = await fileOf(bytes, flags);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length), fc.nat(bytes.length), async (a, b) => {
        const [offset, end] = [Math.min(a, b), Math.max(a, b)];
        const seen: number[] = [];
        const region = { file, offset, end, onProgress: (n: number) => seen.push(n) };
        const hashes = await hasher.hash(region, ['sha-512', 'sha-256', 'sha-1']);
        const part = bytes.subarray(offset, end);
        expect(hashes.map(({ algorithm, digest }) => [algorithm, digest.toString('hex')])).toEqual([
          ['sha-512', sha('sha512', part)],
          ['sha-256', sha('sha256', part)],
          ['sha-1', sha('sha1', part)],
        ]);
        expect(seen.at(-1) ?? 0).toBe(part.length);
      }),
      {
        numRuns: 20,
        examples: [
          [0, bytes.length],
          [4096, 4096],
          [4095, 4097],
        ],
      },
    );
  }
});

test('block hashes name the ranges that differ', async () => {
  const hasher = new Hasher();
  const size = 100_001;
  const bytes = randomBytes(size);
  const file = await fileOf(bytes);
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1000, max: 150_000 }),
      fc.array(fc.nat(size - 1), { maxLength: 4 }),
      async (block, flips) => {
        const wrong = Buffer.from(bytes);
        for (const at of flips) wrong[at] = (bytes[at] ?? 0) ^ 1;
        const [mine, theirs] = await Promise.all([
          hasher.blocks({ file: await fileOf(wrong), offset: 0, end: size }, block),
          hasher.blocks({ file, offset: 0, end: size }, block),
        ]);
        expect(mine.length).toBe(Math.ceil(size / block));
        expect(mine[0]?.toString('hex')).toBe(sha('sha256', wrong.subarray(0, block)));
        const ranges = differingRanges(mine, theirs, size, block);
        const hit = new Set(flips.map((at) => Math.floor(at / block)));
        for (let i = 0; i * block < size; i++) {
          const within = ranges.some(
            ({ offset, length }) => offset <= i * block && i * block < offset + length,
          );
          expect(within).toBe(hit.has(i));
        }
        for (const { offset, length } of ranges) bytes.copy(wrong, offset, offset, offset + length);
        expect(wrong.equals(bytes)).toBe(true);
      },
    ),
    { numRuns: 20 },
  );
  expect(await hasher.blocks({ file, offset: 5, end: 5 })).toEqual([]);
  expect(() => hasher.blocks({ file, offset: 0, end: 5 }, 0)).toThrow(RangeError);
});

test('a list that lacks blocks differs there', () => {
  const hash = Buffer.alloc(32);
  expect(differingRanges([hash, hash], [hash], 25, 10)).toEqual([{ offset: 10, length: 15 }]);
  expect(differingRanges([], [], 25, 10)).toEqual([{ offset: 0, length: 25 }]);
});

/** A file whose reads wait until they are let go. */
function heldFile(size: number): { file: Reading; reads: () => number; go: () => void } {
  let go: () => void = () => undefined;
  let reads = 0;
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  const file: Reading = {
    async read(_buffer, _offset, length, position) {
      reads++;
      await gate;
      return { bytesRead: Math.min(length, size - position) };
    },
  };
  return { file, reads: () => reads, go: () => go() };
}

test('reads a few at once; the others wait, and may be called off', async () => {
  const hasher = new Hasher(2);
  const files = Array.from({ length: 4 }, () => heldFile(10));
  const abort = new AbortController();
  const hashes = files.map(({ file }, i) =>
    hasher.hash({ file, offset: 0, end: 10, ...(i === 2 ? { signal: abort.signal } : {}) }),
  );
  await settle();
  expect(files.map(({ reads }) => reads())).toEqual([1, 1, 0, 0]);
  abort.abort(new Error('called off'));
  await expect(hashes[2]).rejects.toThrow('called off');
  files[0]?.go();
  await hashes[0];
  await settle();
  expect(files.map(({ reads }) => reads())).toEqual([1, 1, 0, 1]);
  for (const { go } of files) go();
  await Promise.all([hashes[1], hashes[3]]);
  await expect(
    hasher.hash({ ...files[0], file: heldFile(1).file, offset: 0, end: 1, signal: abort.signal }),
  ).rejects.toThrow('called off');
});

test('an abort ends it between two blocks, a shorter file with an error; both free their turn', async () => {
  const bytes = randomBytes(5 * MIB);
  const hasher = new Hasher(1);
  const file = await fileOf(bytes);
  const abort = new AbortController();
  const onProgress = () => abort.abort(new Error('enough'));
  const region = { file, offset: 0, end: bytes.length };
  await expect(hasher.hash({ ...region, signal: abort.signal, onProgress })).rejects.toThrow(
    'enough',
  );
  const path = join(await testFolder(), 'b');
  await writeFile(path, bytes);
  await truncate(path, 3 * MIB + 5);
  const shorter = await open(path);
  onTestFinished(() => shorter.close());
  const refusal = { code: 'file-shortened', exit: 8 };
  await expect(hasher.hash({ ...region, file: shorter })).rejects.toMatchObject(refusal);
  const [hash] = await hasher.hash(region);
  expect(hash?.digest.toString('hex')).toBe(sha('sha256', bytes));
});
