/** Before a transfer that we begin: online, the peer found, and what it can be told. */
import { randomId } from '../core/bytes.ts';
import type { Jid } from '../core/jid.ts';
import type { Envelope } from '../jet/envelope.ts';
import { NS_JET } from '../jet/security.ts';
import { FILE_TRANSFER } from '../jingle/file-description.ts';
import { Proposal } from '../jingle/message-initiation.ts';
import { JINGLE } from '../jingle/stanza.ts';
import { jetDevice, mayWaitFor, type WaitsFor } from '../transfer/jet-form.ts';
import { findPeer, type FoundPeer } from '../xmpp/find.ts';
import type { OnEvent, RouteOptions } from './types.ts';
import type { Workbench } from './workbench.ts';

/** Times that the list of a contact is asked for before it is needed. */
const MOST_ASKED = 4;

/** A resource that was found. */
export interface Approached {
  /** A full address. */
  readonly peer: Jid;
  readonly envelope: Envelope;
  /** Of a jet: the device to seal for. */
  readonly device?: number;
  /** What the peer answered (XEP-0353): the session has its id. */
  readonly proposal?: Proposal;
  /** How it reads digests. */
  readonly hashForm: 'raw' | 'hex';
  /** It waits for nothing new: it goes on with transfers of its own, and may be about to ask. */
  readonly resumes: boolean;
}

/** Whom to wait for, and how long. */
export type Approaching = Pick<RouteOptions, 'wait' | 'verifiedOnly'> & {
  /** Only this device of the peer's. */
  readonly device?: number;
  /** It is decided already who gets answers. */
  readonly attended?: boolean;
};

/**
 * Waits for a resource of the peer that can be told this.
 *
 * @throws JetError (exit 4) when there is none in time
 */
export async function approach(
  bench: Workbench,
  to: Jid,
  what: WaitsFor,
  { wait, verifiedOnly, device: only, attended = false }: Approaching,
  on: OnEvent,
  signal: AbortSignal,
): Promise<Approached> {
  const { clock, connection, roster, presence, envelopes } = bench;
  const readying = bench.ready(verifiedOnly);
  const omemo = bench.openOmemo(verifiedOnly);
  if (!attended) connection.audience = (from) => from.sameBare(to);
  // Its list is asked for while it answers: what it encrypts with stood there before its presence came. A
  // contact that comes and goes all the time does not make us ask all the time.
  let asked = 0;
  const there = new Set<string>();
  const deaf = presence.onChange((jid, resource) => {
    if (!jid.sameBare(to)) return;
    const key = jid.toString();
    if (resource === undefined) there.delete(key);
    else if (!there.has(key)) {
      // One that says once more that it is there has put nothing on its list since.
      there.add(key);
      omemo.foresee(to, asked++ < MOST_ASKED);
    }
  });
  // A device that stands on the list already need not be waited for: the peer answers while the rest is looked up.
  const early = omemo.device !== undefined;
  // A proposal is about a file for the peer: what we want from it is asked of a resource that is there.
  const proposal = what === 'offer' ? new Proposal(connection, to.bare) : undefined;
  let found: FoundPeer;
  try {
    await Promise.all([readying, early && presence.direct(to)]);
    if (roster.sees(to)) await presence.available();
    found = await findPeer({
      ...{ connection, roster, presence, clock, signal },
      caps: bench.caps,
      target: to,
      wanted: {
        features: [JINGLE, FILE_TRANSFER, NS_JET],
        envelopes: envelopes.all.map(({ feature }) => feature),
        serves: (candidate) =>
          mayWaitFor(candidate, what) && (only === undefined || jetDevice(candidate) === only),
      },
      wait: wait === Infinity ? 'forever' : wait,
      greeted: early,
      ...(proposal && { asking: proposal }),
      notify: () => {
        const peer = to.toString();
        const text = `${peer} to be online`;
        on({ id: randomId(), time: clock.now(), event: 'waiting', what: text, peer });
      },
    });
  } finally {
    deaf();
  }
  bench.log(`the resource ${found.jid.toString()} was chosen`);
  const envelope = envelopes.all.find(({ feature }) => found.features.has(feature));
  if (envelope === undefined) throw new Error('a peer without an envelope was found');
  const quirks = await bench.courtesies(omemo).beforeOffer(found, signal);
  bench.chosen(found.jid, quirks);
  const device = jetDevice(found);
  return {
    ...{ peer: found.jid, envelope, hashForm: quirks.hashForm },
    resumes: device !== undefined && !mayWaitFor(found, 'offer') && !mayWaitFor(found, 'request'),
    ...(device !== undefined && { device }),
    ...(proposal && found.sid === proposal.id && { proposal }),
  };
}
