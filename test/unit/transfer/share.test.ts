/** Asking and serving in plain XEP-0391 §4.2, both sides in this process: what is answered, when, and how often. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { Hash } from '../../../src/jingle/hashes.ts';
import { memoryBytes } from '../../../src/transfer/listing.ts';
import type { Sharing } from '../../../src/transfer/share.ts';
import { settle } from '../../support/clock.ts';
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

describe('a refusal', () => {
  test.each<[string, Partial<Sharing>, Hash]>([
    ['of what is not there', {}, sha256(Buffer.from('nothing'))],
    ['of what this account may not have', { may: () => false }, sha256(bytes)],
    ['of a request without sealed elements', { plain: () => false }, sha256(bytes)],
    [
      'of a hash that proves nothing',
      {},
      { algorithm: 'sha-1', digest: createHash('sha1').update(bytes).digest() },
    ],
  ])('%s looks the same, and leaves at the same time', async (_what, sharing, hash) => {
    const { clock, fetch, refused, ends } = createHolding(sharing);
    const asked = fetch(hash);
    await clock.advance(499);
    expect(refused).toHaveLength(1);
    expect(ends).toEqual([]);
    await clock.advance(1);
    const { exit, events } = await asked;
    expect(ends).toEqual([500]);
    expect(exit).toBe(9);
    expect(events.at(-1)).toMatchObject({ code: 'peer-file-not-available' });
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
