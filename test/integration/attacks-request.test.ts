/** A hostile server between one who shares and one who fetches, or who only meant to send. */
import { createHash } from 'node:crypto';
import { readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Element } from '../../src/xmpp/xml.ts';
import {
  all,
  clear,
  copy,
  flipBit,
  GUARD_MS,
  inside,
  jingleOf,
  replace,
  strike,
  strikeBack,
  strip,
} from '../support/hostile.ts';
import type { JetProcess } from '../support/jet.ts';
import { ended, linesOf, makePair, noise, type Ended, type Pair } from '../support/pair.ts';
import { hasProsody, startProsody, type Prosody } from '../support/prosody.ts';
import { RewritingRelay, type Rewrite } from '../support/rewriting-relay.ts';

// Many processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 400_000 });

const SECRET = noise(30_000);
const HASH = createHash('sha256').update(SECRET).digest('hex');
const present = await hasProsody();

describe.skipIf(!present)('a file that is shared with alice', () => {
  let server: Prosody;
  let relay: RewritingRelay;
  let pair: Pair;
  let sharing: JetProcess;

  beforeAll(async () => {
    server = await startProsody({ without: ['smacks'] });
    relay = await RewritingRelay.start(server);
    pair = await makePair(server, relay.at);
    const path = await pair.file('secret.bin', SECRET);
    const old = new Date(Date.now() - 60_000);
    await utimes(path, old, old);
    sharing = pair.bob.start(['share', '--json', path, '--to', pair.alice.jid], {
      guard: GUARD_MS,
    });
    await sharing.said(/"event":"waiting","id":"[^"]*","time":\d+,"what":"requests/);
    // Both know each other as jets from here on.
    const { status, stderr } = await fetched(`first`);
    expect(status, stderr).toBe(0);
  });
  afterAll(async () => {
    sharing.child.kill('SIGTERM');
    expect((await sharing.ended).status).toBe(0);
    await pair.remove();
    await relay.stop();
    await server.stop();
  });

  async function fetched(name: string): Promise<Ended & { readonly path: string }> {
    const path = join(pair.alice.home, name);
    const fetch = pair.alice.start(['fetch', '--json', '--out', path, HASH, pair.bob.jid]);
    return { ...(await ended(fetch)), path };
  }

  /** What bob's jet said since `from`. */
  const heard = (from: readonly [number, number]) => ({
    events: linesOf(sharing.stdout.slice(from[0])),
    stderr: sharing.stderr.slice(from[1]),
  });
  const now = () => [sharing.stdout.length, sharing.stderr.length] as const;

  /** Fetches under attack: nothing lands under the name, and nobody says verified. */
  async function attacked(rewrite: Rewrite, statuses: readonly number[]): Promise<string> {
    const before = now();
    relay.reset();
    relay.rewrite = rewrite;
    const name = `attacked-${before[0]}`;
    try {
      const { status, stdout, stderr } = await fetched(name);
      expect(statuses, stdout + stderr).toContain(status);
      expect(stdout + stderr).not.toMatch(/"status":"verified"|: verified/);
      expect((await readdir(pair.alice.home)).filter((one) => one.startsWith(name))).toEqual([]);
      const { events, stderr: said } = heard(before);
      expect(events.filter((event) => event['status'] === 'verified')).toEqual([]);
      return stderr + said;
    } finally {
      relay.reset();
    }
  }

  test('stays out of the sight of the servers: neither name, size nor hash is said', async () => {
    relay.reset();
    const { status, path } = await fetched('hidden');
    expect([status, path !== '']).toEqual([0, true]);
    expect(relay.seen).toContain('session-initiate');
    const forms = [HASH, Buffer.from(HASH, 'hex').toString('base64'), 'secret.bin', '>30000<'];
    expect(forms.filter((text) => relay.seen.includes(text))).toEqual([]);
  });

  test('is not had by turning a file that alice offers into a request', async () => {
    const before = now();
    const plan = await pair.file('plan.bin', noise(5_000));
    relay.rewrite = (stanza, { account, direction }) => {
      // Alice is told that whoever shares takes files, too.
      if (account.startsWith('alice') && direction === 'down') {
        if (stanza.getChild('c', 'http://jabber.org/protocol/caps')) strip(stanza, 'c');
        for (const field of all(stanza, 'field'))
          if (field.attrs['var'] === 'waits-for') inside(field, 'value').children = ['offer'];
      }
      const bobs = account.startsWith('bob') && direction === 'down';
      const jingle = bobs ? jingleOf(stanza, 'session-initiate') : undefined;
      if (jingle === undefined) return stanza;
      inside(jingle, 'content').attrs['senders'] = 'responder';
      inside(jingle, 'sealed').attrs['label'] = 'request';
      return stanza;
    };
    const sent = await ended(pair.send(plan));
    relay.reset();
    expect(sent.status, sent.stderr).toBe(9);
    await sharing.said(/Refused a request/);
    const { events, stderr } = heard(before);
    expect(stderr).toMatch(/Refused a request of alice\d+@jet\.test: .*not what the peer sealed/);
    expect(events.filter(({ event }) => event === 'start' || event === 'end')).toEqual([]);
  });

  const initiate = (change: (jingle: Element) => void) => strike('session-initiate', change);
  const accept = (change: (jingle: Element) => void) => strikeBack('session-accept', change);

  test.each<[string, () => Rewrite, readonly number[]]>([
    ['loses its seal', () => initiate((jingle) => strip(jingle, 'sealed')), [9]],
    [
      'is asked for in the clear in its place',
      () =>
        initiate((jingle) => {
          strip(jingle, 'sealed');
          const digest = Buffer.from(HASH, 'hex').toString('base64');
          const hash = clear('hash', digest);
          hash.attrs['xmlns'] = 'urn:xmpp:hashes:2';
          hash.attrs['algo'] = 'sha-256';
          inside(jingle, 'file').append(hash);
        }),
      [9],
    ],
    ['is changed by a bit', () => initiate((jingle) => flipBit(inside(jingle, 'sealed'))), [9]],
    [
      'is called an offer',
      () =>
        initiate((jingle) => {
          inside(jingle, 'content').attrs['senders'] = 'initiator';
          inside(jingle, 'sealed').attrs['label'] = 'offer';
        }),
      [6, 7, 9],
    ],
  ])('is not had by a request that %s', async (_what, rewrite, statuses) => {
    await attacked(rewrite(), statuses);
  });

  test.each<[string, () => Rewrite]>([
    ['loses its seal', () => accept((jingle) => strip(jingle, 'sealed'))],
    ['is changed by a bit', () => accept((jingle) => flipBit(inside(jingle, 'sealed')))],
    [
      'is called another',
      () => accept((jingle) => (inside(jingle, 'sealed').attrs['label'] = 'checksum')),
    ],
  ])('is not taken after an accept that %s', async (_what, rewrite) => {
    expect(await attacked(rewrite(), [6])).toMatch(/sealed/);
  });

  test('is not taken after the accept of another session', async () => {
    let old: Element | undefined;
    relay.rewrite = accept((jingle) => {
      old = copy(inside(jingle, 'sealed'));
    });
    expect((await fetched('recorded')).status).toBe(0);
    const recorded = old;
    if (recorded === undefined) throw new Error('nothing was recorded');
    await attacked(
      accept((jingle) => replace(inside(jingle, 'sealed'), recorded)),
      [6],
    );
  });

  test('is sent once for a request that is repeated', async () => {
    const before = now();
    let first: Element | undefined;
    relay.rewrite = strike('session-initiate', (_jingle, stanza) => {
      first ??= copy(stanza);
    });
    expect((await fetched('once')).status).toBe(0);
    const recorded = first;
    if (recorded === undefined) throw new Error('nothing was recorded');
    // The old request comes again in the place of the next one, under its session.
    relay.rewrite = strike('session-initiate', (jingle) => {
      const old = inside(recorded, 'security');
      replace(inside(jingle, 'security'), copy(old));
    });
    const { status } = await fetched('twice');
    relay.reset();
    expect(status).toBe(9);
    expect(heard(before).events.filter(({ event }) => event === 'start')).toHaveLength(1);
    expect(heard(before).stderr).toMatch(/Refused a request/);
  });

  test('counts as taken only with a receipt', async () => {
    const before = now();
    relay.rewrite = (stanza, way) => {
      const down = way.account.startsWith('bob') && way.direction === 'down';
      const jingle = down ? jingleOf(stanza) : undefined;
      if (jingle && all(jingle, 'received').length > 0) strip(jingle, 'received');
      return stanza;
    };
    const { status } = await fetched('unsaid');
    relay.reset();
    expect(status).toBe(0);
    await sharing.said(/no-receipt/);
    const end = heard(before).events.find(({ event }) => event === 'end');
    expect(end).toMatchObject({ status: 'failed', exit: 6 });
  });
});
