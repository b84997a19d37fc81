/** Directs a connection's in-band requests to the stream they name: one handler for all streams. */
import type { Element } from '@xmpp/xml';
import type { Jid } from '../../core/jid.ts';
import { StanzaError, type Connection } from '../../xmpp/connection.ts';
import { IBB, readSid } from './stanza.ts';

/** Takes the requests of one stream; resolves when they may be acknowledged. @throws StanzaError */
export type StreamHandler = (request: Element) => Promise<void>;

interface Hub {
  readonly streams: Map<string, StreamHandler>;
  readonly leave: () => void;
}

const hubs = new WeakMap<Connection, Hub>();

/**
 * Takes the requests for the stream `sid` from exactly this full address. Everything else is
 * `item-not-found`.
 *
 * @returns the end of that
 * @throws StanzaError `conflict` when the peer has a stream of this id already
 */
export function attach(
  connection: Connection,
  peer: Jid,
  sid: string,
  handler: StreamHandler,
): () => void {
  const hub = hubs.get(connection) ?? create(connection);
  const key = keyOf(peer, sid);
  if (hub.streams.has(key)) throw new StanzaError('cancel', 'conflict', 'a stream of this sid');
  hub.streams.set(key, handler);
  return () => {
    if (hub.streams.get(key) !== handler) return;
    hub.streams.delete(key);
    if (hub.streams.size > 0) return;
    hubs.delete(connection);
    hub.leave();
  };
}

function create(connection: Connection): Hub {
  const streams = new Map<string, StreamHandler>();
  const leave = connection.onIq(IBB, undefined, async ({ from, type, payload }) => {
    if (type !== 'set') throw new StanzaError('modify', 'bad-request');
    const stream = streams.get(keyOf(from, readSid(payload)));
    if (stream === undefined) throw new StanzaError('cancel', 'item-not-found');
    await stream(payload);
    return undefined;
  });
  const hub = { streams, leave };
  hubs.set(connection, hub);
  return hub;
}

function keyOf(peer: Jid, sid: string): string {
  return JSON.stringify([peer.toString(), sid]);
}
