/** XEP-0280 1.0.1 Message Carbons. */
import { Jid } from '../core/jid.ts';
import { type Connection, StanzaError } from './connection.ts';
import { attr, type Element, xml } from './xml.ts';

const CARBONS = 'urn:xmpp:carbons:2';
const FORWARD = 'urn:xmpp:forward:0';
const UNANSWERED = new Set(['disconnect', 'remote-server-timeout']);

/** A copy of a message that another of our resources received or sent. */
export interface Carbon {
  readonly direction: 'received' | 'sent';
  readonly message: Element;
  readonly from: Jid;
}

/**
 * Asks the server for copies, now and in every new session on it. False where it has none: then what is
 * sent to our bare address does not reach us, since our priority is negative.
 *
 * @throws StanzaError `disconnect`, `remote-server-timeout`
 */
export async function enableCarbons(connection: Connection): Promise<boolean> {
  const enable = async () => {
    try {
      await connection.iq(null, 'set', xml('enable', { xmlns: CARBONS }));
      return true;
    } catch (error) {
      if (!(error instanceof StanzaError) || UNANSWERED.has(error.condition)) throw error;
      return false;
    }
  };
  connection.onState((state) => {
    // A stream that is lost once more comes back here.
    if (state.kind === 'online' && !state.resumed) enable().catch(() => undefined);
  });
  return enable();
}

/**
 * Hears messages to our full address, and the copies of those to our bare one as if they had come here.
 * What our other resources sent is nothing to us.
 */
export function hear(
  connection: Connection,
  listener: (message: Element, from: Jid) => void,
): () => void {
  return connection.onMessage((message, from) => {
    const carbon = readCarbon(message, from, connection.jid);
    if (carbon === undefined) listener(message, from);
    else if (carbon.direction === 'received') listener(carbon.message, carbon.from);
  });
}

/** Unwraps a copy; undefined unless it is from our own bare address (§11) and well-formed. */
export function readCarbon(message: Element, from: Jid, own: Jid): Carbon | undefined {
  if (from.toString() !== own.bare.toString()) return undefined;
  for (const direction of ['received', 'sent'] as const) {
    const copy = message.getChild(direction, CARBONS)?.getChild('forwarded', FORWARD);
    const inner = copy?.getChild('message', 'jabber:client');
    const sender = Jid.parse((inner && attr(inner, 'from')) ?? '');
    if (inner !== undefined && sender !== undefined)
      return { direction, message: inner, from: sender };
  }
  return undefined;
}
