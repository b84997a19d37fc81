/** The edges of the table in `machine.ts`, found by asking it: what docs/state-machines.md draws. */
import { begin, step, type Event, type Part, type State } from './machine.ts';

/** An edge of the machine, as the documentation draws it. */
export interface Transition {
  readonly from: string;
  readonly event: string;
  readonly to: string;
}

/** Every kind of event, in each form that the table tells apart: the compiler sees that none is missing. */
const EXAMPLES: { readonly [K in Event['on']]: readonly (readonly [string, Event])[] } = {
  accepted: [['accepted', { on: 'accepted' }]],
  decided: [
    ['decided to accept', { on: 'decided', accept: true }],
    ['decided to decline', { on: 'decided', accept: false }],
  ],
  connected: [['connected', { on: 'connected' }]],
  unconnected: [
    ['unconnected, another method left', { on: 'unconnected', another: true }],
    ['unconnected, no method left', { on: 'unconnected', another: false }],
  ],
  'replace-offered': [
    ['usable replacement offered', { on: 'replace-offered', usable: true }],
    ['unusable replacement offered', { on: 'replace-offered', usable: false }],
  ],
  'replace-accepted': [['replacement accepted', { on: 'replace-accepted' }]],
  'replace-rejected': [['replacement rejected', { on: 'replace-rejected' }]],
  streamed: [
    ['all bytes through', { on: 'streamed', checksum: 'none' }],
    ['all bytes through, checksum promised', { on: 'streamed', checksum: 'promised' }],
    ['all bytes through, checksum owed', { on: 'streamed', checksum: 'owed' }],
  ],
  'stream-failed': [['stream broke', { on: 'stream-failed', error: new Error('example') }]],
  checksum: [['checksum', { on: 'checksum' }]],
  'proof-failed': [['proof failed', { on: 'proof-failed', error: new Error('example') }]],
  landed: [
    ['landed', { on: 'landed', as: 'landed' }],
    ['some of many landed', { on: 'landed', as: 'partly' }],
    ['a range landed', { on: 'landed', as: 'continues' }],
  ],
  receipt: [
    ['valid receipt', { on: 'receipt', proves: 'verified' }],
    ['valid receipt of some', { on: 'receipt', proves: 'partly' }],
  ],
  'peer-success': [
    ['a plain peer says success', { on: 'peer-success', certainty: 'delivered' }],
    ['peer says success with its receipt', { on: 'peer-success', certainty: 'verified' }],
    ['peer says success of some, with its receipt', { on: 'peer-success', certainty: 'partly' }],
    ['peer says success of a range', { on: 'peer-success', certainty: 'continues' }],
  ],
  'peer-ended': [
    ['peer declines', { on: 'peer-ended', reason: 'decline' }],
    ['peer ends it', { on: 'peer-ended', reason: 'general-error' }],
  ],
  'peer-gone': [['peer gone', { on: 'peer-gone' }]],
  cancel: [['cancelled by the user', { on: 'cancel' }]],
  fault: [['error of this side', { on: 'fault', error: new Error('example') }]],
  unanswered: [['unanswered', { on: 'unanswered' }]],
  silence: [['nothing in time', { on: 'silence' }]],
};

const RECEIPTS = { verified: 'receipt here', partly: 'receipt of some here' } as const;

/** Every edge that an offer can take on either side, found by asking the machine itself. */
export const transitions: readonly Transition[] = [
  ...reachable('sender', { sends: true, initiates: true }),
  ...reachable('receiver', { sends: false, initiates: false }),
];

function reachable(role: string, part: Part): Transition[] {
  const label = (state: State) => {
    if (state.at === 'ended') return state.outcome.kind;
    const marks = [
      ...(state.at === 'confirming' && state.receipt ? [RECEIPTS[state.receipt]] : []),
      ...(state.at === 'proving' && state.owed ? ['owed'] : []),
    ];
    return [role, state.at.replaceAll('-', ' '), ...marks].join(' ');
  };
  const found: Transition[] = [];
  const open = [begin(part)];
  const seen = new Set(open.map(label));
  for (let state = open.shift(); state !== undefined; state = open.shift()) {
    for (const [event, value] of Object.values(EXAMPLES).flat()) {
      const next = step(part, state, value).state;
      if (label(next) === label(state)) continue;
      found.push({ from: label(state), event, to: label(next) });
      if (seen.has(label(next))) continue;
      seen.add(label(next));
      open.push(next);
    }
  }
  return found;
}
