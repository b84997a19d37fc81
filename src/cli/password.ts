/** Where a password comes from; never from a flag of its own. */
import { execFile } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { promisify } from 'node:util';
import { Exit, JetError, messageOf } from '../core/errors.ts';
import { usage } from './arguments.ts';
import { ask, canAsk } from './prompt.ts';

/** Reads JET_PASSWORD and takes it out of the environment, so that no child process inherits it. */
export function takePassword(env: NodeJS.ProcessEnv): string | undefined {
  const password = env['JET_PASSWORD'];
  delete env['JET_PASSWORD'];
  return password === '' ? undefined : password;
}

/** The sources that a command's flags name. */
export interface PasswordFlags {
  readonly passwordFile?: string;
  readonly passwordCommand?: string;
}

/** Finds the password: file, command, JET_PASSWORD, then a prompt without echo. */
export async function findPassword(
  flags: PasswordFlags,
  fromEnvironment: string | undefined,
  question: string,
  options: { warn: (message: string) => void; signal: AbortSignal },
): Promise<string> {
  if (flags.passwordFile !== undefined && flags.passwordCommand !== undefined)
    throw usage('two-passwords', 'Use either --password-file or --password-command, not both.');
  if (flags.passwordFile !== undefined) return readFile(flags.passwordFile, options.warn);
  if (flags.passwordCommand !== undefined) return runCommand(flags.passwordCommand, options.signal);
  if (fromEnvironment !== undefined) return fromEnvironment;
  if (!canAsk())
    throw usage(
      'no-password',
      'No password given and no terminal to ask at: use --password-file, --password-command or JET_PASSWORD.',
    );
  return firstLine(await ask(question, { echo: false, signal: options.signal }), 'The prompt');
}

function readFile(path: string, warn: (message: string) => void): string {
  let text: string;
  try {
    if ((statSync(path).mode & 0o077) !== 0 && process.platform !== 'win32')
      warn(`Others on this machine can read ${path}: run chmod 600 ${path}.`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new JetError(
      Exit.localFile,
      'password-file',
      `Cannot read the password file ${path}: ${messageOf(error)}.`,
    );
  }
  return firstLine(text, `The file ${path}`);
}

async function runCommand(command: string, signal: AbortSignal): Promise<string> {
  const shell = process.platform === 'win32' ? ['cmd', '/c'] : ['/bin/sh', '-c'];
  let text: string;
  try {
    const options = { maxBuffer: 65_536, signal };
    text = (await promisify(execFile)(shell[0] ?? '', [shell[1] ?? '', command], options)).stdout;
  } catch {
    signal.throwIfAborted();
    // What the command wrote may hold the password: it is not repeated.
    throw new JetError(
      Exit.account,
      'password-command',
      'The password command failed: run it by hand to see why.',
    );
  }
  return firstLine(text, 'The password command');
}

function firstLine(text: string, source: string): string {
  const line = text.split(/\r?\n/, 1)[0] ?? '';
  if (line === '')
    throw new JetError(Exit.account, 'empty-password', `${source} gave an empty password.`);
  return line;
}
