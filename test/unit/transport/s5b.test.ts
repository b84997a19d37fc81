import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { NetworkInterfaceInfo } from 'node:os';
import xml from '@xmpp/xml';
import { describe, expect, it } from 'vitest';
import { systemClock, type Clock } from '../../../src/core/clock.ts';
import { TransportFailed } from '../../../src/jingle/transport.ts';
import {
  isAllowed,
  localAddresses,
  priority,
  worthTrying,
} from '../../../src/transport/s5b/candidates.ts';
import { dial } from '../../../src/transport/s5b/connector.ts';
import { destination } from '../../../src/transport/s5b/dstaddr.ts';
import { s5b } from '../../../src/transport/s5b/index.ts';
import { Listener } from '../../../src/transport/s5b/listener.ts';
import { NEGOTIATION_TIME } from '../../../src/transport/s5b/negotiation.ts';
import { readInfo, readOffer, S5B } from '../../../src/transport/s5b/stanza.ts';
import { StanzaError } from '../../../src/xmpp/connection.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { connectBoth, openPolicy, pair, readAll } from '../../support/negotiations.ts';
import { createNetwork, parseXml } from '../../support/network.ts';

const PROXY = 'proxy.example.org';

function ends() {
  const network = createNetwork({ clock: systemClock });
  const alice = network.connect('alice@example.org/a');
  const bob = network.connect('bob@example.org/b');
  return { network, alice, bob };
}

/** A proxy in memory; `works` decides whether it can be activated. */
async function withProxy(works: boolean, clock: Clock = systemClock) {
  const { network, alice, bob } = ends();
  const listener = await Listener.open(systemClock);
  const sockets: Socket[] = [];
  const searches: string[] = [];
  network.serve('http://jabber.org/protocol/disco#items', ({ from, payload }) => {
    searches.push(from.local);
    return xml('query', { xmlns: payload.getNS() }, xml('item', { jid: PROXY }));
  });
  network.serve('http://jabber.org/protocol/disco#info', ({ payload }) =>
    xml(
      'query',
      { xmlns: payload.getNS() },
      xml('identity', { category: 'proxy', type: 'bytestreams' }),
    ),
  );
  network.serve('http://jabber.org/protocol/bytestreams', ({ type, payload }) => {
    if (type === 'get')
      return xml(
        'query',
        { xmlns: payload.getNS() },
        xml('streamhost', { jid: PROXY, host: '127.0.0.1', port: String(listener.port) }),
      );
    const [one, two] = sockets;
    if (!works || one === undefined || two === undefined)
      throw new StanzaError('cancel', 'not-allowed');
    one.pipe(two).pipe(one);
    return undefined;
  });
  const policy = { ...openPolicy, kinds: new Set(['proxy'] as const) };
  const sides = await pair(s5b, [alice, bob], clock, [policy, policy]);
  const sid = /sid="([^"]+)"/.exec(sides.offer)?.[1] ?? '';
  listener.expect([destination(sid, alice.jid, bob.jid)], (socket) => sockets.push(socket));
  return { ...sides, listener, searches };
}

describe('negotiation', () => {
  it('makes a direct stream, half-open', async () => {
    const { alice, bob } = ends();
    const { initiator, responder } = await pair(s5b, [alice, bob], systemClock);
    const [a, b] = await connectBoth(initiator, responder);
    expect([a.route.kind, b.route.kind]).toEqual(['direct', 'direct']);
    a.duplex.end('from a');
    expect(await readAll(b)).toBe('from a');
    expect(a.taken()).toBe(6);
    b.duplex.end('from b');
    expect(await readAll(a)).toBe('from b');
    await Promise.all([initiator.close(), responder.close()]);
  });

  it('counts as taken only what has left our own buffers', async () => {
    const { alice, bob } = ends();
    const { initiator, responder } = await pair(s5b, [alice, bob], systemClock);
    const [a, b] = await connectBoth(initiator, responder);
    // More than the buffers of the system hold while nobody reads.
    const size = 64 * 1024 * 1024;
    a.duplex.end(Buffer.alloc(size));
    expect(a.taken()).toBe(0);
    await new Promise(setImmediate);
    expect(a.taken()).toBe(size - a.duplex.writableLength);
    expect(a.taken()).toBeLessThan(size);
    b.duplex.resume();
    await once(a.duplex, 'finish');
    expect(a.taken()).toBe(size);
    b.duplex.end();
    await Promise.all([initiator.close(), responder.close()]);
  });

  it('goes through the proxy of the initiator, which the responder does not repeat', async () => {
    const { initiator, responder, answer, listener } = await withProxy(true);
    expect(answer).not.toContain('candidate');
    const [a, b] = await connectBoth(initiator, responder);
    expect(a.route).toEqual({ kind: 'proxy', via: PROXY });
    b.duplex.end('through');
    expect(await readAll(a)).toBe('through');
    await Promise.all([initiator.close(), responder.close()]);
    listener.close();
  });

  it('fails on both sides when the proxy cannot be activated', async () => {
    const { initiator, responder, listener } = await withProxy(false);
    const { signal } = new AbortController();
    const results = await Promise.allSettled([
      initiator.connect(signal),
      responder.connect(signal),
    ]);
    for (const result of results)
      expect(result).toMatchObject({
        status: 'rejected',
        reason: expect.any(TransportFailed) as unknown,
      });
    listener.close();
  });

  it.each([
    [true, []],
    [false, ['alice', 'bob']],
  ])('leaves the proxies that are known alone where they work: %s', async (works, again) => {
    const clock = new FakeClock();
    const { initiator, responder, listener, searches } = await withProxy(works, clock);
    expect(searches.splice(0)).toEqual(['alice', 'bob']);
    await clock.advance(60_000);
    const { signal } = new AbortController();
    await Promise.allSettled([initiator.connect(signal), responder.connect(signal)]);
    await settle();
    expect(searches.sort()).toEqual(again);
    await Promise.all([initiator.close(), responder.close()]);
    listener.close();
  });

  it('shows and tries no address under --no-direct', async () => {
    const { alice, bob } = ends();
    const policy = { ...openPolicy, direct: false };
    const { initiator, responder, offer } = await pair(s5b, [alice, bob], systemClock, [
      policy,
      openPolicy,
    ]);
    expect(offer).not.toContain('candidate');
    const { signal } = new AbortController();
    const results = await Promise.allSettled([
      initiator.connect(signal),
      responder.connect(signal),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await responder.close();
  });

  it('takes what the peer reached before it connects itself', async () => {
    const { alice, bob } = ends();
    const { initiator, responder } = await pair(s5b, [alice, bob], systemClock);
    const { signal } = new AbortController();
    const told = new Promise<void>((resolve) => {
      const info = initiator.info.bind(initiator);
      initiator.info = (transport) => {
        info(transport);
        resolve();
      };
    });
    const waiting = responder.connect(signal);
    await told;
    const [a, b] = [await initiator.connect(signal), await waiting];
    a.duplex.end('bytes');
    expect(await readAll(b)).toBe('bytes');
    await Promise.all([initiator.close(), responder.close()]);
  });

  it('keeps few connections that the peer opens, and takes no answer for another stream', async () => {
    const { alice, bob } = ends();
    const { initiator, responder, offer } = await pair(s5b, [alice, bob], systemClock);
    const [, sid = ''] = /sid="([^"]+)"/.exec(offer) ?? [];
    const [, port = ''] = / port="([^"]+)"/.exec(offer) ?? [];
    const dialling = { clock: systemClock, socks: undefined, loopback: true };
    const { signal } = new AbortController();
    const knock = () =>
      dial(
        dialling,
        { host: '127.0.0.1', port: Number(port) },
        destination(sid, bob.jid, alice.jid),
        signal,
      );
    const kept: Socket[] = [];
    for (let n = 0; n < 16; n++) kept.push(await knock());
    const more = await knock().catch(() => undefined);
    // Half-open: it is for this side to close it, too.
    if (more?.closed === false && !more.readableEnded) await once(more.resume(), 'end');
    more?.destroy();
    expect(kept.some(({ destroyed }) => destroyed)).toBe(false);
    const answer = xml('transport', { xmlns: S5B, sid: 'another' });
    expect(() => initiator.remote(answer)).toThrow('another sid');
    for (const socket of kept) socket.destroy();
    await Promise.all([initiator.close(), responder.close()]);
  });

  it('is given up in time when the peer says nothing', async () => {
    const { alice, bob } = ends();
    const clock = new FakeClock();
    const policy = { ...openPolicy, direct: false, kinds: new Set(['direct'] as const) };
    const { initiator, responder } = await pair(s5b, [alice, bob], clock, [policy, policy]);
    let over = false;
    const ended = initiator.connect(new AbortController().signal).finally(() => (over = true));
    const failed = expect(ended).rejects.toBeInstanceOf(TransportFailed);
    await clock.advance(NEGOTIATION_TIME - 1);
    expect(over).toBe(false);
    await clock.advance(1);
    await failed;
    await responder.close();
  });

  it('ends with the reason of an abort', async () => {
    const { alice, bob } = ends();
    const { initiator, responder } = await pair(s5b, [alice, bob], systemClock);
    const abort = new AbortController();
    const failed = expect(initiator.connect(abort.signal)).rejects.toThrow('stop');
    abort.abort(new Error('stop'));
    await failed;
    await responder.close();
  });
});

describe('candidates', () => {
  const info = (address: string, internal = false) =>
    ({
      address,
      internal,
      family: address.includes(':') ? 'IPv6' : 'IPv4',
    }) as NetworkInterfaceInfo;
  const interfaces = {
    lo: [info('127.0.0.1', true), info('::1', true)],
    eth0: [info('2001:db8::1'), info('192.0.2.1'), info('fe80::1'), info('169.254.0.9')],
    docker0: [info('172.17.0.1')],
    wlan0: [info('192.0.2.1')],
  };
  it('are the addresses of real interfaces', () => {
    expect(localAddresses(interfaces, openPolicy, false)).toEqual(['192.0.2.1', '2001:db8::1']);
    expect(localAddresses(interfaces, openPolicy, false, '2001:db8::1')[0]).toBe('2001:db8::1');
    expect(localAddresses(interfaces, { allInterfaces: true }, false)).toContain('172.17.0.1');
    expect(localAddresses(interfaces, openPolicy, true)).toContain('127.0.0.1');
  });
  it('are ranked as the specification says', () => {
    expect(priority('direct', 0)).toBe(8_257_536);
    expect(priority('proxy', 0xffff)).toBeLessThan(priority('tunnel', 0));
  });
  it('of the peer are tried only where the policy and good sense allow', () => {
    const one = {
      cid: '1',
      host: '127.0.0.1',
      port: 1,
      jid: 'a@b',
      priority: 1,
      type: 'direct' as const,
    };
    expect(worthTrying([one], openPolicy, false)).toEqual([]);
    expect(worthTrying([one], openPolicy, true)).toEqual([one]);
    expect(worthTrying([one], { ...openPolicy, direct: false }, true)).toEqual([]);
    const other = { ...one, host: '192.0.2.1' };
    for (const host of [
      'localhost',
      'LOCALHOST.',
      'x.localhost',
      '169.254.1.1',
      '::ffff:127.0.0.1',
    ])
      expect(worthTrying([{ ...one, host }, other], openPolicy, false)).toEqual([other]);
    // Only what may be used at all, and where nothing is direct only our own server's proxies.
    const proxy = { ...other, type: 'proxy' as const };
    const proxies = { ...openPolicy, kinds: new Set(['proxy'] as const) };
    expect(worthTrying([other, proxy], proxies, false)).toEqual([proxy]);
    const indirect = { ...openPolicy, direct: false };
    expect(worthTrying([other, proxy], indirect, false)).toEqual([]);
    expect(worthTrying([other, proxy], indirect, false, [proxy])).toEqual([proxy]);
    const many = Array.from({ length: 30 }, (_, n) => ({ ...other, cid: `${n}`, priority: n }));
    const tried = worthTrying(many, openPolicy, false);
    expect([tried.length, tried[0]?.priority]).toEqual([24, 29]);
    for (const address of ['0.0.0.0', '::', 'ff02::1', '::ffff:127.0.0.1', 'fe80::1%eth0', 'name'])
      expect(isAllowed(address, false)).toBe(false);
  });
});

describe('elements', () => {
  const offer = (attrs: string) =>
    parseXml(
      `<transport xmlns='${S5B}' sid='s'><candidate cid='c' host='h' jid='a@b' port='1' priority='1' ${attrs}/></transport>`,
    );
  it('are read', () => {
    expect(readOffer(offer("type='proxy'")).candidates[0]).toMatchObject({
      cid: 'c',
      type: 'proxy',
      port: 1,
    });
    expect(
      readInfo(parseXml(`<transport xmlns='${S5B}' sid='s'><candidate-error/></transport>`), 's'),
    ).toEqual({ kind: 'candidate-error' });
  });
  it('leave out addresses with a zone, which mean something on one machine alone', () => {
    const zoned = `<candidate cid='z' host='fe80::1%eth0' jid='a@b' port='1' priority='1'/>`;
    const text = offer('').toString().replace('<candidate', `${zoned}<candidate`);
    expect(readOffer(parseXml(text)).candidates.map(({ cid }) => cid)).toEqual(['c']);
  });
  it.each(["type='x'"])('are refused with %s', (attrs) => {
    expect(() => readOffer(offer(attrs))).toThrow(StanzaError);
  });
  it.each([
    ["port='1'", "port='65536'"],
    ["host='h'", "host='a b'"],
    ["priority='1'", "priority='2147483648'"],
    ["priority='1'", "priority='-1'"],
    ["jid='a@b'", "jid='@'"],
    ["cid='c'", "cid=''"],
  ])('are refused with another %s: %s', (good, evil) => {
    const text = `<transport xmlns='${S5B}' sid='s'><candidate cid='c' host='h' jid='a@b' port='1' priority='1'/></transport>`;
    expect(() => readOffer(parseXml(text.replace(good, evil)))).toThrow(StanzaError);
  });
});
