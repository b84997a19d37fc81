/** The edges of the table in `machine.ts` (XEP-0260 1.0), found by asking it: what docs/state-machines.md draws. */
import { begin, step, type Candidate, type Event, type State } from './machine.ts';

/** An edge of the machine, as the documentation draws it. */
export interface Transition {
  readonly from: string;
  readonly event: string;
  readonly to: string;
}

const candidate = (cid: string, type: Candidate['type'], priority: number): Candidate => ({
  cid,
  type,
  priority,
  host: '192.0.2.1',
  port: 1080,
  jid: 'a@example.org/r',
});

const GOOD = candidate('good', 'direct', 2);
const PROXY = candidate('proxy', 'proxy', 1);

/** Every kind of event, in each form that the table tells apart: the compiler sees that none is missing. */
const EXAMPLES: { readonly [K in Event['kind']]: readonly (readonly [string, Event])[] } = {
  reached: [
    ['reached a direct candidate', { kind: 'reached', candidate: GOOD }],
    ['reached a proxy', { kind: 'reached', candidate: PROXY }],
  ],
  exhausted: [['reached none', { kind: 'exhausted' }]],
  'peer-used': [
    ['peer reached a direct candidate', { kind: 'peer-used', candidate: GOOD }],
    ['peer reached a proxy', { kind: 'peer-used', candidate: PROXY }],
  ],
  'peer-error': [['peer reached none', { kind: 'peer-error' }]],
  'proxy-activated': [['proxy activated', { kind: 'proxy-activated' }]],
  'proxy-refused': [['proxy refused', { kind: 'proxy-refused' }]],
  'peer-activated': [['peer activated it', { kind: 'peer-activated', cid: PROXY.cid }]],
  'peer-proxy-error': [['proxy error of the peer', { kind: 'peer-proxy-error' }]],
  timeout: [['nothing in time', { kind: 'timeout' }]],
};

/** Every edge that the initiator's side can take. The responder's differs in who wins a tie. */
export const transitions: readonly Transition[] = reachable();

function label(state: State): string {
  if (state.kind !== 'trying') return state.kind;
  const word = (choice: typeof state.ours, known: string) =>
    choice === undefined ? undefined : `${known} ${choice === 'none' ? 'none' : choice.type}`;
  const known = [word(state.ours, 'we reached'), word(state.theirs, 'peer reached')];
  return known.find((text) => text !== undefined) ?? 'trying';
}

function reachable(): Transition[] {
  const found: Transition[] = [];
  const open: State[] = [begin('initiator')];
  const seen = new Set(open.map(label));
  for (let state = open.shift(); state !== undefined; state = open.shift()) {
    for (const [event, value] of Object.values(EXAMPLES).flat()) {
      const next = step(state, value).state;
      if (label(next) === label(state)) continue;
      found.push({ from: label(state), event, to: label(next) });
      if (seen.has(label(next))) continue;
      seen.add(label(next));
      open.push(next);
    }
  }
  return found;
}
