/** What commands that wait for others have in common: to be seen by those alone, and to end well. */
import { randomId } from '../core/bytes.ts';
import { Exit, messageOf, sentence, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { Omemo } from '../omemo/omemo.ts';
import { isRequest } from '../transfer/incoming.ts';
import type { LiveTransfers } from '../transfer/live.ts';
import { notMade } from '../transfer/targets.ts';
import type { Receiver } from '../transfer/receive.ts';
import type { Holder } from '../transfer/share.ts';
import type { Waiting } from '../transfer/waiting.ts';
import { announce } from '../xmpp/find.ts';
import { connectionLost } from './connecting.ts';
import type { OnEvent } from './types.ts';
import type { Workbench } from './workbench.ts';

/** Who is waited for, and with what. */
export interface Attending {
  /** For the user: `offers`, `requests`. */
  readonly what: string;
  /** Those who were named, for the user; none for all that may. */
  readonly peers?: readonly Jid[];
  /** Who is dealt with: to all others nobody is there. */
  readonly deals: (jid: Jid) => boolean;
  /** Those who were named; who is no contact among them is shown our presence. */
  readonly named: readonly Jid[];
  readonly waiting: Waiting;
  readonly live: LiveTransfers;
  /** Called once we are seen. */
  readonly online?: () => void;
  readonly on: OnEvent;
  readonly signal: AbortSignal;
}

/** What a peer begins goes to the one that it is for: either may be gone on with where the other is waited for. */
export function answer({ sessions }: Workbench, receiver: Receiver, holder: Holder): void {
  sessions.onInitiate((incoming) =>
    isRequest(incoming) ? holder.handle(incoming) : receiver.handle(incoming),
  );
}

/** Answers what a peer has encrypted to us, so that its ratchet turns. */
export function acknowledging({ log }: Workbench, omemo: Omemo): (peer: Jid) => void {
  return (peer) => {
    omemo.acknowledge(peer).catch((error: unknown) => log(messageOf(error)));
  };
}

/** Tells the user what of a peer's was refused, and why. */
export function refusing(
  { ui }: Workbench,
  what: 'offer' | 'request',
): (peer: Jid, why: string) => void {
  const named = what === 'offer' ? 'an offer' : 'a request';
  return (peer, why) =>
    ui.notice(`${what}-refused`, sentence(`Refused ${named} of ${peer.bare.toString()}: ${why}`));
}

/** Tells the user what of a folder is not made, and why. */
export function leavingOut({ ui }: Workbench): (path: string, why: string) => void {
  return (path, why) => ui.notice('left-out', notMade(path, why));
}

/**
 * Appears online to those who are dealt with, until the waiting is over.
 *
 * @throws JetError (exit 3, `connection-lost`); what {@link Waiting.over} rejects with
 */
export async function attend(
  { clock, connection, roster, presence }: Workbench,
  { what, peers = [], deals, named, waiting, live, online, on, signal }: Attending,
): Promise<ExitStatus> {
  const invited = named.filter((jid) => !roster.sees(jid));
  const hide = await announce({ connection, presence, deals, invited });
  const unwatch = connection.onState((state) => {
    if (state.kind === 'closed') waiting.fail(connectionLost(state.reason));
  });
  online?.();
  on({
    id: randomId(),
    time: clock.now(),
    event: 'waiting',
    what: `${what} to ${connection.jid.bare.toString()}`,
    ...(peers.length > 0 && { peer: peers.map((jid) => jid.toString()).join(', ') }),
  });
  try {
    const exit = await waiting.over;
    // To be stopped while a file is on its way is not the normal end.
    return signal.aborted && live.underWay ? Exit.transport : exit;
  } finally {
    unwatch();
    hide();
  }
}
