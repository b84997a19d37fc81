/** Counting of stanzas for XEP-0198 v1.6.3: what we took, and what we sent that is not acknowledged. */
import type { Element } from '@xmpp/xml';

/** Counters are of 32 bits and wrap (XEP-0198 §4). */
const WRAP = 0x1_0000_0000;

/** A stanza on its way; `settle` tells a sender that waits for it. */
export interface Entry {
  readonly stanza: Element;
  readonly settle?: (error?: Error) => void;
}

/** The state of stream management of one session with the server. */
export interface Ledger {
  readonly id: string;
  /** How many stanzas we took. */
  readonly inbound: number;
  /** How many of ours the server took. */
  readonly acknowledged: number;
  readonly unacknowledged: readonly Entry[];
}

export function openLedger(id: string): Ledger {
  return { id, inbound: 0, acknowledged: 0, unacknowledged: [] };
}

/** One stanza came in. */
export function received(ledger: Ledger): Ledger {
  return { ...ledger, inbound: (ledger.inbound + 1) % WRAP };
}

/** Stanzas went out, or wait to. */
export function sent(ledger: Ledger, entry: Entry): Ledger {
  return { ...ledger, unacknowledged: [...ledger.unacknowledged, entry] };
}

/** The server took `h` stanzas in all; undefined when it claims more than we sent. */
export function acknowledge(ledger: Ledger, h: number): Ledger | undefined {
  const count = (h - ledger.acknowledged + WRAP) % WRAP;
  if (count > ledger.unacknowledged.length) return undefined;
  return { ...ledger, acknowledged: h, unacknowledged: ledger.unacknowledged.slice(count) };
}
