/** The search for proxies (XEP-0065 §6): what answers is used, what is silent is not waited for. */
import { expect, test } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import { findProxies } from '../../../src/transport/s5b/proxy.ts';
import type { Connection } from '../../../src/xmpp/connection.ts';
import { xml, type Element } from '../../../src/xmpp/xml.ts';
import { FakeClock, settle } from '../../support/clock.ts';

const ITEMS = 'http://jabber.org/protocol/disco#items';
const INFO = 'http://jabber.org/protocol/disco#info';
const BYTESTREAMS = 'http://jabber.org/protocol/bytestreams';

/** A server whose services answer, are no proxies, or are silent. */
function serverWith(services: Readonly<Record<string, 'proxy' | 'other' | 'silent'>>): Connection {
  const answer = (to: string, xmlns: string | undefined): Element | undefined => {
    if (xmlns === ITEMS)
      return xml(
        'query',
        { xmlns },
        // Twice, as Prosody does with a component that has a name.
        ...Object.keys(services).flatMap((jid) => [
          xml('item', { xmlns: ITEMS, jid }),
          xml('item', { xmlns: ITEMS, jid, name: 'a name' }),
        ]),
      );
    const proxy = { category: 'proxy', type: 'bytestreams' };
    const identity = services[to] === 'proxy' ? proxy : { category: 'conference', type: 'text' };
    if (xmlns === INFO)
      return xml('query', { xmlns }, xml('identity', { xmlns: INFO, ...identity }));
    const host = { jid: to, host: '192.0.2.1', port: '7777' };
    return xml('query', { xmlns: BYTESTREAMS }, xml('streamhost', { xmlns: BYTESTREAMS, ...host }));
  };
  const connection: Pick<Connection, 'jid' | 'iq'> = {
    jid: Jid.parse('alice@example.org/jet') as Connection['jid'],
    iq: (to, _type, query) =>
      services[to?.toString() ?? ''] === 'silent'
        ? new Promise(() => undefined)
        : Promise.resolve(answer(to?.toString() ?? '', query.getNS())),
  };
  return connection as Connection;
}

/** What is found, or `undefined` while nothing is. */
function search(services: Parameters<typeof serverWith>[0]) {
  const clock = new FakeClock();
  const state: { found?: string[] } = {};
  void findProxies(serverWith(services), clock).then((proxies) => {
    state.found = proxies.map(({ jid }) => jid.toString());
  });
  return { clock, state };
}

test('all that answer are known at once, and each once', async () => {
  const { state } = search({ 'a.example.org': 'proxy', 'b.example.org': 'other' });
  await settle();
  expect(state.found).toEqual(['a.example.org']);
});

test('a service that is silent holds a proxy up for a second', async () => {
  const { clock, state } = search({ 'a.example.org': 'silent', 'b.example.org': 'proxy' });
  await settle();
  expect(state.found).toBeUndefined();
  await clock.advance(1_000);
  await settle();
  expect(state.found).toEqual(['b.example.org']);
});

test('where all are silent the search ends in vain', async () => {
  const { clock, state } = search({ 'a.example.org': 'silent' });
  await settle();
  await clock.advance(11_999);
  await settle();
  expect(state.found).toBeUndefined();
  await clock.advance(1);
  await settle();
  expect(state.found).toEqual([]);
});
