/**
 * One file's transfer as a pure table: from the offer to the end, for the side that sends and the one
 * that receives. Sessions (XEP-0166), transports and files are effects, performed by `transfer.ts`.
 */

/** What this side is in the transfer. */
export interface Part {
  /** True for the side whose bytes travel. */
  readonly sends: boolean;
  /** True for the side that began the session: it alone replaces a transport (XEP-0260 §2.5). */
  readonly initiates: boolean;
}

/** Why a transfer failed, as far as the table tells reasons apart. */
export type Fault =
  | { readonly by: 'self'; readonly error: Error }
  | { readonly by: 'peer'; readonly reason: string }
  /** `whole`: after all bytes had left, before it confirmed them. */
  | { readonly by: 'gone'; readonly whole: boolean }
  | { readonly by: 'silence'; readonly waitingFor: string }
  | { readonly by: 'unanswered' }
  | { readonly by: 'route' };

/** How a transfer ended. */
export type Outcome =
  /** The peer says so, as the servers carried it. */
  | { readonly kind: 'delivered' }
  /** The peer's receipt proves that it holds the file. */
  | { readonly kind: 'verified' }
  | { readonly kind: 'landed' }
  /** Of a folder, or a batch, some has landed and some has not: the receipt proves which. */
  | { readonly kind: 'partly' }
  | { readonly kind: 'declined'; readonly by: 'self' | 'peer' }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'failed'; readonly fault: Fault };

/** How a session ended: with its transfer, or with a range of the file and the next one to come in another. */
export type SessionEnd = Outcome | { readonly kind: 'continues' };

export type State =
  /** The offer is out, the peer decides. */
  | { readonly at: 'offered' }
  /** An offer came in, this side decides. */
  | { readonly at: 'deciding' }
  | { readonly at: 'connecting' }
  /** Ours has failed; the initiator of the session is to replace the transport. */
  | { readonly at: 'awaiting-replace' }
  /** Our transport-replace is out. */
  | { readonly at: 'replacing' }
  | { readonly at: 'streaming' }
  /** The peer has all the bytes, says so, and is gone before this side has heard that the last ones left. */
  | { readonly at: 'overtaken'; readonly certainty: Certainty }
  /** The stream broke; the peer may be about to say why. */
  | { readonly at: 'broken'; readonly error: Error }
  /** All bytes are out; the peer is to say `<success/>`. `receipt`: what it has proven already to have of them. */
  | { readonly at: 'confirming'; readonly receipt?: Receipt }
  /** All bytes are in and their tag is right; the checksum is to come. Without one that is owed nothing lands. */
  | { readonly at: 'proving'; readonly owed: boolean }
  | { readonly at: 'landing' }
  | { readonly at: 'ended'; readonly outcome: SessionEnd };

/** Whether a checksum that has not come yet was promised, or is owed (between two jets). */
export type ChecksumDue = 'none' | 'promised' | 'owed';

/** What a receipt proves: that all lies there, or what of it. */
export type Receipt = 'verified' | 'partly';

/** What the peer's `<success/>` is worth; `continues` is said of a range of the file. */
export type Certainty = 'delivered' | Receipt | 'continues';

/** What has landed: the whole, some of many files, or a range. */
export type Landing = 'landed' | 'partly' | 'continues';

export type Event =
  | { readonly on: 'accepted' }
  | { readonly on: 'decided'; readonly accept: boolean }
  | { readonly on: 'connected' }
  /** `another`: whether a further transport method is left to this side. */
  | { readonly on: 'unconnected'; readonly another: boolean }
  | { readonly on: 'replace-offered'; readonly usable: boolean }
  | { readonly on: 'replace-accepted' }
  | { readonly on: 'replace-rejected' }
  | { readonly on: 'streamed'; readonly checksum: ChecksumDue }
  | { readonly on: 'stream-failed'; readonly error: Error }
  | { readonly on: 'checksum' }
  | { readonly on: 'proof-failed'; readonly error: Error }
  | { readonly on: 'landed'; readonly as: Landing }
  /** A valid receipt came. */
  | { readonly on: 'receipt'; readonly proves: Receipt }
  /** `whole`: all the file's bytes are out, if not yet the tag. */
  | { readonly on: 'peer-success'; readonly certainty: Certainty; readonly whole?: boolean }
  | { readonly on: 'peer-ended'; readonly reason: string }
  | { readonly on: 'peer-gone' }
  | { readonly on: 'cancel' }
  /** The time that the peer had for its answer is over. */
  | { readonly on: 'unanswered' }
  | { readonly on: 'fault'; readonly error: Error }
  | { readonly on: 'silence' };

export type Effect =
  | { readonly do: 'accept' }
  | { readonly do: 'connect' }
  | { readonly do: 'replace' }
  | { readonly do: 'accept-replace' }
  | { readonly do: 'reject-replace' }
  | { readonly do: 'stream' }
  | { readonly do: 'send-checksum' }
  /** Compare hashes where there are any, then move the part to its name. */
  | { readonly do: 'land' }
  /** Ends the session with what the outcome says. */
  | { readonly do: 'terminate'; readonly reason: TerminateReason }
  /** Frees sockets, wipes secrets, drops the part unless it landed, and tells the outcome. */
  | { readonly do: 'finish'; readonly outcome: SessionEnd };

/** Conditions of XEP-0166 §7.4 that this side ends a session with. */
export type TerminateReason =
  | 'success'
  | 'decline'
  | 'cancel'
  | 'connectivity-error'
  | 'failed-transport'
  | 'timeout'
  /** Chosen by the error: security-error, media-error, failed-application … */
  | 'by-error';

/** Result of a step. */
export interface Step {
  readonly state: State;
  readonly effects: readonly Effect[];
}

/** Milliseconds that a state may last without an event; the person's own decision is not bounded here. */
export const BOUNDS: Partial<Record<State['at'], number>> = {
  // Longer than any negotiation, so that another transport can take its place.
  connecting: 75_000,
  'awaiting-replace': 30_000,
  replacing: 30_000,
  overtaken: 10_000,
  broken: 3_000,
  confirming: 120_000,
  proving: 20_000,
};

/** What a state waits for, in words for the user. */
export const WAITS: Partial<Record<State['at'], string>> = {
  connecting: 'a route to the peer',
  'awaiting-replace': 'another route',
  replacing: 'the answer to another route',
  confirming: 'the peer to confirm the file',
  proving: 'the checksum of the file',
};

const stay = (state: State): Step => ({ state, effects: [] });

function end(outcome: SessionEnd, reason?: TerminateReason): Step {
  const terminate: Effect[] = reason === undefined ? [] : [{ do: 'terminate', reason }];
  return { state: { at: 'ended', outcome }, effects: [...terminate, { do: 'finish', outcome }] };
}

const fail = (fault: Fault, reason?: TerminateReason): Step =>
  end({ kind: 'failed', fault }, reason);

/** The first state of a transfer. */
export function begin(part: Part): State {
  // Who answers the session decides whether there is a transfer at all.
  return part.initiates ? { at: 'offered' } : { at: 'deciding' };
}

/** What a peer, or whoever speaks for it, can bring about at any time. */
const FROM_OUTSIDE: ReadonlySet<Event['on']> = new Set([
  ...(['fault', 'peer-gone', 'peer-ended', 'peer-success'] as const),
]);

/** One event. Total: what does not fit a state leaves it as it is. */
export function step(part: Part, state: State, event: Event): Step {
  if (state.at === 'ended') return stay(state);
  // Everything is verified: nothing that the peer says now, or somebody in its name, makes it untrue.
  if (state.at === 'landing' && FROM_OUTSIDE.has(event.on)) return stay(state);
  switch (event.on) {
    case 'cancel':
      return end({ kind: 'cancelled' }, state.at === 'deciding' ? 'decline' : 'cancel');
    case 'unanswered':
      return state.at === 'offered' ? fail({ by: 'unanswered' }, 'timeout') : stay(state);
    case 'fault':
      return fail({ by: 'self', error: event.error }, 'by-error');
    case 'peer-gone':
      return receipted(state) ?? fail({ by: 'gone', whole: state.at === 'confirming' });
    case 'receipt':
      return state.at === 'confirming' ? stay({ receipt: event.proves, ...state }) : stay(state);
    case 'peer-success':
      return success(part, state, event);
    case 'peer-ended':
      return receipted(state) ?? peerEnded(state, event.reason);
    case 'silence':
      return silence(state);
    case 'replace-offered':
      return replaceOffered(state, event.usable);
    case 'accepted':
      return state.at === 'offered'
        ? { state: { at: 'connecting' }, effects: [{ do: 'connect' }] }
        : stay(state);
    case 'decided':
      if (state.at !== 'deciding') return stay(state);
      return event.accept
        ? { state: { at: 'connecting' }, effects: [{ do: 'accept' }, { do: 'connect' }] }
        : end({ kind: 'declined', by: 'self' }, 'decline');
    case 'connected':
      return state.at === 'connecting'
        ? { state: { at: 'streaming' }, effects: [{ do: 'stream' }] }
        : stay(state);
    case 'unconnected':
      return unconnected(part, state, event.another);
    case 'replace-accepted':
      return state.at === 'replacing'
        ? { state: { at: 'connecting' }, effects: [{ do: 'connect' }] }
        : stay(state);
    case 'replace-rejected':
      return state.at === 'replacing' ? fail({ by: 'route' }, 'failed-transport') : stay(state);
    case 'streamed':
      return streamed(part, state, event.checksum);
    case 'stream-failed':
      if (state.at === 'overtaken') return fail({ by: 'peer', reason: 'success' });
      return state.at === 'streaming'
        ? { state: { at: 'broken', error: event.error }, effects: [] }
        : stay(state);
    case 'checksum':
      return state.at === 'proving'
        ? { state: { at: 'landing' }, effects: [{ do: 'land' }] }
        : stay(state);
    case 'proof-failed':
      return state.at === 'streaming' || state.at === 'overtaken' || state.at === 'landing'
        ? fail({ by: 'self', error: event.error }, 'by-error')
        : stay(state);
    case 'landed':
      return state.at === 'landing' ? end({ kind: event.as }, 'success') : stay(state);
  }
}

/** Whoever has proven what it holds may go as it likes. */
function receipted(state: State): Step | undefined {
  return state.at === 'confirming' && state.receipt ? end({ kind: state.receipt }) : undefined;
}

function success(
  part: Part,
  state: State,
  { certainty, whole = false }: { readonly certainty: Certainty; readonly whole?: boolean },
): Step {
  if (part.sends && state.at === 'confirming') return end({ kind: certainty });
  // Who does not wait for the tag may be done before us: of an empty file it is all that comes.
  if (part.sends && state.at === 'streaming' && whole) return end({ kind: certainty });
  if (part.sends && state.at === 'streaming') return stay({ at: 'overtaken', certainty });
  // A `<success/>` for bytes that have not all gone, or from the side that sends, is no success. Of the
  // latter whoever waits for a checksum still has one to come, or to miss.
  if (state.at === 'proving') return stay(state);
  return fail({ by: 'peer', reason: 'success' });
}

function peerEnded(state: State, reason: string): Step {
  if (reason === 'decline' || reason === 'busy') {
    return state.at === 'offered'
      ? end({ kind: 'declined', by: 'peer' })
      : fail({ by: 'peer', reason });
  }
  // Our own error says more than the peer's echo of it.
  if (state.at === 'broken' && ['connectivity-error', 'failed-transport'].includes(reason)) {
    return fail({ by: 'self', error: state.error });
  }
  return fail({ by: 'peer', reason });
}

function silence(state: State): Step {
  switch (state.at) {
    case 'overtaken':
      return fail({ by: 'peer', reason: 'success' });
    case 'broken':
      return fail({ by: 'self', error: state.error }, 'connectivity-error');
    case 'proving':
      // The tag has proven the bytes already: a plain peer's checksum was its own wish.
      return state.owed
        ? fail({ by: 'silence', waitingFor: WAITS.proving ?? '' }, 'timeout')
        : { state: { at: 'landing' }, effects: [{ do: 'land' }] };
    case 'connecting':
    case 'awaiting-replace':
      return fail({ by: 'route' }, 'connectivity-error');
    case 'replacing':
    case 'confirming':
      return (
        receipted(state) ?? fail({ by: 'silence', waitingFor: WAITS[state.at] ?? '' }, 'timeout')
      );
    case 'offered':
    case 'deciding':
    case 'streaming':
    case 'landing':
    case 'ended':
      return stay(state);
  }
}

function unconnected(part: Part, state: State, another: boolean): Step {
  if (state.at !== 'connecting') return stay(state);
  if (!part.initiates) return stay({ at: 'awaiting-replace' });
  return another
    ? { state: { at: 'replacing' }, effects: [{ do: 'replace' }] }
    : fail({ by: 'route' }, 'connectivity-error');
}

function replaceOffered(state: State, usable: boolean): Step {
  const before = state.at === 'connecting' || state.at === 'awaiting-replace';
  if (before && usable) {
    return { state: { at: 'connecting' }, effects: [{ do: 'accept-replace' }, { do: 'connect' }] };
  }
  if (before) return { state, effects: [{ do: 'reject-replace' }] };
  // Bytes have left or arrived: the same key and IV over other bytes would be a two-time pad.
  if (state.at === 'streaming' || state.at === 'broken') {
    const { effects, ...rest } = fail({ by: 'route' }, 'connectivity-error');
    return { ...rest, effects: [{ do: 'reject-replace' }, ...effects] };
  }
  return { state, effects: [{ do: 'reject-replace' }] };
}

function streamed(part: Part, state: State, checksum: ChecksumDue): Step {
  if (state.at === 'overtaken') return end({ kind: state.certainty });
  if (state.at !== 'streaming') return stay(state);
  if (part.sends) return { state: { at: 'confirming' }, effects: [{ do: 'send-checksum' }] };
  return checksum === 'none'
    ? { state: { at: 'landing' }, effects: [{ do: 'land' }] }
    : stay({ at: 'proving', owed: checksum === 'owed' });
}
