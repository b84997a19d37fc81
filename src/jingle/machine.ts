/**
 * XEP-0166 1.1.2, Jingle: the life of a session (§4) as a pure function. The driver in `session.ts`
 * performs the effects.
 */
import type { Action, Condition } from './stanza.ts';
import { ACTIONS } from './stanza.ts';

/** `offered`: session-initiate is on its way; `pending`: it arrived; `ended` is for ever. */
export type Phase = 'offered' | 'pending' | 'active' | 'ended';
/** Our side of the session. */
export type Role = 'initiator' | 'responder';

/** Where a session is. Contents are known by their key. */
export interface State {
  readonly role: Role;
  readonly phase: Phase;
  /** Contents with a transport-replace of ours that the peer has not answered. */
  readonly ours: readonly string[];
  /** Contents with a transport-replace of the peer's that we have not answered. */
  readonly theirs: readonly string[];
}

/** Why a request of ours failed: see `failureOf`. */
export type Failure = 'gone' | 'lost' | 'refused' | 'tie-break' | 'timeout' | 'unsupported';

/** What can happen. `content` is given where the action speaks of one transport. */
export type Event =
  | { readonly type: 'receive'; readonly action: Action; readonly content?: string }
  | {
      readonly type: 'send';
      readonly action: Action;
      readonly content?: string;
      readonly reason?: Condition;
    }
  | { readonly type: 'acknowledged'; readonly action: Action }
  | {
      readonly type: 'failed';
      readonly action: Action;
      readonly content?: string;
      readonly failure: Failure;
    }
  | { readonly type: 'peer-gone' };

/** What the driver has to do, in this order. */
export type Effect =
  /** Answer the request with an empty result. */
  | { readonly type: 'acknowledge' }
  /** Answer the request with this Jingle error (§10). */
  | {
      readonly type: 'refuse';
      readonly error: 'out-of-order' | 'tie-break' | 'unknown-session' | 'unsupported';
    }
  /** Tell the handler. */
  | { readonly type: 'deliver' }
  /** Write our stanza. */
  | { readonly type: 'send' }
  /** The caller asked for what the session does not allow now. */
  | { readonly type: 'misuse' }
  /** Our transport-replace lost against the peer's. */
  | { readonly type: 'withdrawn'; readonly content: string }
  /** Say to the peer that it is over. */
  | { readonly type: 'terminate'; readonly reason: Condition }
  /** Over: the reason of the peer's stanza when `by` is `peer`. */
  | { readonly type: 'end'; readonly by: 'self' | 'peer' | 'gone'; readonly reason: Condition };

/** What came of an event. */
export interface Step {
  readonly state: State;
  readonly effects: readonly Effect[];
}

/** A session that begins: ours is `offered`, the peer's `pending`. */
export function begin(role: Role): State {
  return { role, phase: role === 'initiator' ? 'offered' : 'pending', ours: [], theirs: [] };
}

/** The machine. Never throws. */
export function step(state: State, event: Event): Step {
  switch (event.type) {
    case 'receive':
      return receive(state, event.action, event.content);
    case 'send':
      return send(state, event.action, event.content, event.reason);
    case 'acknowledged':
      return state.phase === 'offered' && event.action === 'session-initiate'
        ? to({ ...state, phase: 'pending' })
        : to(state);
    case 'failed':
      return failed(state, event.action, event.failure, event.content);
    case 'peer-gone':
      return state.phase === 'ended' ? to(state) : end(state, 'gone', 'gone');
  }
}

const ACK: Effect = { type: 'acknowledge' };
const DELIVER: Effect = { type: 'deliver' };

function receive(state: State, action: Action, content: string | undefined): Step {
  if (state.phase === 'ended') {
    // Delivered again: the acknowledgement was lost, not the session.
    const again = action === 'session-terminate' || (isInitiate(action) && isResponder(state));
    return again ? to(state, ACK) : refuse(state, 'unknown-session');
  }
  switch (action) {
    case 'session-initiate':
      return isResponder(state) ? to(state, ACK) : refuse(state, 'tie-break');
    case 'session-accept':
      if (isResponder(state)) return refuse(state, 'out-of-order');
      if (state.phase === 'active') return to(state, ACK);
      return to({ ...state, phase: 'active' }, ACK, DELIVER);
    case 'session-terminate':
      return to(over(state), ACK, { type: 'end', by: 'peer', reason: 'general-error' });
    case 'session-info':
    case 'transport-info':
      return to(state, ACK, DELIVER);
    case 'content-add':
    case 'content-accept':
    case 'content-reject':
    case 'content-remove':
      return to(state, ACK, DELIVER);
    case 'content-modify':
    case 'description-info':
    case 'security-info':
      return refuse(state, 'unsupported');
    case 'transport-replace':
      return replaced(state, content ?? '');
    case 'transport-accept':
    case 'transport-reject': {
      if (!state.ours.includes(content ?? '')) return refuse(state, 'out-of-order');
      return to({ ...state, ours: without(state.ours, content) }, ACK, DELIVER);
    }
  }
}

/** Of two that cross, the initiator's stands (§7.2.16). */
function replaced(state: State, content: string): Step {
  if (state.theirs.includes(content)) return refuse(state, 'out-of-order');
  const crossing = state.ours.includes(content);
  if (crossing && state.role === 'initiator') return refuse(state, 'tie-break');
  const next = {
    ...state,
    ours: without(state.ours, content),
    theirs: [...state.theirs, content],
  };
  return crossing ? to(next, ACK, { type: 'withdrawn', content }, DELIVER) : to(next, ACK, DELIVER);
}

function send(
  state: State,
  action: Action,
  content: string | undefined,
  reason: Condition = 'general-error',
): Step {
  const misuse = to(state, { type: 'misuse' });
  if (state.phase === 'ended') return misuse;
  switch (action) {
    case 'session-initiate':
    case 'content-modify':
    case 'description-info':
    case 'security-info':
      return misuse;
    case 'session-accept':
      return isResponder(state) && state.phase === 'pending'
        ? to({ ...state, phase: 'active' }, { type: 'send' })
        : misuse;
    case 'session-terminate':
      return to(over(state), { type: 'terminate', reason }, { type: 'end', by: 'self', reason });
    case 'transport-replace': {
      const key = content ?? '';
      if (state.ours.includes(key) || state.theirs.includes(key)) return misuse;
      return to({ ...state, ours: [...state.ours, key] }, { type: 'send' });
    }
    case 'transport-accept':
    case 'transport-reject': {
      if (!state.theirs.includes(content ?? '')) return misuse;
      return to({ ...state, theirs: without(state.theirs, content) }, { type: 'send' });
    }
    case 'session-info':
    case 'transport-info':
    case 'content-add':
    case 'content-accept':
    case 'content-reject':
    case 'content-remove':
      return to(state, { type: 'send' });
  }
}

function failed(state: State, action: Action, failure: Failure, content: string | undefined): Step {
  if (state.phase === 'ended') return to(state);
  switch (failure) {
    case 'gone':
      return end(state, 'gone', 'gone');
    case 'timeout':
      return giveUp(state, 'gone', 'timeout');
    case 'lost':
      return end(state, 'gone', 'connectivity-error');
    case 'tie-break':
      // The peer's own replacement is on its way, or has arrived.
      if (action === 'transport-replace' && !isInitiator(state)) {
        const key = content ?? '';
        return state.ours.includes(key)
          ? to({ ...state, ours: without(state.ours, key) }, { type: 'withdrawn', content: key })
          : to(state);
      }
      return refusedBy(state, action);
    case 'unsupported':
      // Peers need not understand an informational message (§6.8).
      return action === 'session-info' ? to(state) : refusedBy(state, action);
    case 'refused':
      return refusedBy(state, action);
  }
}

/**
 * A session-initiate that was refused never became a session: there is nothing to terminate. Nor did a content
 * that was added become one of it.
 */
function refusedBy(state: State, action: Action): Step {
  if (action === 'content-add') return to(state);
  if (action === 'session-initiate') return end(state, 'peer', 'general-error');
  const transport = action.startsWith('transport-');
  return giveUp(state, 'self', transport ? 'failed-transport' : 'general-error');
}

function giveUp(state: State, by: 'self' | 'gone', reason: Condition): Step {
  return to(over(state), { type: 'terminate', reason }, { type: 'end', by, reason });
}

function end(state: State, by: 'peer' | 'gone', reason: Condition): Step {
  return to(over(state), { type: 'end', by, reason });
}

function over(state: State): State {
  return { role: state.role, phase: 'ended', ours: [], theirs: [] };
}

function to(state: State, ...effects: Effect[]): Step {
  return { state, effects };
}

function refuse(
  state: State,
  error: 'out-of-order' | 'tie-break' | 'unknown-session' | 'unsupported',
): Step {
  return to(state, { type: 'refuse', error });
}

function without(keys: readonly string[], key: string | undefined): string[] {
  return keys.filter((other) => other !== key);
}

function isInitiate(action: Action): boolean {
  return action === 'session-initiate';
}

function isInitiator(state: State): boolean {
  return state.role === 'initiator';
}

function isResponder(state: State): boolean {
  return state.role === 'responder';
}

/** An edge of the machine, as the documentation draws it. */
export interface Transition {
  readonly from: string;
  readonly event: string;
  readonly to: string;
}

/** Every edge on which the phase changes, found by asking the machine itself. */
export const transitions: readonly Transition[] = findTransitions();

function findTransitions(): Transition[] {
  const found = new Map<string, Transition>();
  const failures: Failure[] = ['gone', 'lost', 'refused', 'timeout'];
  const events: [string, Event][] = [
    ...ACTIONS.flatMap((action): [string, Event][] => [
      [`receive ${action}`, { type: 'receive', action }],
      [`send ${action}`, { type: 'send', action }],
      [`${action} acknowledged`, { type: 'acknowledged', action }],
    ]),
    ...failures.map((failure): [string, Event] => [
      `request failed: ${failure}`,
      { type: 'failed', action: 'transport-info', failure },
    ]),
    ['peer gone', { type: 'peer-gone' }],
  ];
  for (const role of ['initiator', 'responder'] as const)
    for (const phase of ['offered', 'pending', 'active'] as const) {
      if (role === 'responder' && phase === 'offered') continue;
      for (const [event, value] of events) {
        const next = step({ ...begin(role), phase }, value).state.phase;
        if (next === phase) continue;
        const edge = {
          from: `${role} ${phase}`,
          event,
          to: next === 'ended' ? 'ended' : `${role} ${next}`,
        };
        found.set(`${edge.from}|${edge.event}`, edge);
      }
    }
  return [...found.values()];
}
