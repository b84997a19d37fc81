/** `npm run demo`, as the README has a new user do it. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { testFolder } from '../support/folder.ts';
import { hasProsody } from '../support/prosody.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** The demo shows both sides in terminals of their own. */
const hasTerminals = spawnSync('script', ['--version']).status === 0;

interface Demo {
  readonly child: ChildProcess;
  /** What it has printed so far. */
  readonly text: () => string;
  readonly ended: Promise<{ status: number | null; signal: string | null }>;
}

function demo(tmp: string, ...args: string[]): Demo {
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', 'scripts/demo.ts', '--mb', '5', ...args],
    {
      cwd: ROOT,
      env: { ...process.env, TMPDIR: tmp },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  onTestFinished(() => {
    child.kill('SIGTERM');
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = new Promise<{ status: number | null; signal: string | null }>((resolve) =>
    child.once('close', (status, signal) => resolve({ status, signal })),
  );
  return { child, text: () => said, ended };
}

/** What of it lies in the folder for temporary files; tsx keeps what it has compiled there. */
const left = (tmp: string) => readdirSync(tmp).filter((name) => name.startsWith('jet-'));

describe.skipIf(!(await hasProsody()) || !hasTerminals)('the demo', () => {
  test('moves a file, shows that it is the same, and leaves nothing behind', async () => {
    const tmp = await testFolder();
    const run = demo(tmp);
    expect(await run.ended, run.text()).toEqual({ status: 0, signal: null });
    const text = run.text();
    expect(text).toContain('The same file, verified');
    expect(text).toMatch(/bob {3}\| First contact with alice@.*: the key [0-9a-f ]{71} is trusted/);
    expect(text).toMatch(/alice \| .*verified, 5\.0 MB, .*direct/);
    const [sent, held] = [...text.matchAll(/SHA-256 of what .*: +([0-9a-f]{64})$/gm)];
    expect(sent?.[1]).toBe(held?.[1]);
    expect(sent).toBeDefined();
    expect(left(tmp)).toEqual([]);
  });

  test('stays with --keep, prints lines that work, and cleans up after Ctrl-C', async () => {
    const tmp = await testFolder();
    const run = demo(tmp, '--keep');
    await expect.poll(run.text, { timeout: 100_000 }).toMatch(/^.*receive\n.*send holiday\.mp4/m);
    const [, lines = ''] = /# alice\n(export .*\ncd .*)\n/.exec(run.text()) ?? [];
    const [, program = ''] = /^(\S+) receive$/m.exec(run.text()) ?? [];
    const tried = spawnSync('sh', ['-c', `${lines}\n${program} contacts`], { encoding: 'utf8' });
    expect(tried.stdout).toMatch(/^bob@/);
    run.child.kill('SIGINT');
    expect(await run.ended).toEqual({ status: null, signal: 'SIGINT' });
    expect(left(tmp)).toEqual([]);
  });
});
