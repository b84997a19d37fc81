/** Beginning a session for one content, and seeing its transfer through. */
import type { Element } from '@xmpp/xml';
import type { Cancel } from '../core/clock.ts';
import { asError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { ContentSession } from '../jingle/contents.ts';
import type { Initiates } from '../jingle/joint.ts';
import type { Content } from '../jingle/stanza.ts';
import { StanzaError } from '../xmpp/connection.ts';
import type { SessionEnd } from './machine.ts';
import type { Surroundings, Transfer } from './transfer.ts';

/** What a session begins with. */
export interface Initiating {
  /** A full address. */
  readonly to: Jid;
  /** The session id that the resource expects; random by default. */
  readonly sid?: string;
  /** Puts the one content together around our `<transport/>`. */
  readonly content: (session: ContentSession, transport: Element) => Content;
  /** Milliseconds that the peer has to accept or decline. */
  readonly answerMs: number;
  /** The peer has acknowledged it: now it has to answer. */
  readonly begun: () => void;
  /** Cancels the transfer. */
  readonly signal: AbortSignal;
}

/** Resolves with how it ended; whatever goes wrong on the way is in that. */
export async function initiate(
  { clock, sessions }: Surroundings & { readonly sessions: Initiates },
  transfer: Transfer,
  { to, sid, content, answerMs, begun, signal }: Initiating,
): Promise<SessionEnd> {
  const cancel = () => transfer.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  let unanswered: Cancel = () => undefined;
  try {
    signal.throwIfAborted();
    const contents = async (session: ContentSession) => {
      if (transfer.isOver) throw new Error('it ended before it was offered');
      unanswered = clock.after(answerMs, () => transfer.unanswered());
      return [content(session, await transfer.offerTransport(session))];
    };
    // A peer that is silent acknowledges not even this: an interrupt does not wait for that.
    await Promise.race([sessions.initiate(to, contents, transfer, sid).then(begun), transfer.done]);
  } catch (error) {
    // What the peer answers reaches the transfer by the session itself.
    if (!(error instanceof StanzaError)) transfer.fail(asError(error));
  }
  try {
    return await transfer.done;
  } finally {
    unanswered();
    signal.removeEventListener('abort', cancel);
  }
}
