import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import { CapsCache } from '../../../src/xmpp/caps.ts';
import { readCarbon } from '../../../src/xmpp/carbons.ts';
import { Disco } from '../../../src/xmpp/disco.ts';
import { type Candidate, rank } from '../../../src/xmpp/find.ts';
import { FakeClock } from '../../support/clock.ts';
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
