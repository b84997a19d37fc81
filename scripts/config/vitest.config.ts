import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Those that wait longest: begun last, they would be waited for alone. */
const LONG = [
  ...['secrets-once', 'kill', 'resume', 'attacks-receipt', 'attacks-devices', 'sessions-end'],
  ...['attacks-offer', 'ranges', 'repair', 'daily', 'fingerprints', 'routes', 'conversations'],
  ...['folders-resume', 'batches', 'partly', 'joint'],
];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex((name) => moduleId.endsWith(`/integration/${name}.test.ts`));
      return at < 0 ? LONG.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  root: fileURLToPath(new URL('../..', import.meta.url)),
  test: {
    include: ['test/unit/**/*.test.ts', 'test/integration/**/*.test.ts'],
    // A guard against hanging only: bounds in time are tested with a fake clock.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    retry: 0,
    // Integration tests wait more than they compute: more of them than there are cores run side by side.
    maxWorkers: 7,
    sequence: { sequencer: LongFirst },
    passWithNoTests: false,
  },
});
