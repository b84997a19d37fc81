import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RateLimiter } from '../../../src/transfer/rate.ts';
import { FakeClock } from '../../support/clock.ts';

test('the first quarter of a second is free, what follows is paid by waiting', async () => {
  const clock = new FakeClock();
  const limiter = new RateLimiter(clock, 1000);
  expect(limiter.chunk).toBe(250);
  await limiter.take(250);
  let left = false;
  const second = limiter.take(100).then(() => {
    left = true;
  });
  await clock.advance(99);
  expect(left).toBe(false);
  await clock.advance(1);
  await second;
  expect(left).toBe(true);
});

test('idle time gives no more than one burst', async () => {
  const clock = new FakeClock();
  const limiter = new RateLimiter(clock, 1000);
  await clock.advance(3_600_000);
  await limiter.take(250);
  const late = limiter.take(250);
  expect(clock.pending).toBe(1);
  await clock.advance(250);
  await late;
});

test('no sequence of takes is faster than the rate and a burst', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 100_000 }),
      fc.array(fc.integer({ min: 1, max: 50_000 }), { minLength: 1, maxLength: 8 }),
      async (rate, sizes) => {
        const clock = new FakeClock();
        const limiter = new RateLimiter(clock, rate);
        let total = 0;
        for (const size of sizes) {
          const taking = limiter.take(size);
          await clock.advance(1000 * Math.ceil(size / rate + 1));
          await taking;
          total += size;
        }
        const allowed = (clock.monotonic() * rate) / 1000 + Math.max(1, rate / 4);
        expect(total).toBeLessThanOrEqual(allowed + 1e-6);
        expect(clock.pending).toBe(0);
      },
    ),
    { numRuns: 30 },
  );
});

test('an abort ends the wait and leaves no timer', async () => {
  const clock = new FakeClock();
  const limiter = new RateLimiter(clock, 10);
  const abort = new AbortController();
  const taking = limiter.take(100, abort.signal);
  abort.abort(new Error('cancelled'));
  await expect(taking).rejects.toThrow('cancelled');
  expect(clock.pending).toBe(0);
});

test('a rate is above zero', () => {
  for (const rate of [0, -1, Number.NaN])
    expect(() => new RateLimiter(new FakeClock(), rate)).toThrow(RangeError);
});
