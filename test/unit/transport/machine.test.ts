import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  begin,
  canWin,
  step,
  type Candidate,
  type Effect,
  type Event,
  type State,
} from '../../../src/transport/s5b/machine.ts';

type Side = 'initiator' | 'responder';
const other = { initiator: 'responder', responder: 'initiator' } as const;

function candidate(cid: string, priority: number, type: Candidate['type'] = 'direct'): Candidate {
  return { cid, host: '192.0.2.1', port: 5000, jid: 'a@example.org/x', priority, type };
}

/** Both sides joined by two ordered channels; `pick` chooses what happens next. */
function negotiate(
  reached: Record<Side, Candidate | undefined>,
  proxyWorks: boolean,
  pick: (choices: number) => number,
) {
  const states: Record<Side, State> = {
    initiator: begin('initiator'),
    responder: begin('responder'),
  };
  const results: Partial<Record<Side, Effect>> = {};
  // One queue for what each side does itself, one for what it is told: each keeps its order.
  const local: Record<Side, Event[]> = { initiator: [], responder: [] };
  const wire: Record<Side, Event[]> = { initiator: [], responder: [] };
  const perform = (side: Side, effect: Effect) => {
    const to = wire[other[side]];
    const mine = reached[side];
    if (effect.kind === 'send-used' && mine !== undefined)
      to.push({ kind: 'peer-used', candidate: mine });
    else if (effect.kind === 'send-error') to.push({ kind: 'peer-error' });
    else if (effect.kind === 'send-activated') to.push({ kind: 'peer-activated', cid: effect.cid });
    else if (effect.kind === 'send-proxy-error') to.push({ kind: 'peer-proxy-error' });
    else if (effect.kind === 'activate')
      local[side].push({ kind: proxyWorks ? 'proxy-activated' : 'proxy-refused' });
    else {
      expect(results[side]).toBeUndefined();
      results[side] = effect;
    }
  };
  for (const side of ['initiator', 'responder'] as const) {
    const mine = reached[side];
    local[side].push(
      mine === undefined ? { kind: 'exhausted' } : { kind: 'reached', candidate: mine },
    );
  }
  for (;;) {
    const ready = (['initiator', 'responder'] as const).flatMap((side) =>
      [local[side], wire[side]]
        .filter((queue) => queue.length > 0)
        .map((queue) => ({ side, queue })),
    );
    const next = ready[ready.length === 0 ? 0 : pick(ready.length) % ready.length];
    if (next === undefined) break;
    const event = next.queue.shift();
    if (event === undefined) break;
    const { state, effects } = step(states[next.side], event);
    states[next.side] = state;
    for (const effect of effects) perform(next.side, effect);
  }
  return results;
}

describe('nomination', () => {
  const direct = candidate('d', 100);
  it.each([
    ['higher priority wins', candidate('i', 5), candidate('r', 9), 'r'],
    ['a tie goes to the initiator', candidate('i', 7), candidate('r', 7), 'i'],
    ['one side only', undefined, direct, 'd'],
    ['the other side only', direct, undefined, 'd'],
  ])('%s', (_, initiator, responder, cid) => {
    const results = negotiate({ initiator, responder }, true, () => 0);
    expect(results.initiator).toMatchObject({ kind: 'open', candidate: { cid } });
    expect(results.responder).toMatchObject({ kind: 'open', candidate: { cid } });
  });

  it('fails on both sides when neither reached the other', () => {
    const results = negotiate({ initiator: undefined, responder: undefined }, true, () => 0);
    expect([results.initiator?.kind, results.responder?.kind]).toEqual(['fail', 'fail']);
  });

  it('both sides agree in every order of events', () => {
    const choice = fc.option(
      fc.record({
        priority: fc.integer({ min: 0, max: 3 }),
        type: fc.constantFrom<Candidate['type'][]>('direct', 'proxy', 'assisted'),
      }),
      { nil: undefined },
    );
    fc.assert(
      fc.property(
        choice,
        choice,
        fc.boolean(),
        fc.infiniteStream(fc.nat(3)),
        (i, r, proxyWorks, order) => {
          const reached = {
            initiator: i && candidate('offered-by-r', i.priority, i.type),
            responder: r && candidate('offered-by-i', r.priority, r.type),
          };
          const pick = () => order.next().value as number;
          const { initiator: a, responder: b } = negotiate(reached, proxyWorks, pick);
          expect(a?.kind).toBe(b?.kind);
          if (a?.kind === 'open' && b?.kind === 'open') {
            expect(a.candidate).toEqual(b.candidate);
            expect(a.offeredBy).not.toBe(b.offeredBy);
            const best = Math.max(i?.priority ?? -1, r?.priority ?? -1);
            expect(a.candidate.priority).toBe(best);
          } else if (i !== undefined || r !== undefined) expect(proxyWorks).toBe(false);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('gives up candidates that cannot win any more', () => {
    for (const [role, equal] of [
      ['initiator', true],
      ['responder', false],
    ] as const) {
      const { state } = step(begin(role), { kind: 'peer-used', candidate: candidate('x', 7) });
      expect(canWin(state, candidate('low', 6))).toBe(false);
      expect(canWin(state, candidate('same', 7))).toBe(equal);
      expect(canWin(state, candidate('high', 8))).toBe(true);
    }
  });

  const every: Event[] = [
    ...[{ kind: 'reached', candidate: direct } as const, { kind: 'exhausted' } as const],
    ...[{ kind: 'peer-used', candidate: direct } as const, { kind: 'peer-error' } as const],
    ...[{ kind: 'peer-activated', cid: 'd' } as const, { kind: 'peer-proxy-error' } as const],
    ...[{ kind: 'proxy-activated' } as const, { kind: 'proxy-refused' } as const],
    { kind: 'timeout' },
  ];

  it('ends once when time is up, in whatever state, and then stays as it is whatever comes', () => {
    const proxy = candidate('p', 1, 'proxy');
    const play = (...events: Event[]) => {
      let state = begin('initiator');
      for (const event of events) ({ state } = step(state, event));
      return state;
    };
    const reached = { kind: 'reached', candidate: proxy } as const;
    const used = { kind: 'peer-used', candidate: proxy } as const;
    const waiting = [
      ...[
        play(),
        play(reached),
        play(used),
        play({ kind: 'exhausted' }),
        play({ kind: 'peer-error' }),
      ],
      ...[play(reached, { kind: 'peer-error' }), play(used, { kind: 'exhausted' })],
    ];
    expect(waiting.slice(-2).map(({ kind }) => kind)).toEqual(['awaiting', 'activating']);
    const over = waiting.map((state) => {
      const { state: next, effects } = step(state, { kind: 'timeout' });
      expect([next.kind, effects.length]).toEqual(['failed', 1]);
      return next;
    });
    for (const state of [
      ...over,
      play({ kind: 'reached', candidate: direct }, { kind: 'peer-error' }),
    ])
      for (const event of every) expect(step(state, event)).toEqual({ state, effects: [] });
  });

  it('waits for the activation of the proxy that was nominated', () => {
    const proxy = candidate('p', 1, 'proxy');
    const { state: tried } = step(begin('initiator'), { kind: 'reached', candidate: proxy });
    const { state } = step(tried, { kind: 'peer-error' });
    const another = step(state, { kind: 'peer-activated', cid: 'q' });
    expect(another).toEqual({ state, effects: [] });
    expect(step(state, { kind: 'peer-activated', cid: 'p' }).effects).toMatchObject([
      { kind: 'open', candidate: proxy, offeredBy: 'peer' },
    ]);
  });

  it('takes the first word of each side, and no later one', () => {
    for (const role of ['initiator', 'responder'] as const)
      for (const [first, later] of [
        [{ kind: 'peer-used', candidate: direct }, { kind: 'peer-error' }],
        [{ kind: 'peer-error' }, { kind: 'peer-used', candidate: direct }],
        [{ kind: 'reached', candidate: direct }, { kind: 'exhausted' }],
        [{ kind: 'exhausted' }, { kind: 'reached', candidate: direct }],
      ] as const) {
        const { state } = step(begin(role), first);
        for (const event of [first, later])
          expect(step(state, event)).toEqual({ state, effects: [] });
      }
  });
});
