/** When what has moved is written down. */
import { describe, expect, test } from 'vitest';
import { FakeClock } from '../../support/clock.ts';
import { testRecords } from '../../support/records.ts';

const MIB = 1024 * 1024;

function begun(direction: 'send' | 'receive' = 'receive') {
  const clock = new FakeClock();
  const parties = { account: 'a@a.test', peer: 'b@b.test', direction };
  const recorder = testRecords(clock).begin({ ...parties, jet: true, name: 'f', size: 128 * MIB });
  const identity = { dev: 1n, ino: 2n, uid: 3n, mode: 4n, tail: Buffer.alloc(32) };
  return { clock, recorder, advance: () => recorder.advance({ written: 0, identity }) };
}

describe('what has moved is written down', () => {
  test('at each 128th of the file, and after three seconds durably', async () => {
    const { clock, recorder } = begun();
    expect(recorder.due(1)).toBeUndefined();
    await clock.advance(1000);
    expect(recorder.due(MIB - 1)).toBeUndefined();
    expect(recorder.due(MIB)).toBe('reached');
    await clock.advance(1000);
    expect(recorder.due(2 * MIB - 1)).toBeUndefined();
    expect(recorder.due(2 * MIB)).toBe('reached');
    await clock.advance(1000);
    expect(recorder.due(3 * MIB)).toBe('durable');
    await clock.advance(2999);
    expect(recorder.due(4 * MIB)).toBe('reached');
    await clock.advance(3000);
    expect(recorder.due(4 * MIB + 1)).toBe('durable');
  });

  test.each([
    ['receive', 50],
    ['send', 250],
  ] as const)('however fast it is: to %s, %i ms apart', async (direction, apart) => {
    const { clock, recorder } = begun(direction);
    // Whoever waits for the first byte has nothing to write down.
    await clock.advance(1000);
    expect(recorder.due(MIB)).toBeUndefined();
    await clock.advance(apart);
    expect(recorder.due(MIB)).toBe('reached');
    await clock.advance(apart - 1);
    expect(recorder.due(50 * MIB)).toBeUndefined();
    await clock.advance(1);
    expect(recorder.due(50 * MIB)).toBe('reached');
  });

  test.each([
    [10, 80],
    [60, 100],
  ])('but not for a while after a checkpoint that took %i ms: %i ms', async (took, rest) => {
    const { clock, recorder, advance } = begun();
    expect(recorder.due(0)).toBeUndefined();
    await clock.advance(3000);
    expect(recorder.due(MIB)).toBe('durable');
    await clock.advance(took);
    advance();
    await clock.advance(rest - 1);
    expect(recorder.due(50 * MIB)).toBeUndefined();
    await clock.advance(1);
    expect(recorder.due(50 * MIB)).toBe('reached');
  });
});
