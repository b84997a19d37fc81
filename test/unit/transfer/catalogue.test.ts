import { createHash, randomBytes } from 'node:crypto';
import {
  appendFileSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Hasher, type Region } from '../../../src/files/hashing.ts';
import type { Algorithm, Hash } from '../../../src/jingle/hashes.ts';
import { openStore, type Store } from '../../../src/store/store.ts';
import { Catalogue, catalogueSchema, type Shared } from '../../../src/transfer/catalogue.ts';
import { FakeClock } from '../../support/clock.ts';
import { testFolder } from '../../support/folder.ts';

/** Counts what is read. */
class CountingHasher extends Hasher {
  readonly regions: Region[] = [];

  override hash(region: Region, algorithms?: readonly Algorithm[]): Promise<Hash[]> {
    this.regions.push(region);
    return super.hash(region, algorithms);
  }
}

interface World {
  readonly folder: string;
  readonly store: Store;
  readonly clock: FakeClock;
  readonly refused: string[];
  /** A catalogue as a new process has it. */
  readonly start: () => { catalogue: Catalogue; hasher: CountingHasher };
  readonly add: (catalogue: Catalogue, ...names: string[]) => Promise<void>;
}

async function world(): Promise<World> {
  const folder = await testFolder();
  const store = openStore(join(folder, 'jet.db'), [catalogueSchema]);
  onTestFinished(() => store.close());
  // The files of a test are older than any that may still change within one tick.
  const clock = new FakeClock(Date.now() + 60_000);
  const refused: string[] = [];
  return {
    folder,
    store,
    clock,
    refused,
    start() {
      const hasher = new CountingHasher();
      return { catalogue: new Catalogue(store, clock, hasher), hasher };
    },
    add: (catalogue, ...names) =>
      catalogue.add([names.map((name) => ({ path: join(folder, name), name }))], {
        refused: (path, error) => refused.push(`${path}: ${error.message}`),
      }),
  };
}

const hashOf = (algorithm: Algorithm, bytes: Buffer): Hash => ({
  algorithm,
  digest: createHash(algorithm.replace('-', '')).update(bytes).digest(),
});

test('finds a file by each of its hashes and by its name', async () => {
  const { folder, start, add } = await world();
  const bytes = randomBytes(20_000);
  writeFileSync(join(folder, 'a'), bytes);
  writeFileSync(join(folder, 'b'), '');
  const { catalogue } = start();
  await add(catalogue, 'a', 'b');
  for (const algorithm of ['sha-256', 'sha-512', 'sha-1'] as const)
    expect(catalogue.find(hashOf(algorithm, bytes))?.name).toBe('a');
  expect(catalogue.find(hashOf('sha-256', Buffer.alloc(0)))?.name).toBe('b');
  expect(catalogue.find(hashOf('sha-256', Buffer.from('x')))).toBeUndefined();
  expect(catalogue.named('a').map(({ path }) => path)).toEqual([join(folder, 'a')]);
  expect(catalogue.named('c')).toEqual([]);
  expect([...catalogue.entries()].map(({ name }) => name).sort()).toEqual(['a', 'b']);
});

test('reads a file again only when something of it differs', async () => {
  const { folder, start, add } = await world();
  const path = join(folder, 'a');
  const other = join(folder, 'other');
  writeFileSync(path, 'abc');
  const again = async (): Promise<number> => {
    const { catalogue, hasher } = start();
    await add(catalogue, 'a');
    expect(catalogue.size).toBe(1);
    return hasher.regions.length;
  };
  expect(await again()).toBe(1);
  expect(await again()).toBe(0);
  const { mtime } = statSync(path);
  const changes = [
    () => appendFileSync(path, 'd'),
    // The size stays; so would the time of change of the content, but for ctime.
    () => {
      writeFileSync(path, 'wxyz');
      utimesSync(path, mtime, mtime);
    },
    () => utimesSync(path, 1, 1),
    () => {
      writeFileSync(other, 'wxyz');
      renameSync(other, path);
    },
  ];
  for (const change of changes) {
    change();
    expect(await again()).toBe(1);
    expect(await again()).toBe(0);
  }
  const { catalogue } = start();
  await add(catalogue, 'a');
  expect(catalogue.find(hashOf('sha-256', Buffer.from('wxyz')))).toBeDefined();
});

test('a file that changed a moment ago is not cached: it may change again within the tick', async () => {
  const { folder, store, refused } = await world();
  writeFileSync(join(folder, 'a'), 'abc');
  const catalogue = new Catalogue(store, new FakeClock(Date.now()), new Hasher());
  const files = [{ path: join(folder, 'a'), name: 'a' }];
  await catalogue.add([files], { refused: (path) => refused.push(path) });
  expect(catalogue.size).toBe(1);
  expect(store.all('SELECT * FROM file_hash')).toEqual([]);
});

test('a file that changed since is not opened, and no longer shared', async () => {
  const { folder, start, add } = await world();
  writeFileSync(join(folder, 'a'), 'abc');
  const { catalogue } = start();
  await add(catalogue, 'a');
  const hash = hashOf('sha-256', Buffer.from('abc'));
  const entry = catalogue.find(hash);
  if (entry === undefined) throw new Error('not there');
  await (await catalogue.open(entry)).close();
  appendFileSync(join(folder, 'a'), 'd');
  await expect(catalogue.open(entry)).rejects.toMatchObject({ code: 'source-changed', exit: 8 });
  expect([catalogue.find(hash), catalogue.named('a'), catalogue.size]).toEqual([undefined, [], 0]);
  await add(catalogue, 'a');
  expect(catalogue.find(hashOf('sha-256', Buffer.from('abcd')))?.name).toBe('a');
});

test('files of the same content or name stand for one another', async () => {
  const { folder, start, add } = await world();
  const { catalogue } = start();
  for (const name of ['a', 'b', 'c']) writeFileSync(join(folder, name), 'same');
  await add(catalogue, 'a', 'b', 'c');
  const hash = hashOf('sha-512', Buffer.from('same'));
  for (let left = 3; left > 0; left--) {
    const entry = catalogue.find(hash);
    expect(entry).toBeDefined();
    catalogue.remove(entry?.path ?? '');
    catalogue.remove(entry?.path ?? '');
    expect(catalogue.size).toBe(left - 1);
  }
  expect(catalogue.find(hash)).toBeUndefined();
});

test('what cannot be shared is told, and stops nothing', async () => {
  const { folder, start, add, refused } = await world();
  writeFileSync(join(folder, 'a'), 'abc');
  mkdirSync(join(folder, 'sub'));
  const { catalogue } = start();
  await add(catalogue, 'gone', 'sub', 'a');
  expect(catalogue.size).toBe(1);
  expect(refused).toEqual([
    expect.stringContaining('gone does not exist'),
    expect.stringContaining('sub is a folder'),
  ]);
});

test('an abort keeps what was hashed, and progress only grows', async () => {
  const { folder, store, start, refused } = await world();
  const files: Shared[] = ['a', 'b', 'c'].map((name) => ({ path: join(folder, name), name }));
  for (const { path, name } of files)
    writeFileSync(path, randomBytes(name === 'c' ? 20_000_000 : 3));
  const abort = new AbortController();
  const seen: number[] = [];
  const { catalogue } = start();
  const adding = catalogue.add([files], {
    refused: (path) => refused.push(path),
    signal: abort.signal,
    onProgress(bytes) {
      seen.push(bytes);
      if (catalogue.size > 0) abort.abort(new Error('enough'));
    },
  });
  await expect(adding).rejects.toThrow('enough');
  expect(store.all('SELECT ino FROM file_hash').length).toBe(catalogue.size);
  expect([1, 2]).toContain(catalogue.size);
  const next = start();
  await next.catalogue.add([files], {
    refused: (path) => refused.push(path),
    onProgress: (bytes) => seen.push(-bytes),
  });
  expect(seen.at(-1)).toBe(catalogue.size === 2 ? -20_000_000 : -20_000_003);
  const first = seen.filter((n) => n > 0);
  expect(first).toEqual([...first].sort((a, b) => a - b));
  expect(refused).toEqual([]);
});

test('what nobody shared for long is forgotten, what is shared is not', async () => {
  const { folder, store, start, add, clock } = await world();
  for (const name of ['a', 'b']) writeFileSync(join(folder, name), name);
  await add(start().catalogue, 'a', 'b');
  const month = 30 * 24 * 3600 * 1000;
  for (let i = 0; i < 7; i++) {
    await clock.advance(month);
    await add(start().catalogue, 'a');
  }
  expect(store.all('SELECT sha256 FROM file_hash')).toEqual([
    { sha256: createHash('sha256').update('a').digest() },
  ]);
});

test('many files are found by each of their hashes from the cache, and are what they were', async () => {
  const { folder, start, add } = await world();
  const names = Array.from({ length: 2_100 }, (_, i) => `f${String(i)}`);
  for (const name of names) writeFileSync(join(folder, name), name);
  await add(start().catalogue, ...names);
  // Every second one is another file by now, and the order is another.
  for (const name of names.filter((_, i) => i % 2 === 1))
    writeFileSync(join(folder, name), `${name}!`);
  const { catalogue, hasher } = start();
  await add(catalogue, ...names.reverse());
  expect([catalogue.size, hasher.regions.length]).toEqual([2_100, 1_050]);
  for (const name of names) {
    const path = join(folder, name);
    for (const algorithm of ['sha-256', 'sha-512', 'sha-1'] as const) {
      const entry = catalogue.find(hashOf(algorithm, readFileSync(path)));
      expect(entry?.path).toBe(path);
      const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
      expect(entry?.identity).toEqual({ dev, ino, size, mtimeNs, ctimeNs });
    }
  }
});

test('times before 1970 and numbers with the highest bit are kept', async () => {
  const { folder, store, clock, start, refused } = await world();
  const path = join(folder, 'a');
  writeFileSync(path, 'abc');
  await start().catalogue.add([[{ path, name: 'a' }]], { refused: (of) => refused.push(of) });
  const [dev, ino] = [2n ** 64n - 1n, 2n ** 63n];
  const identity = { dev, ino, size: 3n, mtimeNs: -5n, ctimeNs: -(2n ** 60n) };
  const { dev: d, ino: i, size, mtimeNs, ctimeNs } = identity;
  store.run(
    'UPDATE file_hash SET dev = ?, ino = ?, size = ?, mtime = ?, ctime = ?',
    ...[String(d), String(i), Number(size), String(mtimeNs), String(ctimeNs)],
  );
  const catalogue = new Catalogue(store, clock, new Hasher());
  const options = { refused: (of: string) => refused.push(of) };
  await catalogue.add([[{ path, name: 'a', identity }]], options);
  expect([...catalogue.entries()].map((entry) => entry.identity)).toEqual([identity]);
  expect(refused).toEqual([]);
});

test('a twenty thousand entries start from the cache, without a read', async () => {
  const { folder, store, clock, start, refused } = await world();
  // Names of a few files: what is shown is the catalogue, not the making of files.
  const options = { refused: (path: string) => refused.push(path) };
  for (let i = 0; i < 4; i++) {
    writeFileSync(join(folder, `of ${String(i)}`), `content ${String(i)}`);
    mkdirSync(join(folder, String(i)));
    for (let n = 0; n < 5_000; n++)
      linkSync(join(folder, `of ${String(i)}`), join(folder, String(i), String(n)));
  }
  const shared = Array.from({ length: 20_000 }, (_, i) => ({
    path: join(folder, String(i % 4), String(Math.floor(i / 4))),
    name: `n${String(i)}`,
  }));
  const { catalogue, hasher } = start();
  await catalogue.add([shared.slice(0, 4)], options);
  expect(hasher.regions.length).toBe(4);
  const many = new Catalogue(store, clock, hasher);
  await many.add([shared], options);
  expect([many.size, refused.length, hasher.regions.length]).toEqual([20_000, 0, 4]);
  expect(many.named('n17777')[0]?.path).toBe(shared[17_777]?.path);
  expect(many.find(hashOf('sha-1', Buffer.from('content 2')))?.name).toBe('n2');
});
