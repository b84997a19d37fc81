/** Asking and serving in plain XEP-0391 §4.2, both sides in this process: what is answered, when, and how often. */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FileSource } from '../../../src/files/source.ts';
import type { FileRange } from '../../../src/jingle/file-description.ts';
import type { Hash } from '../../../src/jingle/hashes.ts';
import { memoryBytes } from '../../../src/transfer/listing.ts';
import type { Sharing } from '../../../src/transfer/share.ts';
import { settle } from '../../support/clock.ts';
import { testFolder } from '../../support/folder.ts';
import { createHolding, HELD as bytes, sha256 } from '../../support/holding.ts';

test('a plain request by hash is served, and proven by the hash that was asked for', async () => {
  const { fetch, taken } = createHolding();
  const { exit, got, events } = await fetch(sha256(bytes));
  expect(exit).toBe(0);
  expect(got.equals(bytes)).toBe(true);
  expect(events.at(-1)).toMatchObject({ event: 'end', status: 'verified', file: 'held.bin' });
  await settle();
  expect(taken).toEqual([true]);
});

test('of what the hash does not name nothing lands, whatever the holder sends', async () => {
  const find: Sharing['find'] = () =>
    Promise.resolve({
      file: { name: 'other.bin', size: bytes.length, hashes: [], hashUsed: [] },
      open: () => Promise.resolve(memoryBytes(bytes)),
    });
  const { fetch } = createHolding({ find });
  const { exit, events } = await fetch(sha256(Buffer.from('what was asked for')));
  expect(exit).toBe(6);
  expect(events.at(-1)).toMatchObject({ event: 'error', code: 'hash-mismatch' });
});

test('nor is it taken for that file where it comes in ranges, each of which is right', async () => {
  const path = join(await testFolder(), 'held.bin');
  await writeFile(path, bytes);
  const source = await FileSource.open(path);
  await source.close();
  const find: Sharing['find'] = () =>
    Promise.resolve({
      ...{ file: { name: 'held.bin', size: bytes.length, hashes: [], hashUsed: [] }, source },
      open: () => FileSource.open(path),
    });
  const { fetch } = createHolding({ find, goesOn: { allows: () => true } }, true, 16_384);
  expect((await fetch(sha256(bytes))).exit).toBe(0);
  const { exit, events } = await fetch(sha256(Buffer.from('what was asked for')));
  expect(exit).toBe(6);
  expect(events.at(-1)).toMatchObject({ event: 'error', code: 'hash-mismatch' });
});

/** Has whatever is asked for. */
const HAS_ALL: Partial<Sharing> = {
  find: () =>
    Promise.resolve({
      file: { name: 'held.bin', size: bytes.length, hashes: [], hashUsed: [] },
      open: () => Promise.resolve(memoryBytes(bytes)),
    }),
};

describe('a refusal', () => {
  const SAME =
    /^<jingle [^>]*action="session-terminate"[^>]*><reason><failed-application\/><file-not-available xmlns="[^"]+"\/><\/reason><\/jingle>$/;
  const sha1: Hash = { algorithm: 'sha-1', digest: createHash('sha1').update(bytes).digest() };
  test.each<[string, Partial<Sharing>, Hash, FileRange?]>([
    ['of what is not there', {}, sha256(Buffer.from('nothing'))],
    ['of what this account may not have', { ...HAS_ALL, may: () => false }, sha256(bytes)],
    ['of a request without sealed elements', { ...HAS_ALL, plain: () => false }, sha256(bytes)],
    ['of a hash that proves nothing', HAS_ALL, sha1],
    ['of a part, in the clear', HAS_ALL, sha256(bytes), { offset: 1, length: 9, hashes: [] }],
  ])('%s looks the same, and leaves at the same time', async (_what, sharing, hash, range) => {
    const { clock, fetch, refused, ends, farewells } = createHolding(sharing);
    const asked = fetch(hash, range);
    await clock.advance(499);
    expect(refused).toHaveLength(1);
    expect(ends).toEqual([]);
    await clock.advance(1);
    const { exit, events } = await asked;
    expect(ends).toEqual([500]);
    expect(farewells).toEqual([expect.stringMatching(SAME)]);
    expect(exit).toBe(9);
    expect(events.at(-1)).toMatchObject({ code: 'peer-file-not-available' });
  });

  test('of what lies beyond the end looks the same, too', async () => {
    const { clock, fetch, refused, ends, farewells } = createHolding({}, true);
    const asked = fetch(sha256(bytes), { offset: bytes.length + 1, hashes: [] });
    await clock.advance(500);
    expect((await asked).exit).toBe(9);
    expect(refused).toEqual(['it asked for bytes beyond the end of the file']);
    expect([ends, farewells]).toEqual([[500], [expect.stringMatching(SAME)]]);
  });

  const NOBODY: Partial<Sharing> = { may: () => false };
  const unknown = sha256(Buffer.from('nothing'));

  test('of the list, of a file and of what is not there are one to whom nothing is shared with', async () => {
    const looked: string[] = [];
    const find: Sharing['find'] = () => {
      looked.push('looked');
      return Promise.resolve(undefined);
    };
    const nothing = { code: 'peer-file-not-available', exit: 9 };
    const heard: unknown[] = [];
    for (const [sharing, what] of [
      [{ find }, 'unknown'],
      [{ ...NOBODY, find }, 'unknown'],
      [{ ...NOBODY, find }, 'held'],
      [{ ...NOBODY, find }, 'list'],
    ] as const) {
      const { clock, fetch, list, ends, farewells } = createHolding(sharing, true);
      const asked = what === 'list' ? list() : fetch(what === 'held' ? sha256(bytes) : unknown);
      await clock.advance(500);
      const { exit, events, got } = await asked;
      expect([exit, events.at(-1), got.length], what).toMatchObject([9, nothing, 0]);
      heard.push([ends, farewells]);
    }
    // One moment and the same words, and for whom nothing is, nothing is even looked up.
    for (const one of heard) expect(one).toEqual([[500], [expect.any(String)]]);
    expect(new Set(heard.map((one) => JSON.stringify(one))).size).toBe(1);
    expect(looked).toEqual(['looked']);
  });

  test('comes whenever the right was taken away, also between two requests', async () => {
    let allowed = true;
    const { clock, fetch, refused } = createHolding({ may: () => allowed }, true);
    expect((await fetch(sha256(bytes))).exit).toBe(0);
    allowed = false;
    const asked = fetch(sha256(bytes));
    await clock.advance(500);
    expect((await asked).exit).toBe(9);
    expect(refused).toEqual(['nothing is shared with it']);
  });

  test('that takes long to find out leaves half a second later, never in between', async () => {
    const slow = createHolding({
      find: () =>
        new Promise((resolve) => {
          slow.clock.after(510, () => resolve(undefined));
        }),
    });
    const asked = slow.fetch(sha256(bytes));
    await slow.clock.advance(2000);
    await asked;
    expect(slow.ends).toEqual([1000]);
  });

  test('meets who asks too often, until a minute has passed', async () => {
    const { clock, fetch, from, refused } = createHolding();
    const nothing = sha256(Buffer.from('nothing'));
    const ask = async (by: (hash: Hash) => Promise<unknown> = fetch) => {
      const asked = by(nothing);
      await clock.advance(500);
      return asked;
    };
    for (let i = 0; i < 30; i++) await ask();
    expect(refused.at(-1)).toBe('what it asked for is not shared');
    const many = Array.from({ length: 60 }, () => fetch(nothing));
    await clock.advance(500);
    await Promise.all(many);
    const more = Array.from({ length: 40 }, () => fetch(nothing));
    await clock.advance(500);
    await Promise.all(more);
    expect(refused.filter((why) => why === 'it asks too often')).toHaveLength(10);
    // It is the account that is counted, and no other one.
    await ask(from('alice@a.test/two'));
    expect(refused.at(-1)).toBe('it asks too often');
    await ask(from('carol@c.test/one'));
    expect(refused.at(-1)).toBe('what it asked for is not shared');
    await clock.advance(60_000);
    await ask();
    expect(refused.at(-1)).toBe('what it asked for is not shared');
  });
});
