/** `jet transfers clean`: what goes with the rows, and what stays. */
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { journalOf } from '../../../src/app/transfers.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { Journal } from '../../../src/transfer/journal/journal.ts';
import { LASTS_MS } from '../../../src/transfer/journal/journal-row.ts';
import { testFolder } from '../../support/folder.ts';
import { journalStore } from '../../support/journal-script.ts';

test('what has expired is cleaned away with its part, what can be gone on with stays', async () => {
  const folder = await testFolder();
  const store = journalStore(join(folder, 'jet.db'));
  const journal = new Journal(store, systemClock);
  const parts = [];
  for (const name of ['old', 'young', 'exchanged']) {
    const part = join(folder, `${name}.jet-part`);
    await writeFile(part, name);
    const { dev, ino } = await stat(part, { bigint: true });
    const writer = journal.begin({
      ...{ account: 'alice@example.org', peer: 'bob@example.org', direction: 'receive', name },
      ...{ jet: true, part },
    });
    const identity = { dev, ino, uid: 0n, mode: 0n, tail: Buffer.alloc(32) };
    writer.checkpoint({ written: 1, identity });
    writer.adopt(`${parts.length}`.repeat(32), { identity: 'a'.repeat(64), device: 1 });
    writer.end({ state: 'interrupted', exit: 7, status: 'failed' });
    parts.push(part);
  }
  const [old = '', young = '', exchanged = ''] = parts;
  store.run(`UPDATE transfer SET updated = updated - ? WHERE name <> 'young'`, LASTS_MS);
  // Another file has its name by now.
  await writeFile(`${exchanged}.new`, 'of somebody');
  await rename(`${exchanged}.new`, exchanged);

  const opened = journalOf(store);
  expect(opened.list().map(({ state }) => state)).toEqual(['expired', 'interrupted', 'expired']);
  expect(await opened.clean()).toBe(2);
  expect(opened.list().map(({ name }) => name)).toEqual(['young']);
  await expect(stat(old)).rejects.toThrow('ENOENT');
  for (const kept of [young, exchanged]) expect((await stat(kept)).isFile()).toBe(true);
  opened.close();
});

test('what was killed before it had begun is cleaned away with its part, and nothing of others', async () => {
  const folder = await testFolder();
  const store = journalStore(join(folder, 'jet.db'));
  const journal = new Journal(store, systemClock);
  for (const name of ['ours', 'mine', 'never made', 'running']) {
    const part = join(folder, `${name}.jet-part`);
    const writer = journal.begin({
      ...{ account: 'alice@example.org', peer: 'bob@example.org', direction: 'receive', name },
      ...{ jet: true, part },
    });
    // As when its process is gone.
    if (name !== 'running') writer.release();
    if (name !== 'never made') await mkdir(part, 0o700);
  }
  await writeFile(join(folder, 'mine.jet-part', 'file'), 'mine');

  const opened = journalOf(store);
  expect(await opened.clean()).toBe(3);
  expect(opened.list().map(({ name }) => name)).toEqual(['running']);
  await expect(stat(join(folder, 'ours.jet-part'))).rejects.toThrow('ENOENT');
  for (const kept of ['mine', 'running'])
    expect((await stat(join(folder, `${kept}.jet-part`))).isDirectory()).toBe(true);
  opened.close();
});
