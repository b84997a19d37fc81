import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: fileURLToPath(new URL('../..', import.meta.url)),
  test: {
    include: ['test/unit/**/*.test.ts', 'test/integration/**/*.test.ts'],
    // A guard against hanging only: bounds in time are tested with a fake clock.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    retry: 0,
    // Integration tests wait more than they compute: more of them than there are cores run side by side.
    maxWorkers: 4,
    passWithNoTests: false,
  },
});
