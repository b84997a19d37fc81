/** `npm run test:kill [ROUNDS [SEED]]`: many rounds of the test that kills a random side; 100 by default. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const [rounds = '100', seed] = process.argv.slice(2);
const { status } = spawnSync(
  process.execPath,
  ['--import', 'tsx', 'scripts/test.ts', 'test/integration/kill.test.ts'],
  {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: 'inherit',
    env: {
      ...process.env,
      JET_KILL_ROUNDS: rounds,
      ...(seed !== undefined && { JET_KILL_SEED: seed }),
    },
  },
);
process.exitCode = status ?? 1;
