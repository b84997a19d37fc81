import { join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { capsSchema, keptCaps } from '../../../src/app/kept-caps.ts';
import { Jid } from '../../../src/core/jid.ts';
import { openStore } from '../../../src/store/store.ts';
import { type Caps, CapsCache, capsVer } from '../../../src/xmpp/caps.ts';
import { readCarbon } from '../../../src/xmpp/carbons.ts';
import { Disco } from '../../../src/xmpp/disco.ts';
import { type Candidate, rank } from '../../../src/xmpp/find.ts';
import { FakeClock } from '../../support/clock.ts';
import { testFolder } from '../../support/folder.ts';
import { createNetwork, parseXml } from '../../support/network.ts';

const jid = Jid.parse('bob@x.org/b') as Jid;

test('poisoned caps stay with the one who sent them', async () => {
  const network = createNetwork({ clock: new FakeClock() });
  const alice = network.connect('alice@x.org/a');
  const cache = new CapsCache(new Disco(alice));
  const peer = (name: string, feature: string) => {
    const connection = network.connect(name);
    connection.audience = () => true;
    const disco = new Disco(connection);
    disco.addFeatures(feature);
    disco.addNode('n#forged');
    return connection.jid;
  };
  const caps = { hash: 'sha-1', node: 'n', ver: 'forged' };
  await cache.info(peer('mallory@x.org/m', 'evil'), caps);
  const info = await cache.info(peer('bob@x.org/b', 'good'), caps);
  expect(info.features).toContain('good');
});

/** One who asks another what it can, and a store for the answers. */
async function asking() {
  const network = createNetwork({ clock: new FakeClock() });
  const alice = network.connect('alice@x.org/a');
  const bob = network.connect('bob@x.org/b');
  bob.audience = () => true;
  const theirs = new Disco(bob);
  theirs.addFeatures('good');
  const disco = new Disco(alice);
  const info = await disco.info(bob.jid);
  const store = openStore(join(await testFolder(), 'jet.db'), [capsSchema]);
  onTestFinished(() => store.close());
  return { bob: bob.jid, theirs, disco, info, store };
}

test('verified caps are known to the next process, and no others', async () => {
  const { bob, theirs, disco, info, store } = await asking();
  const caps = (ver = capsVer(info) ?? '') => ({ hash: 'sha-1', node: 'n', ver });
  for (const { ver } of [caps(), caps('forged')]) theirs.addNode(`n#${ver}`);
  const asked = vi.spyOn(disco, 'info');
  const times = async (one: Caps) => {
    const before = asked.mock.calls.length;
    // As another process: nothing is in memory.
    const got = await new CapsCache(disco, keptCaps(store)).info(bob, one);
    expect(got.features).toContain('good');
    return asked.mock.calls.length - before;
  };
  expect(await times(caps())).toBe(1);
  expect(await times(caps())).toBe(0);
  expect(await times(caps('forged'))).toBe(1);
  expect(await times(caps('forged'))).toBe(1);
  // What was changed in the store does not fit its hash any more.
  for (const text of [JSON.stringify({ ...info, features: ['evil', 'good'] }), '{}', 'null', '{']) {
    expect(store.run('UPDATE caps SET info = ?', text)).toBe(1);
    expect(await times(caps())).toBe(1);
    expect(await times(caps())).toBe(0);
  }
});

test('only so many caps are kept, the newest', async () => {
  const { bob, theirs, disco, info, store } = await asking();
  const ver = capsVer(info) ?? '';
  theirs.addNode(`n#${ver}`);
  store.run(`WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 600)
    INSERT INTO caps (hash, ver, info) SELECT 'sha-1', n, '{}' FROM c`);
  await new CapsCache(disco, keptCaps(store)).info(bob, { hash: 'sha-1', node: 'n', ver });
  const kept = store.all('SELECT ver FROM caps ORDER BY key');
  expect(kept.length).toBe(500);
  expect([kept.at(0)?.['ver'], kept.at(-1)?.['ver']]).toEqual(['102', ver]);
});

test('ranking: only the able, a jet first, then priority, then the newest', () => {
  const one = fc.record({
    priority: fc.integer({ min: -128, max: 127 }),
    seen: fc.nat(),
    isJet: fc.boolean(),
    able: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(one), (list) => {
      const all: Candidate[] = list.map(({ able, ...rest }) => ({
        ...rest,
        jid,
        features: new Set(able ? ['f', 'e2'] : ['f']),
        forms: [],
      }));
      const ranked = rank(all, { features: ['f'], envelopes: ['e1', 'e2'] });
      expect(ranked.length).toBe(list.filter(({ able }) => able).length);
      const key = (c: Candidate) => [Number(c.isJet), c.priority, c.seen] as const;
      ranked.slice(1).forEach((next, i) => {
        const [a, b] = [key(ranked[i] as Candidate), key(next)];
        const at = a.findIndex((value, n) => value !== b[n]);
        if (at >= 0) expect(Number(a[at])).toBeGreaterThan(Number(b[at]));
      });
    }),
  );
});

test('a carbon counts only from our own bare address', () => {
  const text = `<message><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='a@x.org/1'/></forwarded></received></message>`;
  expect(readCarbon(parseXml(text), jid.bare, jid)?.from.toString()).toBe('a@x.org/1');
  expect(readCarbon(parseXml(text), jid, jid)).toBeUndefined();
  expect(readCarbon(parseXml(text), Jid.parse('m@x.org') as Jid, jid)).toBeUndefined();
});
