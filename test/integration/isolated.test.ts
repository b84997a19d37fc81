/** Two hosts whose network is truly cut: what the server's proxy, its stream and one open way are good for. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { JetHome } from '../support/jet.ts';
import { canIsolate, makeHosts, type Host, type Hosts } from '../support/namespaces.ts';
import { ended, makePair, noise, type Pair } from '../support/pair.ts';
import { startProsody, type Prosody } from '../support/prosody.ts';
import { startRelay, type Relay } from '../support/relay.ts';

describe.skipIf(!canIsolate())('two hosts without a network between them', () => {
  let hosts: Hosts;
  let server: Prosody;
  let relays: { readonly stream: Relay; readonly proxy: Relay };
  let pair: Pair;

  beforeAll(async () => {
    hosts = makeHosts();
    const { hub } = hosts;
    server = await startProsody({ proxyAddress: hub });
    const relay = (port: number) => startRelay({ host: hub, port }, { host: '127.0.0.1', port });
    relays = { stream: await relay(server.port), proxy: await relay(server.proxyPort) };
  });

  beforeEach(async () => {
    pair = await makePair(server);
    return () => pair.remove();
  });

  afterAll(async () => {
    await Promise.all([relays.stream.stop(), relays.proxy.stop()]);
    await server.stop();
    hosts.remove();
  });

  const at = ({ prefix }: Host) => ({
    prefix,
    env: { JET_SERVER: `${hosts.hub}:${server.port}` },
  });

  /** One file between the two, either way. */
  async function move(from: [JetHome, Host], to: [JetHome, Host]) {
    const content = noise(300_000);
    const file = await pair.file('across.bin', content);
    const receive = ['receive', '--yes', '--once', '--json', '--out', pair.out];
    const receiver = to[0].start([...receive, '--on-conflict', 'overwrite'], at(to[1]));
    const sender = from[0].start(['send', '--json', file, to[0].jid], at(from[1]));
    const [sent, received] = await Promise.all([ended(sender), ended(receiver)]);
    expect(sent.status, sent.stderr).toBe(0);
    expect(received.status, received.stderr).toBe(0);
    expect((await readFile(join(pair.out, 'across.bin'))).equals(content)).toBe(true);
    return [sent.event('start')?.['route'], received.event('start')?.['route']];
  }

  test('only the proxy is in reach of both: it is what carries the bytes', async () => {
    const before = relays.proxy.connections().length;
    const routes = await move([pair.alice, hosts.a], [pair.bob, hosts.b]);
    const proxy = { kind: 'proxy', via: 'proxy.jet.test' };
    expect(routes).toEqual([proxy, proxy]);
    expect(relays.proxy.connections().length).toBeGreaterThanOrEqual(before + 2);
  });

  test('one side is out of reach: its own connection to the other is the direct route, whoever sends', async () => {
    const { to, from } = hosts.open();
    const [ofA, ofB] = [
      { kind: 'direct', via: to },
      { kind: 'direct', via: from },
    ];
    const { a, b } = hosts;
    expect(await move([pair.alice, a], [pair.bob, b])).toEqual([ofA, ofB]);
    expect(await move([pair.bob, b], [pair.alice, a])).toEqual([ofB, ofA]);
  });
});

describe.skipIf(!canIsolate())('two hosts that reach nothing but the server itself', () => {
  test('the bytes go in-band', async () => {
    const hosts = makeHosts();
    const server = await startProsody({ proxyAddress: hosts.hub });
    const stream = await startRelay(
      { host: hosts.hub, port: server.port },
      { host: '127.0.0.1', port: server.port },
    );
    const pair = await makePair(server);
    try {
      const content = noise(100_000);
      const file = await pair.file('in-band.bin', content);
      const env = { JET_SERVER: `${hosts.hub}:${server.port}` };
      const receiver = pair.bob.start(['receive', '--yes', '--once', '--json', '--out', pair.out], {
        env,
        prefix: hosts.b.prefix,
      });
      const sender = pair.alice.start(['send', '--json', file, pair.bob.jid], {
        env,
        prefix: hosts.a.prefix,
      });
      const [sent, received] = await Promise.all([ended(sender), ended(receiver)]);
      expect(sent.status, sent.stderr).toBe(0);
      expect([sent.route, received.route]).toEqual(['ibb', 'ibb']);
      expect((await readFile(join(pair.out, 'in-band.bin'))).equals(content)).toBe(true);
    } finally {
      await pair.remove();
      await stream.stop();
      await server.stop();
      hosts.remove();
    }
  });
});
