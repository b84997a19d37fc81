/** When what has moved is written down. */
import { describe, expect, test } from 'vitest';
import { FakeClock } from '../../support/clock.ts';
import { testRecords } from '../../support/records.ts';

const MIB = 1024 * 1024;

function begun() {
  const clock = new FakeClock();
  const parties = { account: 'a@a.test', peer: 'b@b.test', direction: 'receive' } as const;
  const recorder = testRecords(clock).begin({ ...parties, jet: true, name: 'f', size: 128 * MIB });
  const identity = { dev: 1n, ino: 2n, uid: 3n, mode: 4n, tail: Buffer.alloc(32) };
  return { clock, recorder, advance: () => recorder.advance({ written: 0, identity }) };
}

describe('what has moved is written down', () => {
  test('at each 128th of the file, or after three seconds', async () => {
    const { clock, recorder } = begun();
    expect([recorder.due(MIB - 1), recorder.due(MIB), recorder.due(2 * MIB - 1)]).toEqual([
      ...[false, true, false],
    ]);
    await clock.advance(3000);
    expect(recorder.due(MIB + 1)).toBe(true);
  });

  test.each([
    [5, 40],
    [60, 100],
  ])('but not for a while after a checkpoint that took %i ms: %i ms', async (took, rest) => {
    const { clock, recorder, advance } = begun();
    expect(recorder.due(MIB)).toBe(true);
    await clock.advance(took);
    advance();
    await clock.advance(rest - 1);
    expect(recorder.due(50 * MIB)).toBe(false);
    await clock.advance(1);
    expect(recorder.due(50 * MIB)).toBe(true);
  });
});
