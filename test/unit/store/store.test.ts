import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openStore } from '../../../src/store/store.ts';
import { testFolder } from '../../support/folder.ts';

const SCHEMA = { name: 'test', steps: ['CREATE TABLE note (text TEXT NOT NULL)'] };

test('only what is done lightly does not wait for the disk, and others see it at once all the same', async () => {
  const file = join(await testFolder(), 'jet.db');
  const store = openStore(file, [SCHEMA]);
  const other = openStore(file, [SCHEMA]);
  onTestFinished(() => [store, other].forEach((open) => open.close()));
  const waits = () => store.get('PRAGMA synchronous')?.['synchronous'];
  const [NORMAL, FULL] = [1, 2];
  expect(waits()).toBe(FULL);
  const during = store.lightly(() => {
    store.run(`INSERT INTO note VALUES ('a')`);
    return waits();
  });
  expect([during, waits()]).toEqual([NORMAL, FULL]);
  expect(other.all('SELECT text FROM note')).toEqual([{ text: 'a' }]);
  // A part of a step that is to last is as lasting.
  expect(store.transaction(() => store.lightly(waits))).toBe(FULL);
  const failing = () => {
    throw new Error('no');
  };
  expect(() => store.lightly(failing)).toThrow('no');
  expect(waits()).toBe(FULL);
});
