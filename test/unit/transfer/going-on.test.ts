/** docs/sealed.md §9.6: with what a peer may go on, and that a refusal tells it nothing. */
import { createHash, randomBytes } from 'node:crypto';
import { rename, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Jid } from '../../../src/core/jid.ts';
import { FileSource } from '../../../src/files/source.ts';
import { goOnReceiving, goOnSending } from '../../../src/transfer/going-on.ts';
import type { NewTransfer } from '../../../src/transfer/journal/journal.ts';
import { LASTS_MS, type TransferRow } from '../../../src/transfer/journal/journal-row.ts';
import { LiveTransfers } from '../../../src/transfer/live.ts';
import { Pauses } from '../../../src/transfer/pauses.ts';
import type { Records } from '../../../src/transfer/journal/recorder.ts';
import type { OfferedFile } from '../../../src/transfer/sealed.ts';
import { treeWords } from '../../../src/transfer/tree/tree-list.ts';
import { address } from '../../support/address.ts';
import { FakeClock } from '../../support/clock.ts';
import { testFolder } from '../../support/folder.ts';
import { ID, KEY } from '../../support/journal-script.ts';
import { testRecords } from '../../support/records.ts';

const ME = 'alice@a.example';
const bob = address('bob@b.example/jet.1');
const OTHER = 'ef'.repeat(32);

let clock: FakeClock;
let records: Records;
let pauses: Pauses;
let key: number;
let path: string;
const content = randomBytes(5000);

/** A transfer with bob that was agreed on and broke. */
async function interrupted(direction: NewTransfer['direction'], more: Partial<NewTransfer> = {}) {
  clock = new FakeClock();
  records = testRecords(clock);
  pauses = new Pauses(new LiveTransfers(), new FakeClock());
  path = join(await testFolder(), 'plan.bin');
  await writeFile(path, content);
  // Whole seconds, which can be set again.
  await utimes(path, 1_700_000_000, 1_700_000_000);
  const source = await FileSource.open(path);
  await source.close();
  const writer = records.journal.begin({
    ...{ account: ME, peer: bob.bare.toString(), direction, jet: true },
    ...{ name: 'plan.bin', size: content.length },
    ...(direction === 'send' && { path, file: source.identity }),
    ...more,
  });
  writer.adopt(ID, { identity: KEY, device: 7 });
  writer.release();
  ({ key } = writer);
}

const state = () => records.journal.row(key);

describe('an offer that goes on', () => {
  beforeEach(() => interrupted('receive'));

  const offer = (
    attempt: number,
    more: { id?: string; name?: string; size?: number } = {},
  ): OfferedFile => ({
    ...{ name: more.name ?? 'plan.bin', size: more.size ?? content.length },
    ...{ hashes: [], hashUsed: [], resume: { id: more.id ?? ID, attempt } },
  });
  const take = (file = offer(1), identity = KEY, peer: Jid = bob, account = ME) =>
    goOnReceiving(records, pauses, account, identity, peer, file);
  const refused = { reason: 'failed-application', application: 'file-not-available' };

  test('is taken from the key, the address and the direction that it was agreed with', async () => {
    const taken = await take();
    expect(taken?.recorder?.key).toBe(key);
    expect(taken).not.toHaveProperty('out');
    taken?.recorder?.release();
  });

  test.each([
    ['an id that is not known', () => take(offer(1, { id: '12'.repeat(16) }))],
    ['another key', () => take(offer(1), OTHER)],
    ['another address', () => take(offer(1), KEY, address('mallory@b.example/jet.1'))],
    ['another account of ours', () => take(offer(1), KEY, bob, 'alice@other.example')],
  ])('is refused under %s, and no attempt is used up', async (_, attempt) => {
    await expect(attempt()).rejects.toMatchObject(refused);
    expect(state()).toMatchObject({ attempt: 0, state: 'interrupted' });
  });

  test('is refused in the other direction', async () => {
    await interrupted('send');
    await expect(take()).rejects.toMatchObject(refused);
  });

  test('is refused under a number that is not above the last one', async () => {
    (await take(offer(5)))?.recorder?.release();
    for (const used of [5, 4, 1]) await expect(take(offer(used))).rejects.toMatchObject(refused);
    (await take(offer(6)))?.recorder?.release();
    expect(state().attempt).toBe(6);
  });

  test.each([{ name: 'other.bin' }, { size: 1 }])('of %j is a new offer', async (more) => {
    expect(await take(offer(1, more))).toBeUndefined();
    expect(state().attempt).toBe(0);
  });

  test('of another list of a folder, or of none, is a new offer', async () => {
    const tree = { list: 10, files: 1, sha256: randomBytes(32), batch: false };
    await interrupted('receive', { options: { kind: 'offer', tree: treeWords(tree) } });
    expect(await take()).toBeUndefined();
    expect(await take({ ...offer(1), tree: { ...tree, sha256: randomBytes(32) } })).toBeUndefined();
    expect(state().attempt).toBe(0);
    const taken = await take({ ...offer(1), tree });
    expect(taken?.recorder?.key).toBe(key);
    taken?.recorder?.release();
  });

  test('is refused when the user cancelled it', async () => {
    records.journal.claim(key, 'user').end({ state: 'cancelled', exit: 5, status: 'interrupted' });
    await expect(take()).rejects.toMatchObject(refused);
  });

  test('is refused when what it goes on with has expired, and no attempt is used up', async () => {
    await clock.advance(LASTS_MS);
    await expect(take()).rejects.toMatchObject(refused);
    expect(state()).toMatchObject({ attempt: 0, state: 'expired' });
  });

  test('of a file that has landed is told where, and nothing is written', async () => {
    const writer = records.journal.claim(key, 'user');
    writer.note({ path });
    writer.end({ state: 'done', exit: 0, status: 'verified' });
    expect(await take()).toEqual({ landed: path });
    await expect(take()).rejects.toMatchObject(refused);
  });
});

describe('an offer that goes on with what is still alive here', () => {
  beforeEach(() => interrupted('receive'));

  test('is told where the file is when that lands before it could be ended', async () => {
    const recorder = records.resume(key);
    recorder.follow(() => recorder.end({ outcome: { kind: 'landed' }, exit: 0, path }));
    const resume = { id: ID, attempt: 1 };
    const file = { name: 'plan.bin', size: content.length, hashes: [], hashUsed: [], resume };
    expect(await goOnReceiving(records, pauses, ME, KEY, bob, file)).toEqual({ landed: path });
  });
});

describe('a transfer that both sides go on with', () => {
  beforeEach(() => interrupted('receive'));

  const silence = { kind: 'failed', fault: { by: 'silence', waitingFor: '' } } as const;
  const heard = () => {
    const keys: number[] = [];
    records.onAnswer((answered) => keys.push(answered));
    return keys;
  };

  test('is that of the side whose request came, and an offer of ours ends for it', async () => {
    const keys = heard();
    const offer = records.resume(key);
    const ends: string[] = [];
    offer.follow((error) => {
      // Whoever waits for the offer can see already why it ends.
      expect(records.answered(key)).toBeDefined();
      ends.push(error.message);
      offer.end({ outcome: silence, exit: 7 });
    });
    const answer = await records.answer(key, 'user');
    expect(ends).toEqual([expect.stringContaining('goes on with it in a new session')]);
    expect(keys).toEqual([key]);
    expect(() => records.resume(key)).toThrow('under way already');
    const over = records.answered(key);
    answer.end({ outcome: silence, exit: 7 });
    await over;
    expect(records.answered(key)).toBeUndefined();
    records.resume(key).release();
  });

  test('is that of our own request, for which an offer is refused', async () => {
    const keys = heard();
    const request = records.resume(key);
    request.follow(() => expect.unreachable(), true);
    await expect(records.answer(key, 'user')).rejects.toMatchObject({ code: 'transfer-busy' });
    expect(records.answered(key)).toBeUndefined();
    expect(keys).toEqual([]);
    expect(request.row().state).toBe('open');
    request.release();
  });

  test('is gone on with by the other side, though it was cancelled, where the user does', async () => {
    records.resume(key).end({ outcome: { kind: 'cancelled' }, exit: 7 });
    await expect(records.answer(key, 'peer')).rejects.toMatchObject({ code: 'transfer-cancelled' });
    (await records.answer(key, 'user')).release();
  });

  test('is no other than those that this side goes on with', async () => {
    const resume = { id: ID, attempt: 1 };
    const file = { name: 'plan.bin', size: content.length, hashes: [], hashUsed: [], resume };
    const take = (allows: (row: TransferRow) => boolean) =>
      goOnReceiving(records, pauses, ME, KEY, bob, file, { allows, by: 'user' });
    await expect(take(() => false)).rejects.toMatchObject({ application: 'file-not-available' });
    expect(state()).toMatchObject({ attempt: 0, state: 'interrupted' });
    (await take((row) => row.key === key))?.recorder?.release();
  });
});

describe('a request that goes on', () => {
  beforeEach(() => interrupted('send'));

  const always = () => true;
  const ask = (
    attempt = 1,
    allowed: (row: TransferRow) => boolean = always,
    identity = KEY,
    peer: Jid = bob,
    id = ID,
  ) => goOnSending(records, pauses, ME, identity, peer, { id, attempt }, { allows: allowed });
  const given = async (attempt: number) => {
    const { recorder, source, sha256 } = await ask(attempt);
    recorder.release();
    await source.close();
    return sha256;
  };

  test('is given the file with the hash that it has on the disk', async () => {
    expect(await given(1)).toEqual(createHash('sha256').update(content).digest());
  });

  const unknown = /not known here, has expired, or is not allowed any more/;
  test.each([
    ['an id that is not known', () => ask(1, always, KEY, bob, '12'.repeat(16))],
    ['another key', () => ask(1, always, OTHER)],
    ['another address', () => ask(1, always, KEY, address('mallory@b.example/jet.1'))],
    ['a right that was taken back', () => ask(1, () => false)],
  ])('is refused under %s, in one sentence, and no attempt is used up', async (_, attempt) => {
    await expect(attempt()).rejects.toThrow(unknown);
    expect(state()).toMatchObject({ attempt: 0, state: 'interrupted' });
  });

  test('is refused when what it goes on with has expired, and no attempt is used up', async () => {
    await clock.advance(LASTS_MS);
    await expect(ask()).rejects.toThrow(unknown);
    expect(state()).toMatchObject({ attempt: 0, state: 'expired' });
  });

  test('has its right looked up in its own row, each time', async () => {
    const asked: number[] = [];
    const allowed = (row: TransferRow) => asked.push(row.key) < 2;
    const { recorder, source } = await ask(1, allowed);
    recorder.release();
    await source.close();
    await expect(ask(2, allowed)).rejects.toThrow(unknown);
    expect(asked).toEqual([key, key]);
  });

  test('is refused in the other direction', async () => {
    await interrupted('receive');
    await expect(ask()).rejects.toThrow(unknown);
  });

  test('is refused under a number that is not above the last one', async () => {
    await given(5);
    for (const used of [5, 4, 1]) await expect(ask(used)).rejects.toThrow(/a number that is used/);
    await given(6);
  });

  test.each<[string, () => Promise<void>]>([
    ['longer', () => writeFile(path, 'more', { flag: 'a' })],
    [
      'of the same size and times, but other bytes in another file',
      async () => {
        const { atime, mtime } = await stat(path);
        await writeFile(`${path}.new`, randomBytes(content.length));
        await utimes(`${path}.new`, atime, mtime);
        await rename(`${path}.new`, path);
      },
    ],
    [
      'of the same size and times, but other bytes in the same file',
      async () => {
        const { atime, mtime } = await stat(path);
        await writeFile(path, randomBytes(content.length), { flag: 'r+' });
        await utimes(path, atime, mtime);
      },
    ],
  ])('is refused when its file is %s', async (_, change) => {
    await change();
    await expect(ask()).rejects.toMatchObject({ code: 'source-changed', exit: 8 });
    // It is nobody's now: the user here may still go on with it.
    expect(state().state).toBe('interrupted');
    records.journal.claim(key, 'user').release();
  });

  test('is refused when the user cancelled it, and when it is over', async () => {
    records.journal.claim(key, 'user').end({ state: 'cancelled', exit: 5, status: 'interrupted' });
    await expect(ask()).rejects.toMatchObject({ code: 'transfer-cancelled' });
    records.journal.claim(key, 'user').end({ state: 'done', exit: 0, status: 'verified' });
    await expect(ask(2)).rejects.toMatchObject({ code: 'transfer-over' });
  });
});
