/** The whole suite: lint, format, types, then unit, property and integration tests. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const filters = process.argv.slice(2);

/** What is read of vitest's JSON report. */
interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly numFailedTestSuites: number;
  readonly success: boolean;
}

/** Runs a command, and says whether it succeeded. */
async function runs(command: string, args: readonly string[]): Promise<boolean> {
  const child = spawn(command, args, { cwd: root, stdio: 'inherit' });
  return (await ended(child)) === 0;
}

/** As `runs`, beside others: what it says is kept until it is asked for. */
async function runsBeside(
  title: string,
  command: string,
  args: readonly string[],
): Promise<{ readonly ok: boolean; readonly said: string }> {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = `\n== ${title}\n`;
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  return { ok: (await ended(child)) === 0, said: said.trimEnd() };
}

async function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
}

const bin = (name: string) => join(root, 'node_modules/.bin', name);
const config = (name: string) => join('scripts/config', name);

let passed = 0;
let failed = 0;
const count = (ok: boolean) => (ok ? passed++ : failed++);

// Beside the tests, which wait more than they compute.
const prettier = ['--config', config('prettier.json'), '--check', '--log-level', 'warn', '.'];
const checks =
  filters.length > 0
    ? []
    : [
        runsBeside('lint', bin('eslint'), ['--config', config('eslint.config.js'), '.']),
        runsBeside('format', bin('prettier'), prettier),
        runsBeside('types', bin('tsc'), ['--noEmit']),
      ];

// The tests run the program as it is released: bundled, for it starts in a fraction of the time.
const dist = join(root, 'dist');
const hadBuild = existsSync(dist);
console.log('\n== build');
if (!(await runs(process.execPath, ['scripts/build.mjs']))) failed++;

const folder = mkdtempSync(join(tmpdir(), 'jet-report-'));
const file = join(folder, 'report.json');
let skipped = 0;
try {
  console.log('\n== tests');
  const ok = await runs(bin('vitest'), [
    ...['run', '--config', config('vitest.config.ts')],
    ...['--reporter=default', '--reporter=json', `--outputFile.json=${file}`, ...filters],
  ]);
  const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  skipped = report.numPendingTests + report.numTodoTests;
  // A file that cannot be loaded, or an error outside of any test, fails no single test.
  if (!ok && report.numFailedTests === 0) failed++;
} finally {
  rmSync(folder, { recursive: true, force: true });
  // A build left behind would be run in place of sources that are edited later.
  if (!hadBuild) rmSync(dist, { recursive: true, force: true });
}

for (const { ok, said } of await Promise.all(checks)) {
  console.log(said);
  count(ok);
}

console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 ? 1 : 0;
