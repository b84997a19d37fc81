/**
 * The search for proxies (XEP-0065 §6): what answers is used, what is silent is not waited for, and what was
 * found is remembered.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import { openStore, type Store } from '../../../src/store/store.ts';
import { Proxies, s5bSchema } from '../../../src/transport/s5b/proxies.ts';
import type { Connection } from '../../../src/xmpp/connection.ts';
import { xml, type Element } from '../../../src/xmpp/xml.ts';
import { FakeClock, settle } from '../../support/clock.ts';

const ITEMS = 'http://jabber.org/protocol/disco#items';
const INFO = 'http://jabber.org/protocol/disco#info';
const BYTESTREAMS = 'http://jabber.org/protocol/bytestreams';

/** Services that answer, are no proxies, or are silent. */
type Services = Record<string, 'proxy' | 'other' | 'silent'>;

/** A connection to a server with such services; `asked` is told what it is asked. */
function serverWith(
  services: Readonly<Services>,
  asked: (what: string) => void = () => undefined,
  jid = 'alice@example.org/jet',
): Connection {
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
    jid: Jid.parse(jid) as Connection['jid'],
    iq: (to, _type, query) => {
      asked(`${to?.toString() ?? ''} ${query.getNS()?.replace(/.*[/#]/, '') ?? ''}`);
      return services[to?.toString() ?? ''] === 'silent'
        ? new Promise(() => undefined)
        : Promise.resolve(answer(to?.toString() ?? '', query.getNS()));
    },
  };
  return connection as Connection;
}

/** What is found, or `undefined` while nothing is. */
function search(services: Services) {
  const clock = new FakeClock();
  const state: { found?: string[] } = {};
  void new Proxies().find(serverWith(services), clock).then((proxies) => {
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

describe('what is known of them', () => {
  const HOUR = 3_600_000;
  const LOOKUP = ['example.org items', 'a.example.org info', 'a.example.org bytestreams'];
  let folder: string;
  let store: Store;
  let clock: FakeClock;
  let services: Services;
  let asked: string[];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'jet-proxies-'));
    store = openStore(join(folder, 'jet.db'), [s5bSchema]);
    clock = new FakeClock();
    services = { 'a.example.org': 'proxy' };
    asked = [];
  });
  afterEach(() => {
    store.close();
    rmSync(folder, { recursive: true });
  });

  /** A process of the account: what it finds at once, what it finds in the end, and its doubts. */
  function start(jid = 'alice@example.org/jet', memory: Store | undefined = store) {
    const connection = serverWith(services, (what) => asked.push(what), jid);
    const proxies = new Proxies(memory);
    const named = (found: readonly { readonly jid: Jid }[]) =>
      found.map((one) => one.jid.toString());
    return {
      doubt: () => proxies.doubt(connection, clock),
      find: () => proxies.find(connection, clock).then(named),
      /** `undefined` where it is not known without an answer of the server. */
      atOnce: async () => {
        let found: string[] | undefined;
        const search = proxies.find(connection, clock).then((some) => (found = named(some)));
        await Promise.resolve();
        await Promise.resolve();
        const first = found;
        await search;
        return first;
      },
    };
  }
  /** What the server was asked since the last time. */
  const questions = async () => {
    await settle();
    return asked.splice(0);
  };

  test('another process asks nothing for an hour, whatever the server has by then', async () => {
    expect(await start().atOnce()).toBeUndefined();
    expect(await questions()).toEqual(LOOKUP);
    services = { 'b.example.org': 'proxy' };
    await clock.advance(HOUR - 1);
    expect(await start().atOnce()).toEqual(['a.example.org']);
    expect(await questions()).toEqual([]);
  });

  test('after an hour it is used at once, and asked for anew for the next', async () => {
    await start().find();
    await questions();
    services['b.example.org'] = 'proxy';
    await clock.advance(HOUR);
    const one = start();
    expect(await one.atOnce()).toEqual(['a.example.org']);
    expect(await questions()).toHaveLength(5);
    expect(await one.find()).toEqual(['a.example.org', 'b.example.org']);
    expect(await start().atOnce()).toEqual(['a.example.org', 'b.example.org']);
    expect(await questions()).toEqual([]);
  });

  test('after a day a process has to ask, but not the one that has known all the time', async () => {
    const first = start();
    await first.find();
    services['a.example.org'] = 'silent';
    await clock.advance(24 * HOUR);
    expect(await first.atOnce()).toEqual(['a.example.org']);
    services['a.example.org'] = 'proxy';
    await questions();
    expect(await start().atOnce()).toBeUndefined();
    expect(await questions()).toEqual(LOOKUP);
  });

  test('what comes from the future counts for nothing', async () => {
    await start().find();
    await questions();
    clock = new FakeClock(clock.now() - 1);
    expect(await start().atOnce()).toBeUndefined();
    expect(await questions()).toEqual(LOOKUP);
  });

  test('where the search is in vain, the old ones stay, and it is asked again the next time', async () => {
    await start().find();
    services = {};
    await clock.advance(HOUR);
    await questions();
    const one = start();
    for (let time = 0; time < 2; time++) {
      expect(await one.atOnce()).toEqual(['a.example.org']);
      expect(await questions()).toEqual(['example.org items']);
    }
  });

  test('after a failure they are forgotten and looked up again before anybody needs them', async () => {
    await start().find();
    services = { 'b.example.org': 'proxy' };
    await clock.advance(60_000);
    await questions();
    const one = start();
    await one.find();
    one.doubt();
    expect(await questions()).toEqual(LOOKUP.map((line) => line.replace(/^a/, 'b')));
    expect(await one.atOnce()).toEqual(['b.example.org']);
    expect(await start().atOnce()).toEqual(['b.example.org']);
    expect(await questions()).toEqual([]);
  });

  test('after a failure with none to be found, nobody uses them any more', async () => {
    await start().find();
    services = {};
    await clock.advance(60_000);
    const one = start();
    await one.find();
    one.doubt();
    await questions();
    expect(await one.find()).toEqual([]);
    expect(await start().find()).toEqual([]);
  });

  test('a failure right after the search asks nothing: the server would say the same', async () => {
    const one = start();
    await one.find();
    await clock.advance(59_999);
    await questions();
    one.doubt();
    expect(await one.atOnce()).toEqual(['a.example.org']);
    expect(await questions()).toEqual([]);
  });

  test('those of one account are nothing to another', async () => {
    await start().find();
    await questions();
    expect(await start('bob@example.org/jet').atOnce()).toBeUndefined();
    expect(await questions()).toEqual(LOOKUP);
  });

  test('several that ask at once are one search', async () => {
    const one = start();
    await Promise.all([one.find(), one.find(), one.find()]);
    expect(await questions()).toEqual(LOOKUP);
  });

  test('what stands there and is no proxy is left out', async () => {
    await start().find();
    await questions();
    for (const [column, value] of [
      ['jid', '@'],
      ['host', 'a b'],
      ['port', 65_536],
    ] as const) {
      store.run(`UPDATE s5b_proxy SET ${column} = ?`, value);
      expect(await start().atOnce(), column).toBeUndefined();
      expect(await questions(), column).toEqual(LOOKUP);
    }
  });

  test('a store that cannot be used costs a search, and nothing else', async () => {
    const other = openStore(join(folder, 'other.db'), [s5bSchema]);
    other.close();
    const one = start(undefined, other);
    expect(await one.find()).toEqual(['a.example.org']);
    expect(await questions()).toEqual(LOOKUP);
    expect(await one.atOnce()).toEqual(['a.example.org']);
    expect(await questions()).toEqual([]);
  });
});
