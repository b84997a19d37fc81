/** SIGKILL at a random moment to a random side: sender, receiver or server (see also `npm run test:kill`). */
import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { playRound, randomFrom, shareSentAgain, type Round } from '../support/kill-rounds.ts';
import { hasProsody, startProsody, type Prosody } from '../support/prosody.ts';

const ROUNDS = Number(process.env['JET_KILL_ROUNDS'] ?? 20);
const SEED = Number(process.env['JET_KILL_SEED'] ?? randomInt(2 ** 31));

describe.skipIf(!(await hasProsody()))(`killed at a random moment, seed ${SEED}`, () => {
  let server: Prosody;
  const random = randomFrom(SEED);
  const played: Round[] = [];

  beforeAll(async () => {
    server = await startProsody();
  });
  afterAll(() => server.stop());

  for (let round = 1; round <= ROUNDS; round++)
    test(`round ${round} ends with the right file`, { timeout: 600_000 }, async () => {
      const { victim, moment, again } = await playRound(server, random);
      played.push({ victim, moment, again });
      console.log(`round ${round}: ${victim} at ${moment} ms, ${again} bytes sent again`);
    });

  test('under 2 % of the bytes were sent again', () => {
    expect(played).toHaveLength(ROUNDS);
    expect(shareSentAgain(played)).toBeLessThan(0.02);
  });
});
