/**
 * The negotiation of XEP-0260 1.0 (§2.4–2.6) as one table: what each side reached, which candidate
 * is nominated, who activates a proxy. No clock, no socket, no stanza.
 */

/** A streamhost that one side offers (XEP-0260 §2.2). */
export interface Candidate {
  readonly cid: string;
  readonly host: string;
  readonly port: number;
  /** The offerer's address, or the proxy's. */
  readonly jid: string;
  /** 0 to 2^31 − 1; higher is better. */
  readonly priority: number;
  readonly type: 'assisted' | 'direct' | 'proxy' | 'tunnel';
}

/** What one side found among the other's candidates: one it reached, or none. */
type Choice = Candidate | 'none';

/** The negotiation as one side sees it. */
export type State =
  | {
      readonly kind: 'trying';
      readonly role: 'initiator' | 'responder';
      /** What we reached of theirs. */
      readonly ours: Choice | undefined;
      /** What they reached of ours. */
      readonly theirs: Choice | undefined;
    }
  | { readonly kind: 'activating'; readonly candidate: Candidate }
  | { readonly kind: 'awaiting'; readonly candidate: Candidate }
  | { readonly kind: 'open' }
  | { readonly kind: 'failed' };

/** What happened. */
export type Event =
  | { readonly kind: 'reached'; readonly candidate: Candidate }
  | { readonly kind: 'exhausted' }
  | { readonly kind: 'peer-used'; readonly candidate: Candidate }
  | { readonly kind: 'peer-error' }
  | { readonly kind: 'proxy-activated' }
  | { readonly kind: 'proxy-refused' }
  | { readonly kind: 'peer-activated'; readonly cid: string }
  | { readonly kind: 'peer-proxy-error' }
  | { readonly kind: 'timeout' };

/** What is to be done, in this order. `offeredBy` says whose candidate carries the stream. */
export type Effect =
  | { readonly kind: 'send-used'; readonly cid: string }
  | { readonly kind: 'send-error' }
  | { readonly kind: 'activate'; readonly candidate: Candidate }
  | { readonly kind: 'send-activated'; readonly cid: string }
  | { readonly kind: 'send-proxy-error' }
  | {
      readonly kind: 'open';
      readonly candidate: Candidate;
      readonly offeredBy: 'self' | 'peer';
    }
  | { readonly kind: 'fail'; readonly reason: string };

/** A state and what entering it asks for. */
export interface Step {
  readonly state: State;
  readonly effects: readonly Effect[];
}

/** The beginning: nobody has reached anything. */
export function begin(role: 'initiator' | 'responder'): State {
  return { kind: 'trying', role, ours: undefined, theirs: undefined };
}

/** The negotiation's next step. An event that does not fit the state changes nothing. */
export function step(state: State, event: Event): Step {
  const same: Step = { state, effects: [] };
  if (state.kind === 'open' || state.kind === 'failed') return same;
  if (event.kind === 'timeout') return fail('the peer did not answer in time');
  if (state.kind === 'activating') return activating(state.candidate, event) ?? same;
  if (state.kind === 'awaiting') return awaiting(state.candidate, event) ?? same;
  switch (event.kind) {
    case 'reached':
      if (state.ours !== undefined) return same;
      return settle({ ...state, ours: event.candidate }, [
        { kind: 'send-used', cid: event.candidate.cid },
      ]);
    case 'exhausted':
      if (state.ours !== undefined) return same;
      return settle({ ...state, ours: 'none' }, [{ kind: 'send-error' }]);
    case 'peer-used':
      return state.theirs === undefined ? settle({ ...state, theirs: event.candidate }, []) : same;
    case 'peer-error':
      return state.theirs === undefined ? settle({ ...state, theirs: 'none' }, []) : same;
    case 'peer-proxy-error':
      return fail('the proxy of the peer did not work');
    case 'proxy-activated':
    case 'proxy-refused':
    case 'peer-activated':
      return same;
  }
}

/** Whether a candidate of the peer's can still be nominated, given what is known (XEP-0260 §2.4). */
export function canWin(state: State, candidate: Candidate): boolean {
  if (state.kind !== 'trying' || state.ours !== undefined) return false;
  if (state.theirs === undefined || state.theirs === 'none') return true;
  if (candidate.priority !== state.theirs.priority)
    return candidate.priority > state.theirs.priority;
  return state.role === 'initiator';
}

function settle(state: Extract<State, { kind: 'trying' }>, sent: readonly Effect[]): Step {
  const { ours, theirs } = state;
  if (ours === undefined || theirs === undefined) return { state, effects: sent };
  if (ours === 'none' && theirs === 'none') return fail('neither side could reach the other', sent);
  // On equal priorities the initiator's choice counts: what it reached among the responder's.
  const mine =
    theirs === 'none' ||
    (ours !== 'none' &&
      (ours.priority > theirs.priority ||
        (ours.priority === theirs.priority && state.role === 'initiator')));
  const [candidate, offeredBy] = mine ? [ours, 'peer' as const] : [theirs, 'self' as const];
  if (candidate === 'none') return fail('neither side could reach the other', sent);
  if (candidate.type !== 'proxy')
    return {
      state: { kind: 'open' },
      effects: [...sent, { kind: 'open', candidate, offeredBy }],
    };
  return offeredBy === 'self'
    ? {
        state: { kind: 'activating', candidate },
        effects: [...sent, { kind: 'activate', candidate }],
      }
    : { state: { kind: 'awaiting', candidate }, effects: sent };
}

function activating(candidate: Candidate, event: Event): Step | undefined {
  if (event.kind === 'proxy-activated')
    return {
      state: { kind: 'open' },
      effects: [
        { kind: 'send-activated', cid: candidate.cid },
        { kind: 'open', candidate, offeredBy: 'self' },
      ],
    };
  if (event.kind === 'proxy-refused')
    return fail('the proxy could not be activated', [{ kind: 'send-proxy-error' }]);
  return event.kind === 'peer-proxy-error' ? fail('the peer could not use the proxy') : undefined;
}

function awaiting(candidate: Candidate, event: Event): Step | undefined {
  if (event.kind === 'peer-proxy-error') return fail('the proxy of the peer did not work');
  if (event.kind !== 'peer-activated' || event.cid !== candidate.cid) return undefined;
  return { state: { kind: 'open' }, effects: [{ kind: 'open', candidate, offeredBy: 'peer' }] };
}

function fail(reason: string, before: readonly Effect[] = []): Step {
  return { state: { kind: 'failed' }, effects: [...before, { kind: 'fail', reason }] };
}
