import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: fileURLToPath(new URL('../..', import.meta.url)),
  test: {
    include: ['test/interop/**/*.test.ts'],
    // Most of the time is spent waiting. Each file has a server and a client of its own.
    maxWorkers: 4,
    // A guard against hanging only.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    retry: 0,
    passWithNoTests: false,
  },
});
