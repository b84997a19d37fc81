/** The whole suite: lint, format, types, then unit, property and integration tests. */
import { spawn, spawnSync } from 'node:child_process';
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

function runs(title: string, command: string, args: readonly string[]): boolean {
  console.log(`\n== ${title}`);
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  return status === 0;
}

/** As `runs`, beside others: what it says is printed when it has ended. */
async function runsBeside(
  title: string,
  command: string,
  args: readonly string[],
): Promise<boolean> {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  console.log(`\n== ${title}\n${said.trimEnd()}`);
  return status === 0;
}

const bin = (name: string) => join(root, 'node_modules/.bin', name);
const config = (name: string) => join('scripts/config', name);

let passed = 0;
let failed = 0;
const count = (ok: boolean) => (ok ? passed++ : failed++);

if (filters.length === 0) {
  const prettier = ['--config', config('prettier.json'), '--check', '--log-level', 'warn', '.'];
  const checks = await Promise.all([
    runsBeside('lint', bin('eslint'), ['--config', config('eslint.config.js'), '.']),
    runsBeside('format', bin('prettier'), prettier),
    runsBeside('types', bin('tsc'), ['--noEmit']),
  ]);
  checks.forEach(count);
}

// The tests run the program as it is released: bundled, for it starts in a fraction of the time.
const dist = join(root, 'dist');
const hadBuild = existsSync(dist);
if (!runs('build', process.execPath, ['scripts/build.mjs'])) failed++;

const folder = mkdtempSync(join(tmpdir(), 'jet-report-'));
const file = join(folder, 'report.json');
let skipped = 0;
try {
  const ok = runs('tests', bin('vitest'), [
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

console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 ? 1 : 0;
