/** XEP-0199 2.0.1 XMPP Ping. */
import type { Jid } from '../core/jid.ts';
import { type Connection, StanzaError } from './connection.ts';
import { xml } from './xml.ts';

export const PING = 'urn:xmpp:ping';

/** Answers pings. Returns the removal. */
export function answerPings(connection: Connection): () => void {
  return connection.onIq(PING, 'ping', () => undefined);
}

/**
 * True when the resource itself answers in time. An error that only a living client sends counts;
 * `service-unavailable` is what a server says for one that is gone, and does not.
 *
 * @param timeout - in ms
 */
export async function ping(
  connection: Connection,
  to: Jid,
  timeout = 3000,
  signal?: AbortSignal,
): Promise<boolean> {
  try {
    const options = signal === undefined ? { timeout } : { timeout, signal };
    await connection.iq(to, 'get', xml('ping', { xmlns: PING }), options);
    return true;
  } catch (error) {
    if (!(error instanceof StanzaError)) throw error;
    return error.condition === 'feature-not-implemented';
  }
}
