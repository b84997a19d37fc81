import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import Database from 'libsql';
import { expect, onTestFinished, test } from 'vitest';
import { openStore, type Store } from '../../../src/store/store.ts';
import { testFolder } from '../../support/folder.ts';

const SCHEMA = { name: 'test', steps: ['CREATE TABLE note (text TEXT NOT NULL)'] };
const WRITE = `INSERT INTO note VALUES ('a')`;

interface World {
  readonly store: Store;
  /** How often something waited for the disk since it was asked last. */
  readonly waits: () => number;
  /** What happens at the disk. */
  readonly disk: { sync: (fd: number) => void };
}

async function world(): Promise<World> {
  const store = openStore(join(await testFolder(), 'jet.db'), [SCHEMA]);
  const { fdatasyncSync } = fs;
  const disk = { sync: fdatasyncSync };
  let count = 0;
  fs.fdatasyncSync = (fd) => {
    count += 1;
    disk.sync(fd);
  };
  syncBuiltinESMExports();
  onTestFinished(() => {
    fs.fdatasyncSync = fdatasyncSync;
    syncBuiltinESMExports();
    store.close();
  });
  const waits = () => {
    const seen = count;
    count = 0;
    return seen;
  };
  return { store, waits, disk };
}

test('what is to last waits for the disk, once, and only where something changed', async () => {
  const { store, waits } = await world();
  store.run(WRITE);
  expect(waits()).toBe(1);
  store.transaction(() => {
    store.run(WRITE);
    store.transaction(() => store.run(WRITE));
    expect(waits()).toBe(0);
  });
  expect(waits()).toBe(1);
  store.get(`${WRITE} RETURNING text`);
  expect(waits()).toBe(1);
  store.all(`${WRITE} RETURNING text`);
  expect(waits()).toBe(1);
  store.transaction(() => store.get(`${WRITE} RETURNING text`));
  expect(waits()).toBe(1);
  store.get('SELECT * FROM note');
  store.run(`DELETE FROM note WHERE text = 'b'`);
  store.transaction(() => store.run(`DELETE FROM note WHERE text = 'b'`));
  const failing = () =>
    store.transaction(() => {
      store.run(WRITE);
      throw new Error('no');
    });
  expect(failing).toThrow('no');
  expect(waits()).toBe(0);
  expect(store.all('SELECT * FROM note').length).toBe(6);
});

test('who waits for the disk keeps nobody from writing, and waits for the log that is written', async () => {
  const { store, waits, disk } = await world();
  const other = new Database(store.file, { timeout: 0 });
  onTestFinished(() => {
    other.close();
  });
  const { sync } = disk;
  disk.sync = (fd) => {
    expect(other.prepare('SELECT count(*) AS n FROM note').get([])).toMatchObject({ n: 1 });
    other.exec('BEGIN IMMEDIATE; ROLLBACK');
    expect(fs.fstatSync(fd).ino).toBe(fs.statSync(`${store.file}-wal`).ino);
    sync(fd);
  };
  store.transaction(() => store.run(WRITE));
  expect(waits()).toBe(1);
});

test('a disk that fails is told', async () => {
  const { store, disk } = await world();
  disk.sync = () => {
    throw new Error('EIO');
  };
  expect(() => store.transaction(() => store.run(WRITE))).toThrow('EIO');
  expect(() => store.run(WRITE)).toThrow('EIO');
});

test('only what is done lightly does not wait for the disk, and others see it at once all the same', async () => {
  const { store, waits } = await world();
  const other = openStore(store.file, [SCHEMA]);
  onTestFinished(() => {
    other.close();
  });
  store.lightly(() => {
    store.run(WRITE);
    store.transaction(() => store.run(WRITE));
    store.lightly(() => store.run(WRITE));
    store.run(WRITE);
  });
  expect(waits()).toBe(0);
  expect(other.all('SELECT text FROM note').length).toBe(4);
  // A part of a step that is to last is as lasting.
  store.transaction(() => store.lightly(() => store.run(WRITE)));
  expect(waits()).toBe(1);
  const failing = () => {
    throw new Error('no');
  };
  expect(() => store.lightly(failing)).toThrow('no');
  store.run(WRITE);
  expect(waits()).toBe(1);
});

test('a snapshot stays as it is while others write, and keeps nobody from it', async () => {
  const { store, waits } = await world();
  const other = openStore(store.file, [SCHEMA]);
  onTestFinished(() => {
    other.close();
  });
  const count = () => store.all('SELECT * FROM note').length;
  const seen = store.snapshot(() => {
    const before = count();
    other.run(WRITE);
    return [before, count()];
  });
  expect([...seen, count()]).toEqual([0, 0, 1]);
  waits();
  expect(() => store.snapshot(() => store.get('SELECT * FROM nothing'))).toThrow('nothing');
  store.transaction(() => {
    store.run(WRITE);
    expect(store.snapshot(count)).toBe(2);
  });
  expect(waits()).toBe(1);
});
