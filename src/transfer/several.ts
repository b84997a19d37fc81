/** Several offers that belong to one `jet send` (docs/sealed.md §4.3): said by the sender, counted by the receiver. */
import { makeRoom } from '../core/bounded.ts';
import { Exit, type ExitStatus } from '../core/errors.ts';
import { SealedError } from '../jet/sealed.ts';
import type { Element } from '@xmpp/xml';
import { attr, bool, uint, xml } from '../xmpp/xml.ts';

/** Most offers of one send: a bound for what a receiver remembers. */
const MOST = 1_000_000;

/** Most sends that are counted at once; the oldest is forgotten then. */
const MOST_SENDS = 100;

/** Which one of several offers this is. */
export interface Membership {
  /** Of the send: 32 hex digits. */
  readonly send: string;
  /** From 0. */
  readonly index: number;
  /** At least 1. */
  readonly count: number;
  /** Others of the send may be added to its session. */
  readonly joint?: boolean;
}

/** `<of/>` in the body of a sealed offer. */
export function encodeMembership({ send, index, count, joint = false }: Membership): Element {
  const attrs = { send, index: String(index), count: String(count) };
  return xml('of', { ...attrs, ...(joint && { joint: 'true' }) });
}

/** @throws SealedError */
export function decodeMembership(element: Element): Membership {
  const send = attr(element, 'send') ?? '';
  const index = uint(attr(element, 'index'), MOST - 1);
  const count = uint(attr(element, 'count'), MOST);
  const joint = bool(attr(element, 'joint'));
  const counts = index !== undefined && count !== undefined && index < count;
  if (!/^[0-9a-f]{32}$/.test(send) || !counts || joint === undefined)
    throw new SealedError('malformed', 'the send that an offer belongs to is not named rightly');
  return { send, index, count, ...(joint && { joint }) };
}

/** What several statuses come to: that of the only one, 0 for all well, else 10. */
export function overall(statuses: readonly ExitStatus[]): ExitStatus {
  const [only = Exit.done] = statuses;
  if (statuses.every((status) => status === Exit.done)) return Exit.done;
  return statuses.length === 1 ? only : Exit.partial;
}

/** An offer that has ended. */
export interface EndedOffer {
  /** Full address. */
  readonly peer: string;
  /** Of the peer's device. */
  readonly fingerprint: string;
  readonly of?: Membership;
  readonly accepted: boolean;
  readonly exit: ExitStatus;
  /** Its connection broke, and the other side may come back and go on with it. */
  readonly broke?: boolean;
}

interface Send {
  readonly peer: string;
  readonly count: number;
  readonly ended: Map<number, ExitStatus>;
  accepted: boolean;
}

/** Tells when all offers of one send have ended, each a transfer of its own where nothing is said. */
export class Sends {
  readonly #open = new Map<string, Send>();

  /** Takes the end of an offer. @returns the status of its whole send once that is over and something of it was taken */
  ended(offer: EndedOffer): ExitStatus | undefined {
    const { of, peer, fingerprint, accepted, exit, broke = false } = offer;
    if (of === undefined || of.count === 1) return accepted ? exit : undefined;
    const key = `${fingerprint} ${of.send}`;
    const send = this.#open.get(key) ?? {
      peer,
      count: of.count,
      ended: new Map(),
      accepted: false,
    };
    send.accepted ||= accepted;
    if (!broke) send.ended.set(of.index, exit);
    makeRoom(this.#open, key, MOST_SENDS);
    this.#open.set(key, send);
    if (send.ended.size < send.count) return undefined;
    this.#open.delete(key);
    return send.accepted ? overall([...send.ended.values()]) : undefined;
  }

  /** True while offers of a send that was accepted are still to come. */
  get unfinished(): boolean {
    return [...this.#open.values()].some(({ accepted }) => accepted);
  }

  /**
   * No more is to come: of this full address, or of anybody.
   *
   * @returns how many offers never came, of the first send that something was taken of
   */
  abandon(peer?: string): { readonly missing: number; readonly status: ExitStatus } | undefined {
    const gone = [...this.#open].filter(([, send]) => peer === undefined || send.peer === peer);
    for (const [key] of gone) this.#open.delete(key);
    const send = gone.map(([, each]) => each).find(({ accepted }) => accepted);
    if (send === undefined) return undefined;
    const well = [...send.ended.values()].includes(Exit.done);
    return {
      missing: send.count - send.ended.size,
      status: well ? Exit.partial : Exit.transport,
    };
  }
}
