import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.ts';
import { acquire, locksSchema } from '../../../src/store/locks.ts';
import { openStore, type Store } from '../../../src/store/store.ts';
import { Journal, journalSchema, type NewTransfer } from '../../../src/transfer/journal/journal.ts';
import type { TransferState } from '../../../src/transfer/journal/journal-row.ts';
import type { JournalWriter } from '../../../src/transfer/journal/journal-writer.ts';
import { FakeClock } from '../../support/clock.ts';
import { testFolder } from '../../support/folder.ts';
import { ID, journalStore, KEY, live, pointed, seen } from '../../support/journal-script.ts';

const SCRIPT = fileURLToPath(new URL('../../support/process-journal.ts', import.meta.url));
const OTHER = 'ef'.repeat(32);

async function run(...args: string[]): Promise<{ signal: string | null; lines: string[] }> {
  const child = spawn(process.execPath, ['--import', 'tsx', SCRIPT, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (data: Buffer) => (text += data.toString()));
  const [status, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once('close', (...end) => resolve(end)),
  );
  if (signal === null && status !== 0) throw new Error(`ended with ${String(status)}`);
  return { signal, lines: text.split('\n').slice(0, -1) };
}

interface World {
  readonly file: string;
  readonly store: Store;
  readonly clock: FakeClock;
  readonly journal: Journal;
}

async function world(): Promise<World> {
  const file = join(await testFolder(), 'jet.db');
  const store = journalStore(file);
  onTestFinished(() => store.close());
  const clock = new FakeClock();
  return { file, store, clock, journal: new Journal(store, clock) };
}

const transfer = (more: Partial<NewTransfer> = {}): NewTransfer => ({
  account: 'alice@example.org',
  peer: 'bob@example.org',
  direction: 'receive',
  jet: true,
  name: 'a.txt',
  ...more,
});

test('a row tells everything that a later process needs', async () => {
  const { journal, clock, file } = await world();
  const source = { dev: 2n ** 63n, ino: 5n, size: 10n, mtimeNs: -1n, ctimeNs: 2n ** 61n };
  const part = { dev: 1n, ino: 2n, uid: 3n, mode: 4n, tail: Buffer.alloc(32, 1) };
  const writer = journal.begin(transfer({ size: 10, options: { out: '/tmp', links: true, n: 3 } }));
  expect(writer.row()).toMatchObject({ adopted: false, attempt: 0, state: 'open', written: 0 });
  const provisional = writer.row().id;
  expect(provisional).toMatch(/^[0-9a-f]{32}$/);
  await clock.advance(1000);
  writer.adopt(ID, { identity: KEY, device: 77 });
  writer.note({ path: '/tmp/a.txt', part: '/tmp/a.txt.jet-part', file: source, sha256: OTHER });
  writer.progress(6, 4);
  writer.checkpoint({ written: 8, identity: part });
  expect(new Journal(journalStore(file), clock).get(ID)).toEqual({
    ...transfer(),
    key: writer.key,
    id: ID,
    adopted: true,
    identity: KEY,
    device: 77,
    size: 10,
    sha256: OTHER,
    path: '/tmp/a.txt',
    file: source,
    part: '/tmp/a.txt.jet-part',
    partIdentity: part,
    options: { out: '/tmp', links: true, n: 3 },
    written: 8,
    verified: 4,
    attempt: 0,
    state: 'open',
    exit: undefined,
    status: undefined,
    error: undefined,
    created: clock.now() - 1000,
    updated: clock.now(),
    ended: undefined,
  });
  expect(() => journal.get(provisional)).toThrow('knows nothing');
  writer.checkpoint({ written: 3, identity: part });
  expect(writer.row()).toMatchObject({ written: 3, verified: 3 });
  await clock.advance(1000);
  writer.end({ state: 'failed', exit: 7, status: 'failed', error: 'It broke.' });
  expect(journal.get(ID)).toMatchObject({
    state: 'failed',
    exit: 7,
    error: 'It broke.',
    ended: clock.now(),
  });
});

test('an id is found by any beginning that fits it alone', async () => {
  const { journal, store } = await world();
  for (const id of ['abc1', 'abc2', 'abd3']) {
    journal.begin(transfer({ account: `${id}@x` })).release();
    store.run('UPDATE transfer SET id = ? WHERE account = ?', id, `${id}@x`);
  }
  expect(journal.get('ABC2').id).toBe('abc2');
  expect(journal.get('abd').id).toBe('abd3');
  expect(journal.get('ab', 'abc1@x').id).toBe('abc1');
  expect(() => journal.get('abc')).toThrow('fits several transfers, such as abc2 and abc1');
  for (const none of ['', 'x', 'abc%', '_', 'abc11'])
    expect(() => journal.get(none)).toThrow(expect.objectContaining({ exit: 2 }) as Error);
});

test('a transfer id belongs to the key that it was agreed with', async () => {
  const { journal } = await world();
  // The key is known from the beginning; the random id that a row has until then is nobody's.
  const begin = () => journal.begin(transfer({ identity: KEY }));
  const [first, second, third] = [begin(), begin(), begin()];
  const { id } = journal.list()[0] ?? { id: '' };
  expect(journal.findByTransferId('alice@example.org', KEY, id)).toBeUndefined();
  first.adopt(ID, { identity: KEY, device: 1 });
  expect(() => second.adopt(ID, { identity: KEY, device: 1 })).toThrow(
    expect.objectContaining({ code: 'transfer-id-used', exit: 6 }) as Error,
  );
  third.adopt(ID, { identity: OTHER, device: 1 });
  expect(journal.findByTransferId('alice@example.org', KEY, ID)?.key).toBe(first.key);
  expect(journal.findByTransferId('alice@example.org', OTHER, ID)?.key).toBe(third.key);
  expect(journal.findByTransferId('carol@example.org', KEY, ID)).toBeUndefined();
  expect(() => first.adopt('xyz', { identity: KEY, device: 1 })).toThrow(RangeError);
  for (const writer of [first, second, third]) writer.release();
});

test('one writes; whoever is superseded writes no more', async () => {
  const { journal, store } = await world();
  const old = journal.begin(transfer());
  const busy = expect.objectContaining({ code: 'transfer-busy', exit: 8 }) as Error;
  expect(() => journal.claim(old.key, 'user')).toThrow(busy);
  expect(() => journal.forget(old.key)).toThrow(busy);
  expect(journal.clean(['interrupted', 'failed'])).toEqual([]);
  // Its machine cannot be looked up from here and has been silent for long: it counts as dead.
  store.run(`UPDATE lock SET machine = 'elsewhere', beat = 0`);
  expect(journal.get(old.row().id).state).toBe('interrupted');
  const next = journal.claim(old.key, 'peer');
  expect(next.fence).toBeGreaterThan(old.fence);
  next.progress(5);
  const taken = expect.objectContaining({ code: 'transfer-taken', exit: 8 }) as Error;
  const calls = [
    () => old.progress(9),
    () => old.note({ name: 'b' }),
    () => old.adopt(ID, { identity: KEY, device: 1 }),
    () => old.restart(),
    () => old.rememberLanded('/t/x', Buffer.from('files')),
    () => old.row(),
    () => old.end({ state: 'failed', exit: 1, status: 'failed' }),
  ];
  for (const call of calls) expect(call).toThrow(taken);
  old.release();
  expect(next.row()).toMatchObject({ written: 5, state: 'open', name: 'a.txt' });
  next.release();
  next.release();
  expect(() => next.progress(6)).toThrow(taken);
  expect(journal.list()[0]?.state).toBe('interrupted');
});

test('what is over is not gone on with, what the user cancelled by the user alone', async () => {
  const { journal } = await world();
  const { key } = (() => {
    const writer = journal.begin(transfer());
    writer.end({ state: 'cancelled', exit: 5, status: 'interrupted' });
    return writer;
  })();
  expect(() => journal.claim(key, 'peer')).toThrow(
    expect.objectContaining({ code: 'transfer-cancelled', exit: 5 }) as Error,
  );
  expect(journal.list()[0]?.state).toBe('cancelled');
  const again = journal.claim(key, 'user');
  expect(again.row()).toMatchObject({ state: 'open', exit: undefined, ended: undefined });
  for (const state of ['done', 'declined'] as const) {
    const writer = journal.begin(transfer());
    writer.end({ state, exit: 0, status: 'verified' });
    expect(() => journal.claim(writer.key, 'user')).toThrow(
      expect.objectContaining({ code: 'transfer-over', exit: 2 }) as Error,
    );
  }
  expect(() => journal.claim(999, 'user')).toThrow('knows nothing');
  again.release();
});

test('attempt numbers only rise', async () => {
  const { journal } = await world();
  const { key } = journal.begin(transfer());
  expect([journal.nextAttempt(key), journal.nextAttempt(key)]).toEqual([1, 2]);
  // The peer may not have heard of ours.
  expect(journal.acceptAttempt(key, 1)).toBe(true);
  for (const low of [1, 0, -1, 2.5, NaN, 2 ** 31, Infinity])
    expect(journal.acceptAttempt(key, low)).toBe(false);
  expect(journal.nextAttempt(key)).toBe(3);
  expect(journal.acceptAttempt(key, 9)).toBe(true);
  expect(journal.acceptAttempt(key, 9)).toBe(false);
  expect(journal.nextAttempt(key)).toBe(10);
  expect(() => journal.nextAttempt(999)).toThrow('knows nothing');
});

test('what nobody has gone on with for 30 days has expired, and nobody goes on with it', async () => {
  const { journal, clock, store } = await world();
  journal.begin(transfer({ name: 'left' })).release();
  const ends = ['interrupted', 'cancelled', 'done', 'failed', 'declined'] as const;
  for (const state of ends)
    journal.begin(transfer({ name: state })).end({ state, exit: 0, status: 'x' });
  const at = (ms: number) => new Journal(store, new FakeClock(clock.now() + ms));
  const names = (of: Journal, state: TransferState) =>
    of.list({ states: [state] }).map(({ name }) => name);
  const days = 30 * 86_400_000;
  const before = at(days - 1);
  expect(names(before, 'expired')).toEqual([]);
  expect(names(before, 'interrupted')).toEqual(['interrupted', 'left']);
  before.claim(before.list().at(-1)?.key ?? 0, 'peer').release();

  const after = at(days);
  expect(names(after, 'expired')).toEqual(['cancelled', 'interrupted']);
  expect(names(after, 'interrupted')).toEqual(['left']);
  const states = ['declined', 'failed', 'done', 'expired', 'expired', 'interrupted'];
  expect(after.list().map(({ state }) => state)).toEqual(states);
  for (const { key } of after.list({ states: ['expired'] }))
    for (const by of ['user', 'peer'] as const)
      expect(() => after.claim(key, by)).toThrow(
        expect.objectContaining({ code: 'transfer-expired', exit: 2 }) as Error,
      );
  expect(after.clean(['expired']).map(({ name }) => name)).toEqual(['cancelled', 'interrupted']);
});

test('list, forget and clean: the newest first, what is under way stays', async () => {
  const { journal, clock, store } = await world();
  const ends = ['done', 'failed', 'cancelled'] as const;
  for (const state of ends) {
    journal.begin(transfer({ name: state })).end({ state, exit: 0, status: state });
    await clock.advance(1000);
  }
  const open = journal.begin(transfer({ name: 'open', account: 'carol@example.org' }));
  expect(journal.list().map(({ name }) => name)).toEqual(['open', 'cancelled', 'failed', 'done']);
  expect(journal.list({ account: 'carol@example.org' })).toHaveLength(1);
  expect(journal.list({ states: ['failed', 'open'] })).toHaveLength(2);
  expect(journal.clean(['done', 'failed'], clock.now() - 2500).map((row) => row.name)).toEqual([
    'done',
  ]);
  expect(journal.forget(3).name).toBe('cancelled');
  expect(() => journal.forget(3)).toThrow('knows nothing');
  expect(journal.clean(['done', 'failed', 'interrupted', 'cancelled'])).toHaveLength(1);
  expect(journal.list().map(({ name }) => name)).toEqual(['open']);
  expect(store.all('SELECT name FROM lock')).toEqual([{ name: `transfer ${open.key}` }]);
  open.release();
});

test('what a key has sent is found by its name and size, the newest first', async () => {
  const { journal } = await world();
  const what = { identity: KEY, name: 'a', size: 5 };
  const end = { state: 'done', exit: 0, status: 'x' } as const;
  for (const sha256 of ['11', '22']) journal.begin(transfer({ ...what, sha256 })).end(end);
  journal.begin(transfer({ ...what, direction: 'send' })).end(end);
  const found = (identity: string, name: string, size: number) =>
    journal.received('alice@example.org', identity, name, size).map(({ sha256 }) => sha256);
  expect(found(KEY, 'a', 5)).toEqual(['22', '11']);
  expect([found(OTHER, 'a', 5), found(KEY, 'b', 5), found(KEY, 'a', 6)]).toEqual([[], [], []]);
});

test('what has landed of a folder is known to its key alone, until its row is forgotten', async () => {
  const { journal } = await world();
  const end = { state: 'done', exit: 0, status: 'x' } as const;
  const [first, second, other] = [KEY, KEY, OTHER].map((identity) =>
    journal.begin(transfer({ identity })),
  );
  first?.rememberLanded('/t/x', Buffer.from('one'));
  expect(first?.landedFiles('/t/y')).toBeUndefined();
  expect(other?.landedFiles('/t/x')).toBeUndefined();
  expect(second?.landedFiles('/t/x')?.toString()).toBe('one');
  // What lands last takes the place of what was known.
  second?.rememberLanded('/t/x', Buffer.from('two'));
  for (const writer of [first, second, other]) writer?.end(end);
  const known = () => {
    const next = journal.begin(transfer({ identity: KEY }));
    const files = next.landedFiles('/t/x')?.toString();
    next.end(end);
    return files;
  };
  journal.forget(first?.key ?? 0);
  expect(known()).toBe('two');
  journal.forget(second?.key ?? 0);
  expect(known()).toBeUndefined();
  const keyless = journal.begin(transfer());
  keyless.rememberLanded('/t/x', Buffer.from('three'));
  expect(keyless.landedFiles('/t/x')).toBeUndefined();
  keyless.release();
});

describe('what is written but not durable', () => {
  const partOf = (byte: number) => ({
    ...{ dev: 1n, ino: 2n, uid: 3n, mode: 4n },
    tail: Buffer.alloc(32, byte),
  });
  const rebooted = (store: Store) =>
    store.run(`UPDATE transfer SET boot = 'another' WHERE boot IS NOT NULL`);

  test('counts as long as the system runs, and no longer', async () => {
    const { journal, store } = await world();
    const writer = journal.begin(transfer());
    writer.checkpoint({ written: 10, identity: partOf(1) });
    writer.prove(0, 10);
    writer.reach({ written: 20, identity: partOf(2) });
    writer.reach({ written: 30, identity: partOf(3) });
    writer.release();
    const now = { written: 30, verified: 10, partIdentity: partOf(3) };
    expect(journal.row(writer.key)).toMatchObject(now);
    const next = journal.begin(transfer());
    journal.inherit(writer.key, next.key);
    expect(next.row()).toMatchObject(now);
    rebooted(store);
    expect(next.row()).toMatchObject({ written: 10, verified: 10, partIdentity: partOf(1) });
    // What is written after it builds on what was there.
    next.reach({ written: 40, identity: partOf(4) });
    expect(next.row()).toMatchObject({ written: 40, partIdentity: partOf(4) });
    rebooted(store);
    expect(next.row()).toMatchObject({ written: 10, partIdentity: partOf(1) });
  });

  test('is durable at the next checkpoint, also where that is less', async () => {
    const { journal, store } = await world();
    const writer = journal.begin(transfer());
    for (const [reached, durable] of [
      [20, 30],
      [50, 40],
    ] as const) {
      writer.reach({ written: reached, identity: partOf(2) });
      writer.checkpoint({ written: durable, identity: partOf(3) });
      expect(rebooted(store)).toBe(0);
      expect(writer.row()).toMatchObject({ written: durable, partIdentity: partOf(3) });
    }
  });

  test.each([
    [
      'landed',
      100,
      (writer: JournalWriter) => writer.land({ path: '/t/a' }, { exit: 0, status: 'verified' }),
    ],
    ['was proven', 100, (writer: JournalWriter) => writer.prove(0, 100)],
    ['starts anew', 0, (writer: JournalWriter) => writer.restart()],
  ])('says nothing of what %s', async (_, written, then) => {
    const { journal, store } = await world();
    const writer = journal.begin(transfer({ size: 100 }));
    writer.reach({ written: 60, identity: partOf(1) });
    then(writer);
    expect(rebooted(store)).toBe(0);
    expect(writer.row()).toMatchObject({ written });
  });
});

test('a part passes to another row, from one that nobody writes', async () => {
  const { journal } = await world();
  const old = journal.begin(transfer());
  old.note({ path: '/t/a', part: '/t/a.jet-part', doubt: [{ offset: 1, length: 2 }] });
  const identity = { dev: 1n, ino: 2n, uid: 3n, mode: 4n, tail: Buffer.alloc(32, 1) };
  old.checkpoint({ written: 8, identity });
  const { key } = journal.begin(transfer());
  expect(() => journal.inherit(old.key, key)).toThrow('under way');
  expect(journal.row(key)).toMatchObject({ written: 0, part: undefined });
  old.release();
  const { path, part: left, partIdentity, written, doubt } = journal.row(old.key);
  journal.inherit(old.key, key);
  expect(journal.row(key)).toMatchObject({ path, part: left, partIdentity, written, doubt });
  expect(() => journal.row(old.key)).toThrow('knows nothing');
});

test('a journal of a newer version is refused, and left as it is', async () => {
  const { file, store } = await world();
  store.run(`UPDATE schema_version SET step = 99 WHERE name = 'journal'`);
  expect(() => openStore(file, [locksSchema, journalSchema])).toThrow(
    expect.objectContaining({ code: 'store-newer', exit: 8 }) as Error,
  );
});

/** Copies the files as they are now: what a process that is killed now leaves behind. */
function snapshot(file: string, folder: string): string {
  mkdirSync(folder);
  for (const end of ['', '-wal', '-shm'])
    if (existsSync(file + end)) copyFileSync(file + end, join(folder, `jet.db${end}`));
  return join(folder, 'jet.db');
}

/** What a store holds after each call of the script, as often as it runs undisturbed. */
function undisturbed(file: string): string[] {
  const store = journalStore(file);
  const states = [seen(store)];
  live(store, () => states.push(seen(store)));
  store.close();
  return states;
}

function reopened(file: string): string {
  const store = journalStore(file);
  expect(store.get('PRAGMA integrity_check')).toMatchObject({ integrity_check: 'ok' });
  const state = seen(store);
  store.close();
  return state;
}

test('at whichever moment it dies, every call was made wholly or not at all', async () => {
  const folder = await testFolder();
  const states = undisturbed(join(folder, 'whole.db'));
  const file = join(folder, 'jet.db');
  const store = journalStore(file);
  const left: { path: string; done: number }[] = [];
  let done = 0;
  const point = () => left.push({ path: snapshot(file, join(folder, String(left.length))), done });
  live(pointed(store, point), () => done++);
  store.close();
  expect(left.length).toBeGreaterThan(60);
  for (const { path, done } of left) expect(states.slice(done, done + 2)).toContain(reopened(path));
});

test('a process that is killed leaves the same, and lets go', async () => {
  const folder = await testFolder();
  const states = undisturbed(join(folder, 'whole.db'));
  const moments = Array.from({ length: 6 }, () => randomInt(60));
  const deaths = moments.map(async (moment, i) => {
    const file = join(folder, `${String(i)}.db`);
    const { signal, lines } = await run('die', file, String(moment));
    expect([moment, signal]).toEqual([moment, 'SIGKILL']);
    expect(states.slice(lines.length, lines.length + 2)).toContain(reopened(file));
    const store = journalStore(file);
    const journal = new Journal(store, new FakeClock());
    for (const { key, state } of journal.list()) {
      expect([moment, state]).not.toEqual([moment, 'open']);
      if (state === 'interrupted') journal.claim(key, 'user').release();
      journal.forget(key);
    }
    store.close();
  });
  await Promise.all(deaths);
});

test('processes share it: no row is lost, no number given twice, one writes at a time', async () => {
  const { file, store } = await world();
  new Journal(store, systemClock).begin(transfer()).release();
  const three = (mode: string, n: number) =>
    Array.from({ length: 3 }, () => run(mode, file, String(n)));
  const [attempts] = await Promise.all([
    Promise.all(three('attempts', 10)),
    Promise.all(three('begin', 5)),
    Promise.all(three('claim', 5)),
  ]);
  const numbers = attempts.flatMap(({ lines }) => lines.map(Number));
  expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
  expect(attempts.every(({ lines: [a, b] }) => Number(a) < Number(b))).toBe(true);
  const rows = store.all(`SELECT written FROM transfer WHERE state = 'done'`);
  expect(rows.map(({ written }) => written)).toEqual(Array.from({ length: 15 }, () => 100));
  expect(store.get('SELECT written FROM transfer WHERE key = 1')?.['written']).toBe(15);
  expect(acquire(store, systemClock, 'transfer 1')?.held()).toBe(true);
});
