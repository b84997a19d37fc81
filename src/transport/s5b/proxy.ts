/** SOCKS5 proxies of our own server: found (XEP-0030, XEP-0065 1.8 §6) and activated (§6.3.5). */
import xml from '@xmpp/xml';
import { sleep, type Clock } from '../../core/clock.ts';
import { Jid } from '../../core/jid.ts';
import type { Connection } from '../../xmpp/connection.ts';
import { isHost, readPort } from './stanza.ts';

const ITEMS = 'http://jabber.org/protocol/disco#items';
const INFO = 'http://jabber.org/protocol/disco#info';
const BYTESTREAMS = 'http://jabber.org/protocol/bytestreams';
/** Services asked what they are, and proxies offered. */
const MAX_SERVICES = 20;
const MAX_PROXIES = 3;
/** Milliseconds for one question. */
const QUERY_TIME = 10_000;
/** Milliseconds that a proxy which is found waits for further ones: a service may never answer. */
const MORE_TIME = 1_000;

/** A proxy as it describes itself. */
export interface Proxy {
  readonly jid: Jid;
  readonly host: string;
  readonly port: number;
}

/** Asks our server for its proxies. @throws StanzaError when it does not say what there is */
export async function discover(connection: Connection, clock: Clock): Promise<Proxy[]> {
  const server = Jid.parse(connection.jid.domain);
  if (server === undefined) return [];
  const options = { timeout: QUERY_TIME };
  const items = await connection.iq(server, 'get', xml('query', { xmlns: ITEMS }), options);
  const jids = (items?.getChildren('item', ITEMS) ?? [])
    .filter((item) => item.attrs['node'] === undefined)
    .map((item) => Jid.parse(item.attrs['jid'] ?? ''))
    .filter((jid): jid is Jid => jid !== undefined);
  // Prosody lists a component twice when it also has a name.
  const services = [...new Map(jids.map((jid) => [jid.toString(), jid])).values()].slice(
    0,
    MAX_SERVICES,
  );
  const found: Proxy[] = [];
  const asked = services.map(async (jid) => {
    const proxy = await describe(connection, jid).catch(() => undefined);
    if (proxy !== undefined) found.push(proxy);
    return proxy;
  });
  const over = new AbortController();
  const all = Promise.all(asked);
  const some = Promise.any(asked.map(async (one) => (await one) ?? Promise.reject(new Error())));
  const enough = some.then(
    () => sleep(clock, MORE_TIME, over.signal).catch(() => undefined),
    () => all,
  );
  await Promise.race([all, enough]);
  over.abort(new Error('enough is known'));
  return found.slice(0, MAX_PROXIES);
}

/** Asks the proxy to join the two connections. @throws StanzaError */
export async function activate(
  connection: Connection,
  proxy: Jid,
  sid: string,
  peer: Jid,
): Promise<void> {
  const target = xml('activate', {}, peer.toString());
  await connection.iq(proxy, 'set', xml('query', { xmlns: BYTESTREAMS, sid }, target));
}

async function describe(connection: Connection, jid: Jid): Promise<Proxy | undefined> {
  const options = { timeout: QUERY_TIME };
  const info = await connection.iq(jid, 'get', xml('query', { xmlns: INFO }), options);
  const isProxy = info
    ?.getChildren('identity', INFO)
    .some(({ attrs }) => attrs['category'] === 'proxy' && attrs['type'] === 'bytestreams');
  if (isProxy !== true) return undefined;
  const answer = await connection.iq(jid, 'get', xml('query', { xmlns: BYTESTREAMS }), options);
  for (const { attrs } of answer?.getChildren('streamhost', BYTESTREAMS) ?? []) {
    const port = readPort(attrs['port']);
    const host = attrs['host'];
    const owner = Jid.parse(attrs['jid'] ?? '');
    if (port === undefined || host === undefined || !isHost(host)) continue;
    if (owner?.equals(jid) === true) return { jid, host, port };
  }
  return undefined;
}
