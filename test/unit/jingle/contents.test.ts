/** Several contents in one session: who is told what, and when the session ends. */
import xml from '@xmpp/xml';
import { describe, expect, test } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import {
  Contents,
  IDLE_MS,
  MOST_AT_ONCE,
  MOST_IN_ALL,
  type Composes,
  type ContentSession,
} from '../../../src/jingle/contents.ts';
import type { SessionHandler } from '../../../src/jingle/handler.ts';
import { JointSession } from '../../../src/jingle/joint.ts';
import { Sessions } from '../../../src/jingle/sessions.ts';
import { JINGLE, type Content } from '../../../src/jingle/stanza.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { createNetwork } from '../../support/network.ts';

const alice = Jid.parse('alice@a.test/one') as Jid;
const bob = Jid.parse('bob@b.test/two') as Jid;
const TEST = 'urn:test';

const content = (name: string): Content => ({
  ...{ creator: 'initiator', name, senders: 'initiator' },
  transport: xml('transport', { xmlns: TEST }),
});
const composes =
  (name: string): Composes =>
  () =>
    Promise.resolve([content(name)]);

/** Writes down what a content is told. */
function recorder(name: string, events: string[], stays = false): SessionHandler {
  const say = (what: string) => void events.push(`${name} ${what}`);
  return {
    accepted: ([one]) => say(`accepted as ${one?.name}`),
    transportInfo: () => say('info'),
    transportReplace: () => say('replace'),
    transportAccepted: () => say('transport accepted'),
    transportRejected: () => say('transport rejected'),
    info: (payload) => say(payload.getName()),
    peerUnavailable: () => !stays,
    ended: ({ by, reason, payloads = [] }) =>
      say([`ended by ${by}`, reason, ...payloads.map((payload) => payload.getName())].join(' ')),
  };
}

/**
 * One who offers several contents, and one who is offered them.
 *
 * @param stays - the responder is told of more to come by the first
 */
function setUp(stays = true) {
  const clock = new FakeClock();
  const network = createNetwork({ clock });
  const [a, b] = [network.connect(alice), network.connect(bob)];
  a.audience = b.audience = () => true;
  const log = () => undefined;
  const ours = new Sessions({ connection: a, clock, log });
  const theirs = new Sessions({ connection: b, clock, log });
  const events = { a: [] as string[], b: [] as string[] };
  /** Those of the responder, by name. */
  const lanes = new Map<string, ContentSession>();
  const refused = new Set<string>();
  /** Contents with a bytestream that is alive. */
  const alive = new Set<string>();
  theirs.onInitiate(async ({ session, contents }) => {
    const all: Contents = new Contents(session, {
      ...{ clock, log },
      offered: async ([one], lane) => {
        const { name = '' } = one ?? {};
        if (refused.has(name)) {
          await lane.terminate('decline');
          return undefined;
        }
        if (stays) all.stay();
        lanes.set(name, lane);
        return recorder(name, events.b, alive.has(name));
      },
    });
    await all.begin(contents);
    return all;
  });
  const joint = new JointSession(ours, { clock, log });
  const sent: string[] = [];
  network.tap((stanza) => {
    const jingle = stanza.getChild('jingle', JINGLE);
    if (jingle)
      sent.push(
        `${stanza.attrs['from'] === alice.toString() ? 'a' : 'b'} ${jingle.attrs['action']}`,
      );
    return undefined;
  });
  const offer = (name: string) =>
    joint.initiate(bob, composes(name), recorder(name, events.a, alive.has(name)));
  const lane = (name: string) => lanes.get(name) as ContentSession;
  const accept = async (name: string) => {
    await lane(name).accept([content(name)]);
    await settle();
  };
  /** Two contents that are accepted. */
  const both = async () => {
    await offer('one');
    await accept('one');
    await offer('two');
    await accept('two');
  };
  return {
    ...{ clock, network, a, b, ours, theirs, events, lanes, refused, alive, joint, sent, offer },
    ...{ lane, accept, both },
  };
}

describe('the contents of a session', () => {
  test('are added once the first is accepted, and each ends by itself', async () => {
    const { sent, events, offer, accept, lane, joint, ours, theirs } = setUp();
    await offer('one');
    const second = offer('two');
    await settle();
    expect(sent).toEqual(['a session-initiate']);
    await accept('one');
    await second;
    await accept('two');
    await lane('one').terminate('success', { payloads: [xml('received', { xmlns: TEST })] });
    await lane('two').terminate('cancel');
    await joint.close();
    await settle();
    expect(sent).toEqual([
      ...['a session-initiate', 'b session-accept', 'a content-add', 'b content-accept'],
      ...['b content-remove', 'b content-remove', 'a session-terminate'],
    ]);
    expect(events.a).toEqual([
      ...['one accepted as one', 'two accepted as two'],
      ...['one ended by peer success received', 'two ended by peer cancel'],
    ]);
    expect([ours.size, theirs.size]).toEqual([0, 0]);
  });

  test('hear what is said of them, and of no other', async () => {
    const { events, both, lane, lanes } = setUp();
    await both();
    await lane('two').transportInfo('initiator', 'two', xml('transport', { xmlns: TEST }));
    await lane('one').info([xml('received', { xmlns: TEST, creator: 'initiator', name: 'one' })]);
    await lane('one').info([xml('received', { xmlns: TEST, creator: 'responder', name: 'two' })]);
    await lane('one').info([xml('received', { xmlns: TEST, name: 'three' })]);
    await lane('one').info([xml('ringing', { xmlns: TEST })]);
    expect(events.a.slice(2)).toEqual(['two info', 'one received']);
    expect([...lanes.keys()]).toEqual(['one', 'two']);
  });

  test('of one that has ended nothing is heard, and the others go on', async () => {
    const { events, both, lane } = setUp();
    await both();
    const one = lane('one');
    await one.terminate('cancel');
    await one.terminate('success');
    await one.transportInfo('initiator', 'one', xml('transport', { xmlns: TEST }));
    await lane('two').info([xml('received', { xmlns: TEST, name: 'two' })]);
    expect(events.a.slice(2)).toEqual(['one ended by peer cancel', 'two received']);
  });

  test('that are refused leave the others, and the first one ends the session', async () => {
    const { events, refused, offer, accept, sent, ours } = setUp();
    refused.add('one').add('three');
    await offer('one');
    await settle();
    expect(ours.size).toBe(0);
    await offer('two');
    await accept('two');
    await offer('three');
    await offer('four');
    await accept('four');
    expect(events.a).toEqual([
      ...['one ended by peer decline', 'two accepted as two', 'three ended by peer decline'],
      'four accepted as four',
    ]);
    expect(sent).toEqual([
      ...['a session-initiate', 'b session-terminate', 'a session-initiate', 'b session-accept'],
      ...['a content-add', 'b content-reject', 'a content-add', 'b content-accept'],
    ]);
  });

  test('end with the session, whoever ends it', async () => {
    const { events, both, theirs } = setUp();
    await both();
    await theirs.close();
    await settle();
    expect(events.a.slice(2)).toEqual(['one ended by peer gone', 'two ended by peer gone']);
    expect(events.b).toEqual(['one ended by self gone', 'two ended by self gone']);
  });

  test('end when the peer goes offline, but for those whose bytes flow', async () => {
    const { events, both, alive, b, lane } = setUp();
    alive.add('two');
    await both();
    await b.send(xml('presence', { type: 'unavailable', to: alice.toString() }));
    await settle();
    expect(events.a.slice(2)).toEqual(['one ended by gone gone']);
    await lane('two').info([xml('received', { xmlns: TEST, name: 'two' })]);
    expect(events.a.slice(3)).toEqual(['two received']);
  });

  test('are not added where none was announced, nor by the responder, nor twice by one name', async () => {
    const add = (creator: Content['creator'], name: string, ...more: string[]) =>
      xml(
        'jingle',
        { xmlns: JINGLE, action: 'content-add', sid: 's' },
        ...[name, ...more].map((one) => xml('content', { creator, name: one })),
      );
    const alone = setUp(false);
    const session = await alone.ours.initiate(
      bob,
      () => [content('one')],
      recorder('one', []),
      's',
    );
    await alone.accept('one');
    await expect(alone.a.iq(bob, 'set', add('initiator', 'two'))).rejects.toThrow(
      'feature-not-implemented',
    );
    await expect(alone.b.iq(alice, 'set', add('responder', 'two'))).rejects.toThrow(
      'feature-not-implemented',
    );
    await session.terminate('success');

    const { ours, a, lanes, accept } = setUp();
    await ours.initiate(bob, () => [content('one')], recorder('one', []), 's');
    await accept('one');
    await expect(a.iq(bob, 'set', add('responder', 'two'))).rejects.toThrow('bad-request');
    await expect(a.iq(bob, 'set', add('initiator', 'one'))).rejects.toThrow('bad-request');
    const many = Array.from({ length: MOST_AT_ONCE }, (_, n) => `n${n}`);
    await expect(a.iq(bob, 'set', add('initiator', 'n', ...many.slice(1)))).rejects.toThrow(
      'resource-constraint',
    );
    expect([...lanes.keys()]).toEqual(['one']);
  });

  test('that do not come end the session after a while', async () => {
    const { clock, events, offer, accept, lane, ours, theirs } = setUp();
    await offer('one');
    await accept('one');
    await lane('one').terminate('success');
    await clock.advance(IDLE_MS - 1);
    await settle();
    await offer('two');
    await accept('two');
    await clock.advance(IDLE_MS);
    await settle();
    expect([ours.size, theirs.size]).toEqual([1, 1]);
    await lane('two').terminate('success');
    await clock.advance(IDLE_MS);
    await settle();
    expect([ours.size, theirs.size]).toEqual([0, 0]);
    expect(events.a).toHaveLength(4);
    // What comes after that has the next one.
    await offer('three');
    expect(ours.size).toBe(1);
  });

  test('are no more than a session takes: then comes the next', async () => {
    const { sent, offer, accept, lane, joint, ours } = setUp();
    for (let n = 0; n <= MOST_IN_ALL; n++) {
      await offer(`n${n}`);
      await accept(`n${n}`);
      await lane(`n${n}`).terminate('success');
    }
    await joint.close();
    expect(sent.filter((one) => one === 'a session-initiate')).toHaveLength(2);
    expect(sent.filter((one) => one === 'a session-terminate')).toHaveLength(2);
    expect(ours.size).toBe(0);
  });

  test('that the initiator gives up before they are said are not said', async () => {
    const { sent, events, offer, accept, joint } = setUp();
    await offer('one');
    await accept('one');
    const given = joint.initiate(
      bob,
      async (session) => {
        await session.terminate('cancel');
        return [content('two')];
      },
      recorder('two', events.a),
    );
    await expect(given).rejects.toThrow('it ended before it was offered');
    await offer('three');
    expect(sent).toEqual(['a session-initiate', 'b session-accept', 'a content-add']);
  });

  test('that the peer does not take are told so', async () => {
    const { events, offer, accept, lane } = setUp();
    await offer('one');
    await accept('one');
    // A responder that is full.
    for (let n = 1; n < MOST_AT_ONCE; n++) await offer(`n${n}`);
    await expect(offer('last')).rejects.toThrow('resource-constraint');
    await lane('one').info([xml('received', { xmlns: TEST, name: 'one' })]);
    expect(events.a.slice(1)).toEqual(['last ended by peer general-error', 'one received']);
  });
});
