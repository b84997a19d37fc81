import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { begin, step, transitions } from '../../../src/jingle/machine.ts';
import type { Event, Failure, Phase, Role } from '../../../src/jingle/machine.ts';
import { ACTIONS, CONDITIONS } from '../../../src/jingle/stanza.ts';

const FAILURES: Failure[] = ['gone', 'lost', 'refused', 'tie-break', 'timeout', 'unsupported'];
const action = fc.constantFrom(...ACTIONS);
const content = fc.constantFrom('initiator/a', 'responder/b');
const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ type: fc.constant('receive' as const), action, content }),
  fc.record({
    type: fc.constant('send' as const),
    action,
    content,
    reason: fc.constantFrom(...CONDITIONS),
  }),
  fc.record({ type: fc.constant('acknowledged' as const), action }),
  fc.record({
    type: fc.constant('failed' as const),
    action,
    content,
    failure: fc.constantFrom(...FAILURES),
  }),
  fc.record({ type: fc.constant('peer-gone' as const) }),
);
const effects = (role: Role, phase: Phase, happening: Event) =>
  step({ ...begin(role), phase }, happening).effects.map((effect) => effect.type);

describe('the session machine', () => {
  it('stays defined under any events, answers each request once and ends once', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<Role>('initiator', 'responder'),
        fc.array(event, { maxLength: 40 }),
        (role, events) => {
          let state = begin(role);
          let ends = 0;
          for (const happening of events) {
            const next = step(state, happening);
            const types = next.effects.map((effect) => effect.type);
            const answers = types.filter((type) => type === 'acknowledge' || type === 'refuse');
            expect(answers).toHaveLength(happening.type === 'receive' ? 1 : 0);
            if (state.phase === 'ended') {
              expect(next.state.phase).toBe('ended');
              expect(types.filter((t) => !['acknowledge', 'refuse', 'misuse'].includes(t))).toEqual(
                [],
              );
            }
            if (types.includes('refuse')) expect(next.state).toEqual(state);
            ends += types.filter((type) => type === 'end').length;
            state = next.state;
          }
          expect(ends).toBe(state.phase === 'ended' ? 1 : 0);
        },
      ),
    );
  });

  it.each([
    ['initiator', 'offered', 'session-accept', ['acknowledge', 'deliver']],
    ['initiator', 'pending', 'session-accept', ['acknowledge', 'deliver']],
    ['initiator', 'active', 'session-accept', ['acknowledge']],
    ['initiator', 'pending', 'session-initiate', ['refuse']],
    ['responder', 'pending', 'session-initiate', ['acknowledge']],
    ['responder', 'ended', 'session-initiate', ['acknowledge']],
    ['responder', 'pending', 'session-accept', ['refuse']],
    ['initiator', 'pending', 'transport-info', ['acknowledge', 'deliver']],
    ['responder', 'ended', 'transport-info', ['refuse']],
    ['responder', 'active', 'transport-accept', ['refuse']],
    ['responder', 'active', 'session-terminate', ['acknowledge', 'end']],
    ['responder', 'ended', 'session-terminate', ['acknowledge']],
  ] as const)('%s %s receives %s', (role, phase, received, expected) => {
    expect(effects(role, phase, { type: 'receive', action: received })).toEqual(expected);
  });

  it('lets the transport-replace of the initiator stand when two cross', () => {
    const replace = { action: 'transport-replace', content: 'initiator/a' } as const;
    for (const role of ['initiator', 'responder'] as const) {
      const sent = step({ ...begin(role), phase: 'active' }, { type: 'send', ...replace }).state;
      const crossed = step(sent, { type: 'receive', ...replace });
      expect(crossed.effects.map((effect) => effect.type)).toEqual(
        role === 'initiator' ? ['refuse'] : ['acknowledge', 'withdrawn', 'deliver'],
      );
    }
  });

  it('draws itself', () => {
    expect(transitions).toContainEqual({
      from: 'initiator pending',
      event: 'receive session-accept',
      to: 'initiator active',
    });
    expect(transitions.every(({ from }) => from !== 'ended')).toBe(true);
  });
});
