import { expect, test } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import { CapsCache, capsVer } from '../../../src/xmpp/caps.ts';
import { Disco } from '../../../src/xmpp/disco.ts';
import { announce, findPeer, type FindOptions, WAITING_JET } from '../../../src/xmpp/find.ts';
import { answerPings } from '../../../src/xmpp/ping.ts';
import { Presence } from '../../../src/xmpp/presence.ts';
import { Roster } from '../../../src/xmpp/roster.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { createNetwork, parseXml } from '../../support/network.ts';

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
    disco.addFeatures('jet', 'omemo', WAITING_JET);
    answerPings(connection);
    const presence = new Presence(connection, disco, clock);
    return { connection, presence, roster: new Roster(connection), caps: new CapsCache(disco) };
  };
  const bob = person('bob@x.org/b');
  const search = (who: ReturnType<typeof person>, options: Partial<FindOptions> = {}) =>
    findPeer({
      ...who,
      target: address('bob@x.org'),
      wanted: { features: ['jet'], envelopes: ['omemo'] },
      wait: 30_000,
      clock,
      notify: () => undefined,
      ...options,
    }).catch((error: unknown) => error as Error);
  const find = async (who: ReturnType<typeof person>) => {
    const found = await search(who);
    return found instanceof Error ? found : found.jid.toString();
  };
  const wait = () => announce({ ...bob, deals: (from) => from.sameBare(address('alice@x.org')) });
  return { clock, network, bob, person, search, find, wait };
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

test('who was sent our presence already is sent it again only when no answer comes', async () => {
  const { clock, network, person, search, wait } = setUp();
  let told = 0;
  network.tap((stanza) => {
    if (stanza.name === 'presence' && stanza.attrs['to'] === 'bob@x.org') told++;
    return undefined;
  });
  await wait();
  const alice = person('alice@x.org/a');
  await alice.presence.direct(address('bob@x.org'));
  const found = search(alice, { greeted: true });
  await clock.advance(1000);
  expect(await found).toMatchObject({ isJet: true });
  expect(told).toBe(1);
  const carol = person('carol@x.org/c');
  const lost = search(carol, { greeted: true, target: address('bob@x.org') });
  await clock.advance(2500);
  expect(told).toBe(2);
  await clock.advance(40_000);
  expect(await lost).toMatchObject({ code: 'peer-absent' });
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

test('a presence whose answer was lost is answered again', async () => {
  const { clock, network, person, find, wait } = setUp();
  let lost = 0;
  network.tap((stanza) =>
    stanza.name === 'presence' && stanza.attrs['to'] === 'alice@x.org/a' && lost++ === 0
      ? 'drop'
      : undefined,
  );
  await wait();
  const found = find(person('alice@x.org/a'));
  await clock.advance(2500);
  expect(await found).toBe('bob@x.org/b');
  expect(lost).toBe(2);
});

test('two who wait for one another do not answer each other for ever', async () => {
  const { clock, network, bob, person } = setUp();
  const alice = person('alice@x.org/a');
  let count = 0;
  network.tap((stanza) => {
    if (stanza.name === 'presence') count += 1;
    return undefined;
  });
  const invited = (who: typeof bob, name: string) =>
    announce({
      ...who,
      deals: (from) => from.sameBare(address(name)),
      invited: [address(name)],
    });
  await invited(bob, 'alice@x.org');
  await invited(alice, 'bob@x.org');
  await clock.advance(60_000);
  expect(count).toBeLessThan(10);
});

test('a waiting jet is taken without waiting for a resource that is silent', async () => {
  const { clock, network, person, find, wait } = setUp();
  const silent = network.connect('bob@x.org/dead');
  const alice = person('alice@x.org/a');
  await wait();
  await silent.send(parseXml("<presence to='alice@x.org/a'><priority>5</priority></presence>"));
  await settle();
  silent.freeze();
  const found = find(alice);
  await clock.advance(500);
  expect(await found).toBe('bob@x.org/b');
});

test.each([
  ['older', 0],
  ['newer', 300],
])('a silent one whose presence is %s holds up for %i ms', async (age, ms) => {
  const { clock, network, bob, person, find } = setUp();
  const dead = network.connect('bob@x.org/dead');
  const alice = person('alice@x.org/a');
  bob.connection.audience = () => true;
  const hello = parseXml("<presence to='alice@x.org/a'><priority>-1</priority></presence>");
  for (const connection of age === 'older' ? [dead, bob.connection] : [bob.connection, dead]) {
    await connection.send(hello);
    await clock.advance(1);
  }
  dead.freeze();
  let found: unknown = 'nobody yet';
  void find(alice).then((who) => (found = who));
  await clock.advance(Math.max(0, ms - 1));
  if (ms > 0) expect(found).toBe('nobody yet');
  await clock.advance(Math.min(1, ms));
  expect(found).toBe('bob@x.org/b');
});

test('one that goes away is not waited for any longer, and not chosen for what it said before', async () => {
  const { clock, network, person, search } = setUp();
  const client = (resource: string) => {
    const connection = network.connect(`bob@x.org/${resource}`);
    new Disco(connection).addFeatures('jet', 'omemo');
    answerPings(connection);
    connection.audience = () => true;
    return connection;
  };
  const [living, dead] = [client('living'), client('dead')];
  const alice = person('alice@x.org/a');
  for (const connection of [living, dead])
    await connection.send(
      parseXml("<presence to='alice@x.org/a'><priority>1</priority></presence>"),
    );
  await settle();
  // It answers the one question, and is cut off before the other.
  network.tap((stanza) =>
    stanza.attrs['from'] === 'bob@x.org/dead' && stanza.getChild('query') !== undefined
      ? 'drop'
      : undefined,
  );
  let found: unknown = 'nobody yet';
  void search(alice).then((who) => (found = who));
  await clock.advance(1000);
  expect(found).toBe('nobody yet');
  dead.drop();
  await clock.advance(0);
  expect(found).toMatchObject({ jid: living.jid, isJet: false });
});

test('who is dead is never chosen, though nothing but its silence tells it from the living', async () => {
  const { clock, bob, person, find, wait } = setUp();
  const alice = person('alice@x.org/a');
  const deals = (from: Jid) => from.sameBare(address('alice@x.org'));
  // What such a one can do is known already, from another of the same software.
  await wait();
  const before = find(alice);
  await clock.advance(1000);
  expect(await before).toBe('bob@x.org/b');
  await bob.connection.send(parseXml("<presence to='alice@x.org/a' type='unavailable'/>"));
  const dead = person('bob@x.org/dead');
  await announce({ ...dead, deals, invited: [address('alice@x.org/a')] });
  await settle();
  dead.connection.freeze();
  bob.connection.audience = () => false;

  let chosen: unknown = 'nobody';
  const found = find(alice).then((who) => (chosen = who));
  await clock.advance(10_000);
  expect(chosen).toBe('nobody');
  const living = person('bob@x.org/living');
  await announce({ ...living, deals, invited: [address('alice@x.org/a')] });
  await clock.advance(500);
  expect(await found).toBe('bob@x.org/living');
});

test('of those that are as good, the one whose presence came last is chosen', async () => {
  const { clock, bob, person, find } = setUp();
  const second = person('bob@x.org/c');
  const alice = person('alice@x.org/a');
  // They answer requests, but no presence: theirs come in the order of the test.
  for (const { connection } of [bob, second])
    connection.audience = (from) => from.sameBare(address('alice@x.org'));
  for (const [other, last] of [
    [second, bob],
    [bob, second],
    [second, bob],
  ] as const) {
    for (const one of [other, last]) {
      await one.presence.direct(address('alice@x.org/a'));
      await clock.advance(1000);
    }
    const found = find(alice);
    await clock.advance(1000);
    expect(await found).toBe(last.connection.jid.toString());
  }
});

test('only the nodes that we named are known', async () => {
  const { bob, person, wait } = setUp();
  await wait();
  const { connection, presence } = person('alice@x.org/a');
  await presence.direct(address('bob@x.org'));
  await settle();
  const ask = (node: string) =>
    connection.iq(
      bob.connection.jid,
      'get',
      parseXml(`<query xmlns='http://jabber.org/protocol/disco#info' node='${node}'/>`),
    );
  const caps = presence.of(address('bob@x.org'))[0]?.caps;
  expect((await ask(`${caps?.node ?? ''}#${caps?.ver ?? ''}`))?.name).toBe('query');
  await expect(ask('other')).rejects.toMatchObject({ condition: 'item-not-found' });
});

/** Someone of bob's account whom no presence shows, and who answers what is asked of the account. */
function hidden(
  { network, clock }: Pick<ReturnType<typeof setUp>, 'network' | 'clock'>,
  features: readonly string[],
) {
  const connection = network.connect('bob@x.org/hidden');
  new Disco(connection, 'another').addFeatures(...features);
  answerPings(connection);
  connection.audience = () => true;
  const calls: string[] = [];
  const asking = {
    id: 'the-session',
    make: (answered: (jid: Jid) => void) => {
      calls.push(`asked at ${clock.monotonic()}`);
      answered(connection.jid);
      return Promise.resolve();
    },
    end: (retract: boolean) => calls.push(retract ? 'retracted' : 'kept'),
  };
  return { connection, calls, asking };
}

test('whom presence does not show is found by what it answers, and is promised its session', async () => {
  const world = setUp();
  const { calls, asking } = hidden(world, ['jet', 'omemo']);
  const found = world.search(world.person('alice@x.org/a'), { asking });
  await world.clock.advance(3000);
  expect(await found).toMatchObject({ sid: 'the-session', isJet: false });
  expect(calls).toEqual(['asked at 2000', 'kept']);
});

test('who answers is examined like any other: one that is unable or silent is not taken', async () => {
  for (const kind of ['unable', 'silent']) {
    const world = setUp();
    const { connection, calls, asking } = hidden(world, kind === 'unable' ? [] : ['jet', 'omemo']);
    if (kind === 'silent') connection.freeze();
    const found = world.search(world.person('alice@x.org/a'), { asking });
    await world.clock.advance(40_000);
    const code = kind === 'unable' ? 'peer-unable' : 'peer-absent';
    expect(await found).toMatchObject({ exit: 4, code });
    expect(calls).toEqual(['asked at 2000', 'retracted']);
  }
});

test('nobody is asked when presence is enough or a full address was given', async () => {
  const world = setUp();
  const { calls, asking } = hidden(world, ['jet', 'omemo']);
  await world.wait();
  const alice = world.person('alice@x.org/a');
  const first = world.search(alice, { asking });
  await world.clock.advance(1000);
  expect(await first).toMatchObject({ isJet: true });
  const second = world.search(alice, { asking, target: address('bob@x.org/nobody') });
  await world.clock.advance(40_000);
  expect(await second).toMatchObject({ code: 'peer-absent' });
  expect(calls).toEqual(['retracted', 'retracted']);
});

test('one that presence shows is taken rather than one that answers, and the question is taken back', async () => {
  const world = setUp();
  const { calls, asking } = hidden(world, ['jet', 'omemo']);
  const late = {
    ...asking,
    make: async (answered: (jid: Jid) => void) => {
      await world.wait();
      await asking.make(answered);
    },
  };
  const found = world.search(world.person('alice@x.org/a'), { asking: late });
  await world.clock.advance(5000);
  const peer = await found;
  expect(peer).toMatchObject({ isJet: true });
  expect(peer).not.toHaveProperty('sid');
  expect(calls.at(-1)).toBe('retracted');
});

test('XEP-0391 §6 SHOULD: capabilities in presence tell who knows JET; where there are none it is asked', async () => {
  const { clock, network, person, find, wait } = setUp();
  const asked: [to: string | undefined, node: string | undefined][] = [];
  network.tap((stanza) => {
    const query = stanza.getChild('query', 'http://jabber.org/protocol/disco#info');
    if (query && stanza.attrs['type'] === 'get')
      asked.push([stanza.attrs['to'], query.attrs['node']]);
    return undefined;
  });
  const alice = person('alice@x.org/a');
  await wait();
  for (let searches = 0; searches < 2; searches += 1) {
    const found = find(alice);
    await clock.advance(500);
    expect(await found).toBe('bob@x.org/b');
  }
  // Once for the hash, never again while the presence names it.
  expect(asked).toEqual([['bob@x.org/b', expect.stringContaining('#')]]);

  const silent = person('bob@x.org/plain');
  silent.connection.audience = () => true;
  await silent.connection.send(
    parseXml("<presence to='alice@x.org/a'><priority>9</priority></presence>"),
  );
  await settle();
  const found = find(alice);
  await clock.advance(500);
  expect(await found).toBe('bob@x.org/plain');
  expect(asked.slice(1)).toEqual([['bob@x.org/plain', undefined]]);
});
