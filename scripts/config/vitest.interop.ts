import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: fileURLToPath(new URL('../..', import.meta.url)),
  test: {
    include: ['test/interop/**/*.test.ts'],
    // One client at a time, and a guard against hanging only.
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 300_000,
    retry: 0,
    passWithNoTests: false,
  },
});
