/** SIGKILL at a random moment to a random side: sender, receiver or server (see also `npm run test:kill`). */
import { randomInt } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { drawPlans, playRound, shareSentAgain, type Round } from '../support/kill-rounds.ts';
import { hasProsody, startProsody } from '../support/prosody.ts';

const ROUNDS = Number(process.env['JET_KILL_ROUNDS'] ?? 20);
const SEED = Number(process.env['JET_KILL_SEED'] ?? randomInt(2 ** 31));
/** Rounds at once: they wait more than they compute. Each has a server of its own to kill. */
const LANES = 2;

describe.skipIf(!(await hasProsody()))(`killed at a random moment, seed ${SEED}`, () => {
  test(`${ROUNDS} rounds end with the right file`, { timeout: ROUNDS * 120_000 }, async () => {
    const plans = drawPlans(SEED, ROUNDS);
    const rounds: Round[] = [];
    const lane = async () => {
      const server = await startProsody();
      try {
        for (let plan = plans.next(); plan.done !== true; plan = plans.next()) {
          const { number, victim, moment } = plan.value;
          const round = await playRound(server, plan.value);
          rounds.push(round);
          console.log(`round ${number}: ${victim} at ${moment} ms, ${round.again} bytes again`);
        }
      } finally {
        await server.stop();
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    expect(rounds).toHaveLength(ROUNDS);
    expect(shareSentAgain(rounds)).toBeLessThan(0.02);
  });
});
