/** Which way the bytes go, by real processes over a real server. */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ended, linesOf, makePair, noise, type Pair } from '../support/pair.ts';
import { hasProsody, startProsody, type Prosody } from '../support/prosody.ts';
import { edit } from '../support/stored.ts';

const present = await hasProsody();

/**
 * Listens on a port below those that the system hands out: once it is free again, no other program gets it
 * by chance.
 */
async function takePort(): Promise<{ readonly taken: Server; readonly port: number }> {
  for (;;) {
    const port = randomInt(10_000, 30_000);
    const taken = createServer().listen(port, '::');
    const free = await once(taken, 'listening').then(
      () => true,
      () => false,
    );
    if (free) return { taken, port };
  }
}

/** Moves one file and checks that it landed whole; gives both sides' routes. */
async function routes(
  pair: Pair,
  args: { send?: string[]; receive?: string[] },
  size = 300_001,
): Promise<[string | undefined, string | undefined]> {
  const content = noise(size);
  const { sent, received } = await pair.exchange(await pair.file('file.bin', content), args);
  expect([sent.status, received.status], sent.stderr + received.stderr).toEqual([0, 0]);
  expect(sent.event('end')).toMatchObject({ status: 'verified', bytes: size });
  expect(received.event('end')).toMatchObject({ status: 'verified', bytes: size });
  expect(await readFile(join(pair.out, 'file.bin'))).toEqual(content);
  expect(await pair.landed()).toEqual(['file.bin']);
  return [sent.route, received.route];
}

describe.skipIf(!present)('routes over a server with a proxy', () => {
  let server: Prosody;
  let pair: Pair;
  beforeAll(async () => {
    server = await startProsody();
  });
  afterAll(() => server.stop());

  const both = (...args: string[]) => ({ send: args, receive: args });
  it.each([
    ['direct where nothing is said', {}, 'direct'],
    ['direct where both force it', both('--route', 'direct'), 'direct'],
    ['proxy where both force it', both('--route', 'proxy'), 'proxy'],
    ['ibb where both force it', both('--route', 'ibb'), 'ibb'],
    ['proxy where the sender forces it', { send: ['--route', 'proxy'] }, 'proxy'],
    ['ibb where the sender forces it', { send: ['--route', 'ibb'] }, 'ibb'],
    ['proxy where the receiver forces it', { receive: ['--route', 'proxy'] }, 'proxy'],
    ['ibb where the receiver forces it', { receive: ['--route', 'ibb'] }, 'ibb'],
    ['proxy where neither goes direct', both('--no-direct'), 'proxy'],
    ['proxy where the sender does not go direct', { send: ['--no-direct'] }, 'proxy'],
    ['proxy where the receiver does not go direct', { receive: ['--no-direct'] }, 'proxy'],
  ])('%s', async (_, args, kind) => {
    pair = await makePair(server);
    expect(await routes(pair, args)).toEqual([kind, kind]);
    await pair.remove();
  });

  it('listens only on the ports that it may, and does without a listener where they are taken', async () => {
    pair = await makePair(server);
    const { taken, port } = await takePort();
    const file = await pair.file('file.bin', noise(10));
    const args = { send: ['--ports', String(port), '--verbose'], receive: ['--route', 'direct'] };
    const offered = (told: string) =>
      new RegExp(
        `port=["']${port}["'][^>]*type=["']direct|type=["']direct["'][^>]*port=["']${port}["']`,
      ).test(told);
    const without = await pair.exchange(file, args);
    expect([without.sent.status, offered(without.sent.stderr)]).toEqual([0, false]);
    taken.close();
    await once(taken, 'close');
    const within = await pair.exchange(file, args);
    expect([within.sent.status, offered(within.sent.stderr)]).toEqual([0, true]);
    await pair.remove();
  });

  it('says what the route leads through', async () => {
    pair = await makePair(server);
    const file = await pair.file('file.bin', noise(10));
    const viaProxy = await pair.exchange(file, { send: ['--route', 'proxy'] });
    expect(viaProxy.sent.event('start')?.['route']).toEqual({
      kind: 'proxy',
      via: `proxy.${server.domain}`,
    });
    const direct = await pair.exchange(file);
    expect(direct.sent.event('start')?.['route']).toMatchObject({
      kind: 'direct',
      via: expect.stringMatching(/^(?!::ffff:)[\da-f.:]+$/) as string,
    });
    await pair.remove();
  });

  it('asks for the proxies once, not in each process', async () => {
    pair = await makePair(server);
    /** What both sides asked about proxies. */
    const questions = async () => {
      const file = await pair.file('file.bin', noise(10));
      const verbose = ['--route', 'proxy', '--verbose'];
      const { sent, received } = await pair.exchange(file, { send: verbose, receive: verbose });
      expect([sent.status, received.status, sent.route]).toEqual([0, 0, 'proxy']);
      return [sent, received].map(({ stderr }) =>
        [...stderr.matchAll(/^> <iq type="get".*to="[a-z.]*jet\.test"><query xmlns="(.+?)"/gm)].map(
          ([, namespace]) => namespace?.replace(/.*[/#]/, ''),
        ),
      );
    };
    const lookup = ['items', 'info', 'bytestreams'];
    expect(await questions()).toEqual([lookup, lookup]);
    expect(await questions()).toEqual([[], []]);
    await pair.remove();
  });

  it('gets over a proxy that is no longer where it was', async () => {
    pair = await makePair(server);
    // Nothing direct: each side uses its own server's proxy alone.
    const through = async () => {
      const file = await pair.file('file.bin', noise(10));
      const { sent, received } = await pair.exchange(file, both('--no-direct'));
      expect([sent.status, received.status], sent.stderr + received.stderr).toEqual([0, 0]);
      return sent.route;
    };
    expect(await through()).toBe('proxy');
    const { taken, port } = await takePort();
    taken.close();
    await once(taken, 'close');
    for (const home of [pair.alice, pair.bob])
      edit(home, `UPDATE s5b_proxy SET port = ${port}, since = since - 600000`);
    expect(await through()).toBe('ibb');
    expect(await through()).toBe('proxy');
    await pair.remove();
  });

  it('ends with a sentence where no route is allowed to both', async () => {
    pair = await makePair(server);
    const file = await pair.file('file.bin', noise(10));
    const receiver = pair.receive(['--once', '--route', 'ibb']);
    const sent = await ended(pair.send(file, ['--route', 'direct']));
    receiver.child.kill('SIGTERM');
    await receiver.ended;
    expect(sent.status).toBe(7);
    expect(sent.stderr).toMatch(/route/);
    expect(await pair.landed()).toEqual([]);
    await pair.remove();
  });

  it.each(['direct', 'proxy', 'ibb'])('moves files of every awkward size by %s', async (kind) => {
    pair = await makePair(server);
    const sizes = [0, 1, 15, 16, 17, 4096, 65_535, 65_536, ...(kind === 'ibb' ? [] : [5_000_000])];
    const receiver = pair.receive();
    for (const size of sizes) {
      const content = noise(size);
      const name = `file-${size}.bin`;
      const sent = await ended(pair.send(await pair.file(name, content), ['--route', kind]));
      expect([size, sent.status, sent.route], sent.stderr).toEqual([size, 0, kind]);
      // The farewell is on its way back until the receiver has said the end, too.
      await receiver.said(new RegExp(`"event":"end".*${name}`));
      expect((await readFile(join(pair.out, name))).equals(content), name).toBe(true);
    }
    receiver.child.kill('SIGTERM');
    const received = await ended(receiver);
    expect(received.status).toBe(0);
    const ends = received.events.filter((line) => line['event'] === 'end');
    expect(ends.map((line) => line['status'])).toEqual(sizes.map(() => 'verified'));
    await pair.remove();
  });
});

describe.skipIf(!present)('routes over a server without a proxy, with a limit', () => {
  /** Bytes a second of each stream. */
  const RATE = 10_000;
  let server: Prosody;
  let pair: Pair;
  beforeAll(async () => {
    // The limit that the package's own configuration sets.
    server = await startProsody({ proxy65: false, c2sRate: RATE });
    pair = await makePair(server);
  });
  afterAll(async () => {
    await pair.remove();
    await server.stop();
  });

  it('falls back in-band by transport-replace, and is not cut off for its speed', async () => {
    const size = 50_000;
    const file = await pair.file('limited.bin', noise(size));
    const { sent, received } = await pair.exchange(file, {
      receive: ['--no-direct', '--verbose'],
      send: ['--verbose'],
    });
    expect([sent.route, received.route]).toEqual(['ibb', 'ibb']);
    expect([sent.status, received.status]).toEqual([0, 0]);
    // The limit was in force: base64 needs a third more, and the server lets two seconds' worth through at once.
    const took = Number(sent.event('end')?.['time']) - Number(sent.event('start')?.['time']);
    expect(took).toBeGreaterThan((((size * 4) / 3 - 2 * RATE) / RATE) * 1000);
    // One stream each, from the beginning to the end.
    for (const { stderr } of [sent, received]) expect(stderr).not.toMatch(/^! /m);
    expect(await server.logText()).not.toMatch(
      /policy-violation|exceed|Client disconnected: (?!connection closed)/i,
    );
  });
});

describe.skipIf(!present)('a receiver of many', () => {
  let server: Prosody;
  beforeAll(async () => {
    server = await startProsody();
  });
  afterAll(() => server.stop());

  it('takes three files of one name at once, each under a name of its own', async () => {
    const pair = await makePair(server);
    const receiver = pair.receive();
    await receiver.said(/"event":"waiting"/);
    const contents = [noise(700_000), noise(700_001), noise(700_002)];
    // One folder each: the same name, other bytes.
    const files = await Promise.all(
      contents.map((content, n) => pair.file(`${n}/same.bin`, content)),
    );
    const sent = await Promise.all(files.map((file) => ended(pair.send(file))));
    expect(sent.map(({ status }) => status)).toEqual([0, 0, 0]);
    // The senders know it by the receipts, a moment before the receiver has said its ends.
    const over = () => linesOf(receiver.stdout).filter(({ event }) => event === 'end').length === 3;
    await receiver.until(over, 'three ends');
    receiver.child.kill('SIGTERM');
    await receiver.ended;
    expect((await pair.landed()).sort()).toEqual(['same (1).bin', 'same (2).bin', 'same.bin']);
    const landed = await Promise.all(
      (await pair.landed()).map((name) => readFile(join(pair.out, name))),
    );
    expect(landed.map(({ length }) => length).sort()).toEqual([700_000, 700_001, 700_002]);
    const events = linesOf(receiver.stdout).filter((line) => line['event'] === 'end');
    expect(events.map((line) => line['status'])).toEqual(['verified', 'verified', 'verified']);
    await pair.remove();
  });
});
