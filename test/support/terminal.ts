/** `jet` in a terminal of its own, made by script(1). */
import { execFileSync, spawn } from 'node:child_process';
import { JetProcess, type JetHome, type StartOptions } from './jet.ts';

const BIN = new URL('../../bin/jet', import.meta.url).pathname;

/** Whether script(1) of util-linux is there. */
export function hasScript(): boolean {
  try {
    return execFileSync('script', ['--version'], { encoding: 'utf8' }).includes('util-linux');
  } catch {
    return false;
  }
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** Starts it; what it shows is on stdout, what is typed goes to the child's stdin. */
export function inTerminal(
  { environment }: JetHome,
  args: readonly string[],
  options: StartOptions = {},
): JetProcess {
  const line = ['exec', BIN, ...args].map(quoted).join(' ').replace("'exec'", 'exec');
  return new JetProcess(
    spawn('script', ['-qec', `stty cols 120; ${line}`, '/dev/null'], {
      cwd: options.cwd ?? environment['JET_HOME'],
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...environment, SHELL: '/bin/sh', TERM: 'xterm', ...options.env },
    }),
    options.guard,
  );
}
