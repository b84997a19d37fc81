import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  begin,
  BOUNDS,
  step,
  type Effect,
  type Event,
  type Part,
  type State,
} from '../../../src/transfer/machine.ts';
import { errorOf } from '../../../src/transfer/outcome.ts';
import { endOf } from '../../../src/transfer/rounds.ts';
import { NEGOTIATION_TIME } from '../../../src/transport/s5b/negotiation.ts';

const SENDER: Part = { sends: true, initiates: true };
const RECEIVER: Part = { sends: false, initiates: false };
const broke = new Error('the stream broke');

/** Runs events from the beginning; gives the last state and all effects as words. */
function play(part: Part, ...events: Event[]): { state: State; effects: string[] } {
  let state = begin(part);
  const effects: string[] = [];
  for (const event of events) {
    const next = step(part, state, event);
    state = next.state;
    for (const effect of next.effects) effects.push(word(effect));
  }
  return { state, effects };
}

function word(effect: Effect): string {
  if (effect.do === 'terminate') return `terminate ${effect.reason}`;
  if (effect.do === 'finish') return `finish ${effect.outcome.kind}`;
  return effect.do;
}

const streamedEvent: Event = { on: 'streamed', checksum: 'none' };
const success: Event = { on: 'peer-success', certainty: 'delivered' };

describe('the sender', () => {
  test('delivers when the peer says success after the last byte', () => {
    const sent: Event[] = [{ on: 'accepted' }, { on: 'connected' }, streamedEvent];
    const { effects } = play(SENDER, ...sent, success);
    expect(effects).toEqual(['connect', 'stream', 'send-checksum', 'finish delivered']);
  });

  test('delivers what the peer confirms before this side knows that the last byte has left', () => {
    const early: Event[] = [{ on: 'accepted' }, { on: 'connected' }, success];
    expect(play(SENDER, ...early).state.at).toBe('overtaken');
    expect(play(SENDER, ...early, streamedEvent).effects.at(-1)).toBe('finish delivered');
    for (const last of [
      { on: 'stream-failed', error: broke },
      { on: 'proof-failed', error: broke },
      { on: 'silence' },
    ] as const)
      expect(play(SENDER, ...early, last).effects.at(-1)).toBe('finish failed');
  });

  test('delivers when the peer does not wait for the tag', () => {
    const sending: Event[] = [{ on: 'accepted' }, { on: 'connected' }];
    const early = (whole: boolean) =>
      play(SENDER, ...sending, { on: 'peer-success', certainty: 'delivered', whole }).effects;
    expect(early(true).at(-1)).toBe('finish delivered');
    expect(early(false).at(-1)).toBe('stream');
  });

  test.each(['verified', 'partly'] as const)('is %s when the success comes so', (certainty) => {
    const sent: Event[] = [{ on: 'accepted' }, { on: 'connected' }, streamedEvent];
    const { effects } = play(SENDER, ...sent, { on: 'peer-success', certainty });
    expect(effects.at(-1)).toBe(`finish ${certainty}`);
  });

  test.each<[string, Event]>([
    ['the peer goes away', { on: 'peer-gone' }],
    ['the peer ends it in another way', { on: 'peer-ended', reason: 'general-error' }],
    ['nothing more comes', { on: 'silence' }],
  ])('knows what has landed after a valid receipt, even if %s', (_what, event) => {
    const sent: Event[] = [{ on: 'accepted' }, { on: 'connected' }, streamedEvent];
    for (const proves of ['verified', 'partly'] as const) {
      const { effects } = play(SENDER, ...sent, { on: 'receipt', proves }, event);
      expect(effects.at(-1)).toBe(`finish ${proves}`);
    }
    expect(play(SENDER, ...sent, event).effects.at(-1)).toBe('finish failed');
  });

  test('says of a peer that goes away whether all had left', () => {
    const goes = (...before: Event[]) => {
      const last = step(SENDER, play(SENDER, ...before).state, { on: 'peer-gone' }).effects.at(-1);
      const about = { peer: 'bob@example.org', file: 'a.txt', sends: true };
      return last?.do === 'finish' ? errorOf(endOf(last.outcome), about)?.message : undefined;
    };
    const streaming: Event[] = [{ on: 'accepted' }, { on: 'connected' }];
    expect(goes(...streaming)).toBe(
      'a.txt was not sent to bob@example.org: bob@example.org went offline. Try again when it is back.',
    );
    expect(goes(...streaming, streamedEvent)).toBe(
      'All of a.txt left, but bob@example.org went offline before it confirmed the file, and may have it or not. Try again when it is back.',
    );
  });

  test.each<[string, Event[]]>([
    ['before the accept', []],
    ['before the route', [{ on: 'accepted' }]],
  ])('takes a success %s for a failure', (_when, events) => {
    const { effects } = play(SENDER, ...events, success);
    expect(effects.at(-1)).toBe('finish failed');
  });

  test('replaces a transport that cannot connect, once for each that is left', () => {
    const { effects } = play(
      SENDER,
      { on: 'accepted' },
      { on: 'unconnected', another: true },
      { on: 'replace-accepted' },
      { on: 'unconnected', another: false },
    );
    expect(effects).toEqual([
      'connect',
      'replace',
      'connect',
      'terminate connectivity-error',
      'finish failed',
    ]);
  });

  test('is declined only while the offer stands', () => {
    const decline: Event = { on: 'peer-ended', reason: 'decline' };
    expect(play(SENDER, decline).effects).toEqual(['finish declined']);
    expect(play(SENDER, { on: 'accepted' }, decline).effects.at(-1)).toBe('finish failed');
  });
});

describe('the receiver', () => {
  const streaming: Event[] = [{ on: 'decided', accept: true }, { on: 'connected' }];

  test.each(['landed', 'partly'] as const)('lands, and only then says success: %s', (as) => {
    const { effects } = play(RECEIVER, ...streaming, streamedEvent, { on: 'landed', as });
    expect(effects).toEqual([
      ...['accept', 'connect', 'stream', 'land'],
      ...['terminate success', `finish ${as}`],
    ]);
  });

  test('waits for a checksum that was promised', () => {
    const due: Event = { on: 'streamed', checksum: 'promised' };
    expect(play(RECEIVER, ...streaming, due).state.at).toBe('proving');
    expect(play(RECEIVER, ...streaming, due, { on: 'checksum' }).effects.at(-1)).toBe('land');
    expect(play(RECEIVER, ...streaming, due, { on: 'silence' }).effects.at(-1)).toBe('land');
  });

  test('lands nothing without a checksum that is owed', () => {
    const due: Event = { on: 'streamed', checksum: 'owed' };
    expect(play(RECEIVER, ...streaming, due, { on: 'checksum' }).effects.at(-1)).toBe('land');
    const { effects } = play(RECEIVER, ...streaming, due, { on: 'silence' });
    expect(effects).not.toContain('land');
    expect(effects.at(-1)).toBe('finish failed');
  });

  test.each<[string, Event]>([
    ['the peer ends the session', { on: 'peer-ended', reason: 'cancel' }],
    ['the peer says success', success],
    ['the peer goes away', { on: 'peer-gone' }],
    ['something forged comes', { on: 'fault', error: broke }],
  ])('tells of what is verified as landed, even if meanwhile %s', (_what, event) => {
    const { effects } = play(RECEIVER, ...streaming, streamedEvent, event, {
      on: 'landed',
      as: 'landed',
    });
    expect(effects.at(-1)).toBe('finish landed');
    // Before that it ends.
    expect(play(RECEIVER, ...streaming, event).effects.at(-1)).toBe('finish failed');
  });

  test('never lands what could not be proven', () => {
    const { effects } = play(RECEIVER, ...streaming, { on: 'proof-failed', error: broke });
    expect(effects).not.toContain('land');
    expect(effects.slice(-2)).toEqual(['terminate by-error', 'finish failed']);
  });

  test('refuses another transport once a byte may have arrived, and ends', () => {
    for (const more of [[], [{ on: 'stream-failed', error: broke } as const]]) {
      const offered: Event = { on: 'replace-offered', usable: true };
      const { effects } = play(RECEIVER, ...streaming, ...more, offered);
      expect(effects.slice(-3)).toEqual([
        ...['reject-replace', 'terminate connectivity-error', 'finish failed'],
      ]);
    }
  });

  test('takes another transport before that', () => {
    const { effects } = play(
      RECEIVER,
      { on: 'decided', accept: true },
      { on: 'unconnected', another: true },
      { on: 'replace-offered', usable: true },
    );
    expect(effects).toEqual(['accept', 'connect', 'accept-replace', 'connect']);
  });

  test('goes on landing when the sender leaves after its last byte', () => {
    const { state } = play(RECEIVER, ...streaming, streamedEvent, success);
    expect(state.at).toBe('landing');
  });
});

const anyEvent: fc.Arbitrary<Event> = fc.oneof(
  fc
    .constantFrom(
      ...(['accepted', 'connected', 'replace-accepted', 'replace-rejected', 'checksum'] as const),
      ...(['peer-gone', 'cancel', 'silence', 'unanswered'] as const),
    )
    .map((on): Event => ({ on })),
  fc.boolean().map((accept): Event => ({ on: 'decided', accept })),
  fc
    .constantFrom('landed' as const, 'partly' as const, 'continues' as const)
    .map((as): Event => ({ on: 'landed', as })),
  fc
    .constantFrom('verified' as const, 'partly' as const)
    .map((proves): Event => ({ on: 'receipt', proves })),
  fc.boolean().map((another): Event => ({ on: 'unconnected', another })),
  fc.boolean().map((usable): Event => ({ on: 'replace-offered', usable })),
  fc
    .constantFrom('none' as const, 'promised' as const, 'owed' as const)
    .map((checksum): Event => ({ on: 'streamed', checksum })),
  fc
    .constantFrom(...(['delivered', 'verified', 'partly', 'continues'] as const))
    .map((certainty): Event => ({ on: 'peer-success', certainty })),
  fc
    .constantFrom('decline', 'busy', 'cancel', 'connectivity-error', 'security-error')
    .map((reason): Event => ({ on: 'peer-ended', reason })),
  fc
    .constantFrom('stream-failed' as const, 'proof-failed' as const, 'fault' as const)
    .map((on): Event => ({ on, error: broke })),
);
const anyPart = fc.record({ sends: fc.boolean(), initiates: fc.boolean() });

/** What leads on: of events that are all as likely most end a transfer before it streams. */
const onward = fc.constantFrom<Event>(
  ...[{ on: 'accepted' } as const, { on: 'decided', accept: true } as const],
  ...[{ on: 'connected' } as const, { on: 'unconnected', another: true } as const],
  ...[{ on: 'replace-offered', usable: true } as const, { on: 'replace-accepted' } as const],
  { on: 'stream-failed', error: broke },
);
const longWay = fc.array(
  fc.oneof({ weight: 4, arbitrary: onward }, { weight: 1, arbitrary: anyEvent }),
  { maxLength: 30 },
);

test('whatever comes, a transfer streams at most once, finishes at most once and does nothing after', () => {
  fc.assert(
    fc.property(anyPart, longWay, (part, events) => {
      const { state, effects } = play(part, ...events);
      const streams = effects.filter((effect) => effect === 'stream').length;
      const finishes = effects.filter((effect) => effect.startsWith('finish'));
      expect(streams).toBeLessThanOrEqual(1);
      expect(finishes.length).toBe(state.at === 'ended' ? 1 : 0);
      if (finishes.length > 0) expect(effects.at(-1)).toBe(finishes[0]);
    }),
    { numRuns: 2000 },
  );
});

const STATES: readonly State[] = [
  ...(['offered', 'deciding', 'connecting', 'awaiting-replace', 'replacing'] as const).map(
    (at) => ({ at }),
  ),
  ...[{ at: 'streaming' } as const, { at: 'overtaken', certainty: 'delivered' } as const],
  ...[{ at: 'broken', error: broke } as const, { at: 'confirming' } as const],
  ...[{ at: 'proving', owed: true } as const, { at: 'landing' } as const],
];
/** Bounded elsewhere: by the time for an answer, by a person, by the watch over the bytes, by the disk. */
const NOT_THE_PEER_ALONE = ['offered', 'deciding', 'streaming', 'landing'];

test('every state that waits for the peer alone is bounded and ends or goes on by silence', () => {
  for (const part of [SENDER, RECEIVER])
    for (const state of STATES.filter(({ at }) => !NOT_THE_PEER_ALONE.includes(at))) {
      expect(BOUNDS[state.at], state.at).toBeGreaterThan(0);
      expect(step(part, state, { on: 'silence' }).effects).not.toEqual([]);
    }
});

test('a transport that fails at the very last is replaced all the same', () => {
  expect(BOUNDS.connecting).toBeGreaterThan(NEGOTIATION_TIME);
});

test.each<[Event, readonly State['at'][]]>([
  [{ on: 'accepted' }, ['offered']],
  [{ on: 'unanswered' }, ['offered']],
  [{ on: 'decided', accept: true }, ['deciding']],
  [{ on: 'connected' }, ['connecting']],
  [{ on: 'unconnected', another: true }, ['connecting']],
  [{ on: 'replace-accepted' }, ['replacing']],
  [{ on: 'replace-rejected' }, ['replacing']],
  [{ on: 'streamed', checksum: 'none' }, ['streaming', 'overtaken']],
  [{ on: 'stream-failed', error: broke }, ['streaming', 'overtaken']],
  [{ on: 'proof-failed', error: broke }, ['streaming', 'overtaken', 'landing']],
  [{ on: 'receipt', proves: 'verified' }, ['confirming']],
  [{ on: 'checksum' }, ['proving']],
  [{ on: 'landed', as: 'landed' }, ['landing']],
])('%j out of its order changes nothing', (event, where) => {
  for (const part of [SENDER, RECEIVER])
    for (const state of STATES.filter(({ at }) => !where.includes(at)))
      expect(step(part, state, event)).toEqual({ state, effects: [] });
});

test('a receiver whose offer nobody decided lands nothing', () => {
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 30 }), (events) => {
      const undecided = events.filter((event) => event.on !== 'decided');
      const { effects } = play(RECEIVER, ...undecided);
      expect(effects).not.toContain('stream');
      expect(effects).not.toContain('land');
    }),
  );
});
