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

/** Starts `jet`; what it shows is on stdout, what is typed goes to the child's stdin. */
export function inTerminal(
  { environment }: JetHome,
  args: readonly string[],
  { env, cwd = environment['JET_HOME'], guard }: StartOptions = {},
): JetProcess {
  return runInTerminal([BIN, ...args], {
    env: { ...environment, ...env },
    ...(cwd !== undefined && { cwd }),
    ...(guard !== undefined && { guard }),
  });
}

/** The same of any program. */
export function runInTerminal(
  command: readonly string[],
  { env, cwd, guard }: StartOptions = {},
): JetProcess {
  const line = `stty cols 120; exec ${command.map(quoted).join(' ')}`;
  return new JetProcess(
    spawn('script', ['-qec', line, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...(env ?? process.env), SHELL: '/bin/sh', TERM: 'xterm' },
      ...(cwd !== undefined && { cwd }),
    }),
    guard,
  );
}
