/** Between the users of two servers that federate: real processes, real servers, a proxy on each side. */
import { createHash } from 'node:crypto';
import { readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startFederation, type Federation } from '../support/federation.ts';
import { interruptMidway, waitsForAny } from '../support/interrupting.ts';
import type { JetProcess } from '../support/jet.ts';
import { ended, noise, type Ended, type Pair } from '../support/pair.ts';
import { terminate } from '../support/people.ts';
import { hasProsody } from '../support/prosody.ts';

const present = await hasProsody();
const SIZE = 300_001;

describe.skipIf(!present)('two servers that know each other', () => {
  let federation: Federation;
  let pair: Pair;
  beforeAll(async () => {
    federation = await startFederation();
    pair = await federation.pair();
  });
  afterAll(async () => {
    await pair.remove();
    await federation.stop();
  });

  /** Which way, how that is forced, and whose proxy it leads through. */
  const routes: [string, { alice: string[]; bob: string[] }, object][] = [
    ['direct', both('--route', 'direct'), { kind: 'direct' }],
    ['proxy of alice', oneProxy('alice'), { kind: 'proxy', via: 'proxy.north.test' }],
    ['proxy of bob', oneProxy('bob'), { kind: 'proxy', via: 'proxy.south.test' }],
    ['ibb', both('--route', 'ibb'), { kind: 'ibb' }],
  ];

  it.each(routes)('carry an offer: %s', async (name, { alice, bob }, route) => {
    const content = noise(SIZE);
    const file = await pair.file(`offer ${name}.bin`, content);
    const { sent, received } = await pair.exchange(file, { send: alice, receive: bob });
    await landed({ sent, received }, route, join(pair.out, `offer ${name}.bin`), content);
  });

  it.each(routes)('carry a request: %s', async (name, { alice, bob }, route) => {
    const content = noise(SIZE);
    const file = await pair.file(`request ${name}.bin`, content);
    const old = new Date(Date.now() - 60_000);
    await utimes(file, old, old);
    // It is bob who fetches: the routes are then forced as they are for an offer of alice's.
    const sharing = await share(file, alice);
    const hash = createHash('sha256').update(content).digest('hex');
    const target = join(pair.out, `fetched ${name}.bin`);
    const got = await ended(
      pair.bob.start([
        'fetch',
        '--json',
        ...bob,
        '--out',
        target,
        `sha-256:${hash}`,
        pair.alice.jid,
      ]),
    );
    await sharing.said(/"event":"end"/);
    expect(await terminate(sharing)).toBe(0);
    await landed({ sent: await ended(sharing), received: got }, route, target, content);
  });

  it.each(['alice', 'bob'] as const)('carry a resume of %s', async (who) => {
    const name = `resumed by ${who}.bin`;
    const content = noise(6_000_000);
    await interruptMidway(pair, await pair.file(name, content), 'sender');
    const [here, there] = who === 'alice' ? [pair.alice, pair.bob] : [pair.bob, pair.alice];
    const waiting = await waitsForAny(there, pair.out);
    const resumed = await ended(here.start(['resume', '--json']));
    expect(resumed, resumed.stderr).toMatchObject({ status: 0 });
    const { stderr } = resumed;
    expect(resumed.event('start')?.['resumed_from'], stderr).toBeGreaterThan(1_000_000);
    expect(resumed.event('end')).toMatchObject({ status: 'verified', bytes: content.length });
    expect(await terminate(waiting)).toBe(0);
    expect((await readFile(join(pair.out, name))).equals(content)).toBe(true);
  });

  /** Starts `jet share` for bob; resolves when it waits. */
  async function share(file: string, args: readonly string[]): Promise<JetProcess> {
    const process = pair.alice.start(['share', '--json', ...args, file, '--to', pair.bob.jid]);
    await process.said(/"event":"(?:waiting|sharing|shared)"|jet fetch/);
    return process;
  }

  it('believe each other by certificates alone', async () => {
    for (const server of [federation.alices, federation.bobs]) {
      const log = await server.logText();
      expect(log).toMatch(/s2s\w*\s.*(?:authenticated|now authenticated|EXTERNAL)/i);
      expect(log).not.toMatch(/db:result|dialback key/);
    }
  });
});

/** The same for both sides. */
function both(...args: string[]): { alice: string[]; bob: string[] } {
  return { alice: args, bob: args };
}

/** Only this side's proxy can be used: who goes nowhere directly uses its own alone. */
function oneProxy(whose: 'alice' | 'bob'): { alice: string[]; bob: string[] } {
  const [own, other] = [
    ['--no-direct', '--route', 'proxy'],
    ['--route', 'proxy'],
  ];
  return whose === 'alice' ? { alice: own, bob: other } : { alice: other, bob: own };
}

/** That both sides say `verified`, went this way, and the file is whole. */
async function landed(
  { sent, received }: { readonly sent: Ended; readonly received: Ended },
  route: object,
  path: string,
  content: Buffer,
): Promise<void> {
  const told = sent.stderr + received.stderr;
  expect([sent.status, received.status], told).toEqual([0, 0]);
  for (const side of [sent, received]) {
    expect(side.event('start')?.['route'], told).toMatchObject(route);
    expect(side.event('end'), told).toMatchObject({ status: 'verified', bytes: content.length });
  }
  expect((await readFile(path)).equals(content)).toBe(true);
}
