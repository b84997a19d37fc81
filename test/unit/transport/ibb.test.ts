import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import xml, { type Element } from '@xmpp/xml';
import { describe, expect, it } from 'vitest';
import { StanzaError } from '../../../src/xmpp/connection.ts';
import { ibb } from '../../../src/transport/ibb/index.ts';
import { readData, readOpen, readTransport } from '../../../src/transport/ibb/stanza.ts';
import { IbbStream } from '../../../src/transport/ibb/stream.ts';
import {
  acknowledged,
  initialWindow,
  MAX_WINDOW,
  refused,
} from '../../../src/transport/ibb/window.ts';
import { address } from '../../support/address.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { connectBoth, pair } from '../../support/negotiations.ts';
import { createNetwork } from '../../support/network.ts';

const IBB = 'http://jabber.org/protocol/ibb';

async function open() {
  const clock = new FakeClock();
  const network = createNetwork({ clock });
  const alice = network.connect('alice@example.org/a');
  const bob = network.connect('bob@example.org/b');
  const mallory = network.connect('mallory@example.org/m');
  for (const end of [alice, bob, mallory]) end.audience = () => true;
  const sides = await pair(ibb, [alice, bob], clock);
  const [a, b] = await connectBoth(sides.initiator, sides.responder);
  const sid = /sid="([^"]+)"/.exec(sides.offer)?.[1] ?? '';
  b.duplex.on('error', () => undefined);
  a.duplex.on('error', () => undefined);
  return { clock, network, alice, bob, mallory, a, b, sid, ...sides };
}

function data(sid: string, seq: number, bytes = 'abcd'): Element {
  return xml('data', { xmlns: IBB, sid, seq: String(seq) }, bytes);
}

describe('in-band stream', () => {
  it.each([0, 1, 16_384, 16_385, 1_000_003])('carries %i bytes each way', async (size) => {
    for (const back of [false, true]) {
      const { a, b } = await open();
      const [from, to] = back ? [b, a] : [a, b];
      const bytes = randomBytes(size);
      from.duplex.end(bytes);
      expect((await buffer(to.duplex)).equals(bytes)).toBe(true);
      await settle();
      expect(from.taken()).toBe(size);
      expect(from.route).toEqual({ kind: 'ibb', via: '' });
    }
  });

  it.each([
    [undefined, 16_384],
    [262_144, 32_768],
    [20_000, 11_264],
    [5_000, 1_024],
    [100, 1_024],
  ])('fits its blocks into what the server states (XEP-0478): %s bytes', async (limit, block) => {
    const clock = new FakeClock();
    const network = createNetwork({ clock });
    const [alice, bob] = [network.connect('a@a.test/a'), network.connect('b@b.test/b')];
    alice.maxStanza = limit;
    for (const end of [alice, bob]) end.audience = () => true;
    const { offer, initiator, responder } = await pair(ibb, [alice, bob], clock);
    expect(offer).toContain(`block-size="${block}"`);
    let longest = 0;
    network.tap((stanza) => {
      longest = Math.max(longest, stanza.toString().length);
      return undefined;
    });
    const [a, b] = await connectBoth(initiator, responder);
    a.duplex.end(randomBytes(100_000));
    expect((await buffer(b.duplex)).length).toBe(100_000);
    // Below a stanza of the smallest block no server is bound to take anything (RFC 6120 §13.12).
    expect(longest).toBeLessThanOrEqual(Math.max(limit ?? 65_536, 10_000));
  });

  it('has several blocks in flight, at most the window', async () => {
    const { a, b, network } = await open();
    let flying = 0;
    let most = 0;
    network.tap((stanza) => {
      if (stanza.getChild('data', IBB) !== undefined) most = Math.max(most, ++flying);
      else if (stanza.attrs['type'] === 'result') flying--;
      return undefined;
    });
    a.duplex.end(randomBytes(2_000_000));
    await buffer(b.duplex);
    expect(most).toBeGreaterThan(2);
    expect(most).toBeLessThanOrEqual(MAX_WINDOW);
  });

  it('holds acknowledgements back while nobody reads', async () => {
    const { a, b } = await open();
    a.duplex.end(randomBytes(3_000_000));
    await settle(200);
    expect(b.duplex.readableLength).toBeLessThan(1_000_000);
    expect(a.taken()).toBeLessThan(1_000_000);
    expect(await buffer(b.duplex)).toHaveLength(3_000_000);
  });

  it.each([
    ['a gap', 1, 'abcd', 'unexpected-request'],
    ['what is not base64', 0, '****', 'bad-request'],
    ['too large a block', 0, randomBytes(16_385).toString('base64'), 'bad-request'],
  ])('refuses %s', async (_, seq, bytes, condition) => {
    const { alice, bob, sid } = await open();
    await expect(alice.iq(bob.jid, 'set', data(sid, seq, bytes))).rejects.toMatchObject({
      condition,
    });
  });

  it('ends after a gap', async () => {
    const { alice, bob, b, sid } = await open();
    await alice.iq(bob.jid, 'set', data(sid, 0));
    await alice.iq(bob.jid, 'set', data(sid, 2)).catch(() => undefined);
    await settle();
    expect(b.duplex.destroyed).toBe(true);
  });

  it('knows only the negotiated address and stream', async () => {
    const { alice, mallory, bob, sid } = await open();
    for (const [who, what] of [
      [mallory, sid],
      [alice, 'other'],
    ] as const)
      await expect(who.iq(bob.jid, 'set', data(what, 0))).rejects.toMatchObject({
        condition: 'item-not-found',
      });
  });

  it.each([
    ['wraps at 65535', [65_535, 0, 1]],
    ['takes a counter that wraps one early', [0, 1]],
  ])('%s', async (_, last) => {
    const clock = new FakeClock();
    const connection = createNetwork({ clock }).connect('bob@example.org/b');
    const peer = address('alice@example.org/a');
    const stream = new IbbStream({ connection, clock, peer, sid: 's', blockSize: 4096 });
    const came = buffer(stream);
    for (let seq = 0; seq < 65_535; seq++) await stream.handle(data('s', seq, ''));
    for (const seq of last) await stream.handle(data('s', seq));
    await stream.handle(xml('close', { xmlns: IBB, sid: 's' }));
    const block = Buffer.from('abcd', 'base64');
    expect(await came).toEqual(Buffer.concat(last.map(() => block)));
  });

  it('sends again what was refused for now', async () => {
    const { a, b, clock, bob, network } = await open();
    let refusals = 0;
    network.tap((stanza) => {
      const block = stanza.getChild('data', IBB);
      if (block === undefined || Number(block.attrs['seq']) < 5 || refusals >= 20) return undefined;
      if (clock.monotonic() > 0) return undefined;
      refusals++;
      const error = xml(
        'error',
        { type: 'wait' },
        xml('resource-constraint', { xmlns: 'urn:ietf:params:xml:ns:xmpp-stanzas' }),
      );
      network.inject(
        'alice@example.org/a',
        xml('iq', { type: 'error', id: stanza.attrs['id'], from: bob.jid.toString() }, error),
      );
      return 'drop';
    });
    const bytes = randomBytes(500_000);
    a.duplex.end(bytes);
    const result = buffer(b.duplex);
    await clock.advance(60_000);
    expect((await result).equals(bytes)).toBe(true);
    expect(refusals).toBeGreaterThan(0);
  });

  it('fails on both sides when the connection is lost', async () => {
    const { a, b, alice } = await open();
    a.duplex.write(randomBytes(100_000));
    alice.drop();
    await settle();
    expect(a.duplex.destroyed).toBe(true);
    expect(b.duplex.readableEnded).toBe(false);
  });

  it('gives up when nobody opens the stream, and leaves no timer', async () => {
    const clock = new FakeClock();
    const network = createNetwork({ clock });
    const ends = [network.connect('a@example.org/a'), network.connect('b@example.org/b')] as const;
    const { responder, initiator } = await pair(ibb, ends, clock);
    const failed = expect(responder.connect(new AbortController().signal)).rejects.toThrow(
      'in time',
    );
    await clock.advance(60_000);
    await failed;
    await responder.close();
    await initiator.close();
    expect(clock.pending).toBe(0);
  });
});

describe('in-band elements', () => {
  it('are validated', () => {
    const namespace = 'urn:xmpp:jingle:transports:ibb:1';
    expect(
      readTransport(xml('transport', { xmlns: namespace, sid: 's', 'block-size': '9' })),
    ).toEqual({ sid: 's', blockSize: 9 });
    for (const size of ['0', '65536', '-1', 'x', undefined])
      expect(() =>
        readTransport(xml('transport', { xmlns: namespace, sid: 's', 'block-size': size })),
      ).toThrow(StanzaError);
    for (const seq of ['65536', '-1', '1.5', undefined])
      expect(() => readData(xml('data', { xmlns: IBB, sid: 's', seq }))).toThrow(StanzaError);
    expect(() =>
      readOpen(xml('open', { xmlns: IBB, sid: 's', 'block-size': '9', stanza: 'message' })),
    ).toThrow(StanzaError);
  });

  it('keeps the window in its bounds', () => {
    let window = initialWindow;
    for (let i = 0; i < 500; i++) window = acknowledged(window);
    expect(window.size).toBe(MAX_WINDOW);
    for (let i = 0; i < 10; i++) window = refused(window);
    expect(window.size).toBe(1);
  });
});
