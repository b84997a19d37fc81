/** Asking and serving in plain XEP-0391 §4.2, both sides in this process: what is answered, when, and how often. */
import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { defaultCiphers } from '../../../src/jet/ciphers.ts';
import { EnvelopeRegistry } from '../../../src/jet/envelope.ts';
import { stubEnvelope } from '../../../src/jet/stub-envelope.ts';
import type { Hash } from '../../../src/jingle/hashes.ts';
import { JINGLE } from '../../../src/jingle/stanza.ts';
import { Sessions } from '../../../src/jingle/sessions.ts';
import { TransportRegistry } from '../../../src/jingle/transport.ts';
import type { TransferEvent } from '../../../src/transfer/events.ts';
import { fetchFile } from '../../../src/transfer/fetch.ts';
import { memoryBytes, memoryTarget } from '../../../src/transfer/listing.ts';
import { Holder, type Sharing } from '../../../src/transfer/share.ts';
import { ibb } from '../../../src/transport/ibb/index.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { openPolicy } from '../../support/negotiations.ts';
import { testRecords } from '../../support/records.ts';
import { createNetwork } from '../../support/network.ts';

const bytes = randomBytes(50_000);
const sha256 = (of: Buffer): Hash => ({
  algorithm: 'sha-256',
  digest: createHash('sha256').update(of).digest(),
});

function scene(sharing: Partial<Sharing> = {}) {
  const clock = new FakeClock();
  const network = createNetwork({ clock });
  const side = (address: string) => {
    const connection = network.connect(address);
    connection.audience = () => true;
    const transports = new TransportRegistry();
    transports.register(ibb());
    const envelopes = new EnvelopeRegistry();
    envelopes.register(stubEnvelope);
    const log = () => undefined;
    const sessions = new Sessions({ connection, clock, log });
    const ciphers = defaultCiphers();
    const records = testRecords(clock);
    const policy = openPolicy;
    return { connection, clock, transports, envelopes, ciphers, log, sessions, policy, records };
  };
  const [alice, bob] = [side('alice@a.test/one'), side('bob@b.test/two')];
  const refused: string[] = [];
  const taken: boolean[] = [];
  const holder = new Holder(bob, {
    may: () => true,
    plain: () => true,
    resumes: () => false,
    find: ({ file }) =>
      Promise.resolve(
        file.hashes.some(({ digest }) => digest.equals(sha256(bytes).digest))
          ? {
              file: { name: 'held.bin', size: bytes.length, hashes: [], hashUsed: [] },
              sha256: sha256(bytes).digest,
              open: () => Promise.resolve(memoryBytes(bytes)),
            }
          : undefined,
      ),
    on: () => undefined,
    ended: (_exit, was) => void taken.push(was),
    refused: (_peer, why) => void refused.push(why),
    ...sharing,
  });
  bob.sessions.onInitiate((incoming) => holder.handle(incoming));
  const fetch = async (hash: Hash, size = bytes.length) => {
    const target = memoryTarget(size);
    const events: TransferEvent[] = [];
    const exit = await fetchFile(alice, {
      to: bob.connection.jid,
      envelope: stubEnvelope,
      request: { file: { hashes: [hash], hashUsed: [] }, list: false },
      label: 'wanted',
      target: () => Promise.resolve(target),
      answerMs: 60_000,
      on: (event) => void events.push(event),
      signal: new AbortController().signal,
    });
    return { exit, events, got: target.bytes() };
  };
  /** Session-terminates that alice got, with when. */
  const ends: number[] = [];
  network.tap((stanza) => {
    const jingle = stanza.getChild('jingle', JINGLE);
    if (jingle?.attrs['action'] === 'session-terminate' && stanza.attrs['type'] === 'set')
      ends.push(clock.monotonic());
    return undefined;
  });
  return { clock, fetch, refused, taken, ends };
}

test('a plain request by hash is served, and proven by the hash that was asked for', async () => {
  const { fetch, taken } = scene();
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
  const { fetch } = scene({ find });
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
    const { clock, fetch, refused, ends } = scene(sharing);
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

  test('that takes long to find out leaves half a second later, never in between', async () => {
    const slow = scene({
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
    const { clock, fetch, refused } = scene();
    const nothing = sha256(Buffer.from('nothing'));
    const ask = async () => {
      const asked = fetch(nothing);
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
    await clock.advance(60_000);
    await ask();
    expect(refused.at(-1)).toBe('what it asked for is not shared');
  });
});
