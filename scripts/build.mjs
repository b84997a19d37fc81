#!/usr/bin/env node
// Compiles src/ to dist/, for the npm package: no TypeScript is needed where it is installed.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
rmSync(new URL('../dist', import.meta.url), { recursive: true, force: true });
const { status } = spawnSync(
  process.execPath,
  ['node_modules/typescript/bin/tsc', '-p', 'scripts/config/tsconfig.build.json'],
  { cwd: root, stdio: 'inherit' },
);
process.exitCode = status ?? 1;
