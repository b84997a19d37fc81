/**
 * `npm run test:interop`: files between jet and the real clients of others, over a private server. `full`
 * tries every combination instead of each pair; a path or a part of it chooses tests; `--docs` writes the
 * table into docs/interop.md.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Entry } from '../test/interop/support/world.ts';
import { page, table } from './interop-table.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const words = process.argv.slice(2);
const full = words.includes('full');
const docs = words.includes('--docs');
const filters = words.filter((word) => word !== 'full' && word !== '--docs');

const folder = mkdtempSync(join(tmpdir(), 'jet-interop-run-'));
const record = join(folder, 'outcomes.jsonl');
const logs = join(folder, 'logs');

// The program as it is released, as in the other tests.
const dist = join(root, 'dist');
const hadBuild = existsSync(dist);
const run = (command: string, args: readonly string[]) =>
  spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      JET_INTEROP_RECORD: record,
      JET_INTEROP_LOGS: logs,
      ...(full && { JET_INTEROP_FULL: '1' }),
    },
  }).status === 0;

const began = Date.now();
const built = run(process.execPath, ['scripts/build.mjs']);
const vitest = join(root, 'node_modules/.bin/vitest');
const config = ['run', '--config', 'scripts/config/vitest.interop.ts', '--reporter=verbose'];
const passed = built && run(vitest, [...config, ...filters]);
// A build left behind would be run in place of sources that are edited later.
if (!hadBuild) rmSync(dist, { recursive: true, force: true });

const entries = existsSync(record)
  ? readFileSync(record, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Entry)
  : [];
console.log(`\n${table(entries)}`);
console.log(`${Math.round((Date.now() - began) / 1000)} s`);
if (docs && passed && filters.length === 0)
  writeFileSync(join(root, 'docs/interop.md'), page(entries));
if (existsSync(logs)) console.log(`What failed is logged in ${logs}`);
else rmSync(folder, { recursive: true, force: true });
process.exitCode = passed ? 0 : 1;
