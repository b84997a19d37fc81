/** The set-up of most tests of whole transfers: one server, and two new accounts for each test. */
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { makePair, type Pair } from './pair.ts';
import { startProsody, type Prosody } from './prosody.ts';

/**
 * Called in a `describe`, for all tests in it.
 *
 * @param begin - before each test, with its pair
 */
export function freshPairs(begin: (pair: Pair, server: Prosody) => Promise<void> | void): void {
  let server: Prosody;
  let pair: Pair;
  beforeAll(async () => {
    server = await startProsody();
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    pair = await makePair(server);
    await begin(pair, server);
  });
  afterEach(() => pair.remove());
}
