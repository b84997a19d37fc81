/** Programs in processes of their own: another user, a process that is killed, memory measured alone. */
import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A user without rights, on every Linux. */
export const NOBODY = 65_534;

/** True when this process may start others as another user. */
export const isRoot = process.getuid?.() === 0;

const SCRIPT = fileURLToPath(new URL('./file-worker.ts', import.meta.url));

/** How a child ended. */
export interface ChildEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running child. */
export interface Child {
  readonly process: ChildProcess;
  readonly ended: Promise<ChildEnd>;
  /** Resolves once the text stands in the output; rejects when the child ends without it. */
  said(text: string): Promise<void>;
}

/** Starts `file-worker.ts` with arguments. */
export function startChild(args: readonly string[], uid?: number): Child {
  accessSync(SCRIPT, constants.R_OK);
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), SCRIPT, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  let stdout = '';
  let stderr = '';
  const ended = new Promise<ChildEnd>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => {
      resolve({ status, signal, stdout, stderr });
    });
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  let look: () => void = () => undefined;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    look();
  });
  const said = (text: string) =>
    new Promise<void>((resolve, reject) => {
      look = () => {
        if (stdout.includes(text)) resolve();
      };
      look();
      ended.then(() => {
        reject(new Error(`never said ${text}: ${stdout}${stderr}`));
      }, reject);
    });
  return { process: child, ended, said };
}

/** Runs `file-worker.ts` to its end; gives what it printed. */
export async function runChild(args: readonly string[], uid?: number): Promise<string> {
  const { status, stdout, stderr } = await startChild(args, uid).ended;
  if (status !== 0) throw new Error(`the child ended with ${String(status)}: ${stderr}`);
  return stdout.trim();
}
