import xml, { type Element } from '@xmpp/xml';
import { describe, expect, it } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import type { SessionHandler } from '../../../src/jingle/handler.ts';
import { Sessions } from '../../../src/jingle/sessions.ts';
import type { Session } from '../../../src/jingle/session.ts';
import { JINGLE, encodeJingle } from '../../../src/jingle/stanza.ts';
import type { Connection } from '../../../src/xmpp/connection.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { createNetwork } from '../../support/network.ts';

const alice = Jid.parse('alice@a.test/one') as Jid;
const bob = Jid.parse('bob@b.test/two') as Jid;
const content = { creator: 'initiator', name: 'c', senders: 'initiator' } as const;
const transport = () => xml('transport', { xmlns: 'urn:test' });

function recorder(events: string[]): SessionHandler {
  return {
    accepted: () => void events.push('accepted'),
    transportInfo: () => void events.push('info'),
    transportReplace: () => void events.push('replace'),
    transportAccepted: () => void events.push('transport accepted'),
    transportRejected: () => void events.push('transport rejected'),
    info: (payload) => void events.push(payload.getName()),
    ended: (end) => void events.push(`ended ${end.by} ${end.reason}`),
  };
}

function setUp() {
  const clock = new FakeClock();
  const network = createNetwork({ clock });
  const a = network.connect(alice);
  const b = network.connect(bob);
  a.audience = b.audience = () => true;
  const log = () => undefined;
  const ours = new Sessions({ connection: a, clock, log });
  const theirs = new Sessions({ connection: b, clock, log });
  const events = { a: [] as string[], b: [] as string[] };
  const incoming: Session[] = [];
  theirs.onInitiate(({ session }) => {
    incoming.push(session);
    return recorder(events.b);
  });
  const start = async () => {
    const mine = await ours.initiate(bob, () => [content], recorder(events.a), 's');
    return { mine, other: incoming[0] as Session };
  };
  return { clock, network, a, b, ours, theirs, events, incoming, start };
}

describe('two sides', () => {
  it('agree, tell one another, replace a transport and part', async () => {
    const { start, events, ours, theirs } = setUp();
    const { mine, other } = await start();
    await other.transportInfo('initiator', 'c', transport());
    await other.accept([content]);
    await mine.info([xml('checksum', { xmlns: 'urn:test' })]);
    await mine.replaceTransport('initiator', 'c', transport());
    await other.acceptTransport('initiator', 'c', transport());
    await other.terminate('success');
    await settle();
    expect(events.a).toEqual(['info', 'accepted', 'transport accepted', 'ended peer success']);
    expect(events.b).toEqual(['checksum', 'replace', 'ended self success']);
    expect([ours.size, theirs.size]).toEqual([0, 0]);
    await expect(mine.info([])).rejects.toThrow('out of order');
  });

  it('start once when the offer is delivered twice, and not again after the end', async () => {
    const { start, network, incoming } = setUp();
    const { mine } = await start();
    const again = () => {
      const value = {
        action: 'session-initiate',
        sid: 's',
        contents: [content],
        payloads: [],
      } as const;
      const attrs = { type: 'set', id: 'x', from: alice.toString(), to: bob.toString() };
      network.inject(bob, xml('iq', attrs, encodeJingle(value)));
    };
    again();
    await settle();
    await mine.terminate('cancel');
    again();
    await settle();
    expect(incoming).toHaveLength(1);
  });

  it('take a stanza once that is delivered twice', async () => {
    const { start, network, events } = setUp();
    await start();
    const payloads = [xml('checksum', { xmlns: 'urn:test' })];
    const value = { action: 'session-info', sid: 's', contents: [], payloads } as const;
    for (const id of ['one', 'one', 'two']) {
      const attrs = { type: 'set', id, from: alice.toString(), to: bob.toString() };
      network.inject(bob, xml('iq', attrs, encodeJingle(value)));
    }
    await settle();
    expect(events.b).toEqual(['checksum', 'checksum']);
  });

  it('refuse what belongs to no session or claims another initiator', async () => {
    const { a, incoming } = setUp();
    const send = (attrs: Record<string, string>) =>
      a.iq(
        bob,
        'set',
        xml(
          'jingle',
          { xmlns: JINGLE, sid: 'q', ...attrs },
          xml('content', { creator: 'initiator', name: 'c' }),
        ),
      );
    await expect(send({ action: 'session-info' })).rejects.toThrow('item-not-found');
    await expect(send({ action: 'session-initiate', initiator: 'eve@a.test/one' })).rejects.toThrow(
      'bad-request',
    );
    expect(incoming).toHaveLength(0);
  });

  it.each([
    ['another account', 'eve@e.test/one'],
    ['another resource of the peer', 'alice@a.test/two'],
  ])('are not reached from %s that names their session', async (_, address) => {
    const { start, network, theirs, events } = setUp();
    const { other } = await start();
    await other.accept([content]);
    const eve = network.connect(address);
    for (const action of ['session-terminate', 'session-info', 'transport-info', 'session-accept'])
      await expect(
        eve.iq(
          bob,
          'set',
          xml(
            'jingle',
            { xmlns: JINGLE, sid: 's', action },
            xml('content', { creator: 'initiator', name: 'c' }, transport()),
          ),
        ),
      ).rejects.toThrow('item-not-found');
    await settle();
    expect(events.b).toEqual([]);
    expect(theirs.size).toBe(1);
  });

  it('refuse an accept in the name of another, and a content that there is not', async () => {
    const { start, b, ours, events } = setUp();
    await start();
    const send = (action: string, name: string, more: Record<string, string> = {}) =>
      b.iq(
        alice,
        'set',
        xml(
          'jingle',
          { xmlns: JINGLE, sid: 's', action, ...more },
          xml('content', { creator: 'initiator', name }, transport()),
        ),
      );
    for (const refused of [
      send('session-accept', 'c', { responder: 'eve@e.test/one' }),
      send('session-accept', 'other'),
      send('transport-info', 'other'),
    ])
      await expect(refused).rejects.toThrow('bad-request');
    expect(events.a).toEqual([]);
    expect(ours.size).toBe(1);
    await send('session-accept', 'c', { responder: bob.toString() });
    expect(events.a).toEqual(['accepted']);
  });

  it('are bounded in number, with one peer and in all', async () => {
    const { a, network, theirs } = setUp();
    const offer = (by: Pick<Connection, 'iq'>, sid: string) => {
      const attrs = { xmlns: JINGLE, action: 'session-initiate', sid };
      return by.iq(
        bob,
        'set',
        xml('jingle', attrs, xml('content', { creator: 'initiator', name: 'c' })),
      );
    };
    for (let n = 0; n < 64; n++) await offer(a, `s${n}`);
    await expect(offer(a, 'more')).rejects.toThrow('too many sessions');
    for (let n = 64; n < 256; n++) await offer(network.connect(`p${n}@p.test/x`), 's');
    await expect(offer(network.connect('late@p.test/x'), 's')).rejects.toThrow('too many sessions');
    expect(theirs.size).toBe(256);
  });

  it('queue few stanzas before a slow decision, and the end is always one of them', async () => {
    const { a, ours, theirs } = setUp();
    theirs.onInitiate(() => new Promise(() => undefined));
    await ours.initiate(bob, () => [content], recorder([]), 's');
    const say = (action: string, child: Element) =>
      a.iq(bob, 'set', xml('jingle', { xmlns: JINGLE, sid: 's', action }, child));
    const info = () => say('session-info', xml('checksum', { xmlns: 'urn:test' }));
    for (let n = 0; n < 64; n++) await info();
    await expect(info()).rejects.toThrow('too many stanzas');
    await say('session-terminate', xml('reason', {}, xml('cancel')));
    expect(theirs.size).toBe(0);
  });

  it('end by silence', async () => {
    const { start, clock, b, events } = setUp();
    const { mine } = await start();
    b.freeze();
    const told = expect(mine.info([])).rejects.toThrow();
    await clock.advance(120_000);
    await told;
    expect(await mine.ended).toMatchObject({ by: 'gone', reason: 'timeout' });
    expect(events.a).toEqual(['ended gone timeout']);
  });

  it('acknowledge the offer before a slow decision, and keep what comes meanwhile', async () => {
    const { ours, theirs, events } = setUp();
    let decide: (handler: SessionHandler) => void = () => undefined;
    theirs.onInitiate(() => new Promise((resolve) => (decide = resolve)));
    const mine = await ours.initiate(bob, () => [content], recorder(events.a));
    await mine.transportInfo('initiator', 'c', transport());
    await mine.terminate('cancel');
    expect(theirs.size).toBe(0);
    decide(recorder(events.b));
    await settle();
    expect(events.b).toEqual(['info', 'ended peer cancel']);
  });

  it('end when the peer goes offline or the decision fails', async () => {
    const { start, ours, theirs, events } = setUp();
    theirs.onInitiate(() => Promise.reject(new Error('no')));
    const mine = await ours.initiate(bob, () => [content], recorder(events.a));
    expect(await mine.ended).toMatchObject({ by: 'peer', reason: 'failed-application' });
    await theirs.close();
    await expect(start()).rejects.toThrow('service-unavailable');
    expect(ours.size).toBe(0);
  });
});
