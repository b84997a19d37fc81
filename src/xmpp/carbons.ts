/** XEP-0280 1.0.1 Message Carbons. */
import { Jid } from '../core/jid.ts';
import { type Connection, StanzaError } from './connection.ts';
import { attr, type Element, xml } from './xml.ts';

const CARBONS = 'urn:xmpp:carbons:2';
const FORWARD = 'urn:xmpp:forward:0';

/** A copy of a message that another of our resources received or sent. */
export interface Carbon {
  readonly direction: 'received' | 'sent';
  readonly message: Element;
  readonly from: Jid;
}

/** Asks the server for copies. */
export async function enableCarbons(connection: Connection): Promise<void> {
  await connection.iq(null, 'set', xml('enable', { xmlns: CARBONS }));
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

/**
 * Hears of messages, also of those that the server gave to another of our resources: nothing that is sent
 * to our bare address reaches a negative priority but as a copy. Returns the removal.
 */
export function hearMessages(
  connection: Connection,
  listener: (message: Element, from: Jid) => void,
): () => void {
  return connection.onMessage((message, from) => {
    const copy = readCarbon(message, from, connection.jid);
    if (copy === undefined) listener(message, from);
    else if (copy.direction === 'received') listener(copy.message, copy.from);
  });
}

/** Has copies sent for as long as the connection lasts; a server without them is done without. */
export async function useCarbons(connection: Connection): Promise<void> {
  const enable = () =>
    enableCarbons(connection).catch((error: unknown) => {
      if (!(error instanceof StanzaError)) throw error;
    });
  connection.onState((state) => {
    if (state.kind === 'online' && !state.resumed) void enable();
  });
  await enable();
}
