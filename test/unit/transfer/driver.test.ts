/** The driver of a transfer, between a session and a transport that are made up. */
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import type { Session } from '../../../src/jingle/session.ts';
import {
  TransportRegistry,
  type Bytestream,
  type Negotiation,
} from '../../../src/jingle/transport.ts';
import { LiveTransfers } from '../../../src/transfer/live.ts';
import { Transfer, type Side } from '../../../src/transfer/transfer.ts';
import { StanzaError, type Connection } from '../../../src/xmpp/connection.ts';
import { type Element, xml } from '../../../src/xmpp/xml.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { openPolicy } from '../../support/negotiations.ts';
import { testRecords } from '../../support/records.ts';

const NS = 'urn:example:transport';

const open = (): Bytestream => ({
  route: { kind: 'direct', via: '' },
  duplex: new PassThrough(),
  taken: () => 0,
});

/**
 * @param acknowledged - when the peer has acknowledged the end of the session
 * @param connect - of each negotiation
 */
async function offered(
  acknowledged: Promise<unknown> = Promise.resolve(),
  connect = () => Promise.resolve(open()),
) {
  const clock = new FakeClock();
  const said: string[] = [];
  const streamed: Bytestream[] = [];
  let moved = 0;
  const negotiation: Negotiation = {
    namespace: NS,
    local: () => Promise.resolve(xml('transport', { xmlns: NS, sid: 's' })),
    remote: (transport: Element) => {
      if (transport.attrs['odd'] !== undefined) throw new StanzaError('modify', 'bad-request');
    },
    info: () => undefined,
    connect,
    close: () => Promise.resolve(),
  };
  const transports = new TransportRegistry();
  transports.register({
    namespace: NS,
    features: [],
    usable: () => true,
    negotiate: () => ({ ...negotiation }),
  });
  const side: Side = {
    stream: (bytestream) => {
      streamed.push(bytestream);
      return new Promise(() => undefined);
    },
    info: () => undefined,
    get moved() {
      return moved;
    },
    finish: () => Promise.resolve(),
  };
  const connection = { jid: Jid.parse('a@x.org/a') } as unknown as Connection;
  const records = testRecords(clock);
  const log = () => undefined;
  const around = { connection, clock, transports, policy: openPolicy, records, log };
  const content = { creator: 'initiator' as const, name: 'c' };
  const transfer = new Transfer(around, { sends: true, initiates: true }, content, side);
  const session = {
    peer: Jid.parse('b@x.org/b'),
    role: 'initiator',
    info: () => Promise.resolve(said.push('info')),
    acceptTransport: () => Promise.resolve(said.push('another transport')),
    terminate: (reason: string) => {
      said.push(`end: ${reason}`);
      return acknowledged;
    },
  } as unknown as Session;
  await transfer.offerTransport(session);
  const accept = (attrs: Record<string, string>) =>
    transfer.accepted([
      { ...content, senders: 'initiator', transport: xml('transport', { sid: 's', ...attrs }) },
    ]);
  return { clock, said, streamed, transfer, accept, move: () => moved++ };
}

describe('an answer to the offered transport that cannot be used', () => {
  it.each([
    ['is malformed', { xmlns: NS, odd: '1' }],
    ['is for another one', { xmlns: 'urn:example:other' }],
  ])('ends the session: it %s', async (_, attrs) => {
    const { said, transfer, accept } = await offered();
    await expect(accept(attrs)).rejects.toThrow(StanzaError);
    expect(await transfer.done).toMatchObject({
      kind: 'failed',
      fault: { error: { code: 'bad-answer', exit: 7 } },
    });
    expect(said).toEqual(['end: connectivity-error']);
  });
});

describe('a stream on which nothing moves', () => {
  it('ends after two minutes, though the peer answers', async () => {
    const { clock, said, transfer, accept } = await offered();
    await accept({ xmlns: NS });
    await settle();
    await clock.advance(119_999);
    expect(said).toEqual(['info']);
    await clock.advance(1);
    expect(await transfer.done).toMatchObject({
      kind: 'failed',
      fault: { error: { code: 'stalled', exit: 7 } },
    });
    expect(said).toEqual(['info', 'end: connectivity-error']);
  });

  it('lives while a byte moves now and then', async () => {
    const { clock, said, accept, move } = await offered();
    await accept({ xmlns: NS });
    await settle();
    for (let minute = 0; minute < 30; minute++) {
      if (minute % 2 === 0) move();
      await clock.advance(60_000);
    }
    expect(said.every((word) => word === 'info')).toBe(true);
  });
});

describe('a connection that comes late', () => {
  /** Connections that are made when the test says so. */
  function connections() {
    const made: ((stream: Bytestream) => void)[] = [];
    return { made, connect: () => new Promise<Bytestream>((resolve) => made.push(resolve)) };
  }

  it('of a transport that was replaced carries nothing: the other one does, once', async () => {
    const { made, connect } = connections();
    const { said, streamed, transfer, accept } = await offered(undefined, connect);
    await accept({ xmlns: NS });
    transfer.transportReplace('initiator', 'c', xml('transport', { xmlns: NS, sid: 't' }));
    await settle();
    expect(said).toEqual(['another transport']);
    const [late, right] = [open(), open()];
    made[0]?.(late);
    await settle();
    expect(streamed).toEqual([]);
    expect(late.duplex.destroyed).toBe(true);
    made[1]?.(right);
    await settle();
    expect(streamed).toEqual([right]);
  });

  it('carries nothing when all is over, though the peer has not heard of that', async () => {
    const { made, connect } = connections();
    const { streamed, transfer, accept } = await offered(new Promise(() => undefined), connect);
    await accept({ xmlns: NS });
    transfer.cancel();
    made[0]?.(open());
    await settle();
    expect(transfer.isOver).toBe(true);
    expect(streamed).toEqual([]);
  });

  it('is not waited for without end', async () => {
    const { clock, said, transfer, accept } = await offered(undefined, connections().connect);
    await accept({ xmlns: NS });
    await clock.advance(74_999);
    expect(transfer.isOver).toBe(false);
    await clock.advance(1);
    expect(await transfer.done).toMatchObject({ kind: 'failed', fault: { by: 'route' } });
    expect(said).toEqual(['end: connectivity-error']);
  });
});

describe('what a command that waits for others still has to do', () => {
  it('is not under way any more once its end is settled, but busy until the peer has heard', async () => {
    let acknowledge: () => void = () => undefined;
    const { transfer, accept } = await offered(new Promise<void>((done) => (acknowledge = done)));
    const live = new LiveTransfers();
    live.add(transfer);
    expect([live.underWay, live.busy]).toEqual([true, true]);
    await accept({ xmlns: NS });
    transfer.fail(new Error('broken'));
    expect([live.underWay, live.busy]).toEqual([false, true]);
    const stopped = live.stop();
    acknowledge();
    await stopped;
    expect(await transfer.done).toMatchObject({ kind: 'failed' });
    live.delete(transfer);
    expect([live.underWay, live.busy]).toEqual([false, false]);
  });
});
