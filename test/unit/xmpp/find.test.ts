import { expect, test } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import { CapsCache, capsVer } from '../../../src/xmpp/caps.ts';
import { Disco } from '../../../src/xmpp/disco.ts';
import { announce, findPeer } from '../../../src/xmpp/find.ts';
import { answerPings } from '../../../src/xmpp/ping.ts';
import { Presence } from '../../../src/xmpp/presence.ts';
import { Roster } from '../../../src/xmpp/roster.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { createNetwork } from '../../support/network.ts';

const address = (text: string): Jid => {
  const jid = Jid.parse(text);
  if (jid === undefined) throw new Error(text);
  return jid;
};

function setUp() {
  const clock = new FakeClock();
  const network = createNetwork({ clock });
  const person = (text: string) => {
    const connection = network.connect(text);
    const disco = new Disco(connection);
    disco.addFeatures('jet', 'omemo');
    answerPings(connection);
    const presence = new Presence(connection, disco, clock);
    return { connection, presence, roster: new Roster(connection), caps: new CapsCache(disco) };
  };
  const bob = person('bob@x.org/b');
  const find = (who: ReturnType<typeof person>) =>
    findPeer({
      ...who,
      target: address('bob@x.org'),
      wanted: { features: ['jet'], envelopes: ['omemo'] },
      wait: 30_000,
      clock,
      notify: () => undefined,
    }).then(
      (peer) => peer.jid.toString(),
      (error: unknown) => error,
    );
  const wait = () => announce({ ...bob, deals: (from) => from.sameBare(address('alice@x.org')) });
  return { clock, bob, person, find, wait };
}

test('XEP-0115 §5.2: the simple example has its hash', () => {
  const base = 'http://jabber.org/protocol/';
  const features = ['disco#info', 'disco#items', 'muc', 'caps'].map((name) => base + name);
  const identity = { category: 'client', type: 'pc', lang: '', name: 'Exodus 0.9.1' };
  const info = { identities: [identity], features, forms: [] };
  expect(capsVer(info)).toBe('QgayPKawpkPSDYmwT/WM94uAlu0=');
  expect(capsVer({ ...info, features: [...features, ...features] })).toBeUndefined();
});

test.each([true, false])('either side may come first (receiver first: %s)', async (first) => {
  const { clock, person, find, wait } = setUp();
  if (first) await wait();
  await settle();
  const found = find(person('alice@x.org/a'));
  await clock.advance(1000);
  if (!first) await wait();
  await clock.advance(5000);
  expect(await found).toBe('bob@x.org/b');
});

test('a stranger learns nothing', async () => {
  const { clock, person, find, wait } = setUp();
  await wait();
  const mallory = person('mallory@x.org/m');
  const found = find(mallory);
  await clock.advance(40_000);
  expect(await found).toMatchObject({ exit: 4, code: 'peer-absent' });
  expect(mallory.connection.received).toEqual([]);
});
