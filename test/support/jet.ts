/** Real `jet` processes, each with a home of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Prosody } from './prosody.ts';

const BIN = new URL('../../bin/jet', import.meta.url).pathname;

/** A guard against hanging, never a measure. */
const GUARD_MS = 120_000;

/** How a process ended and what it said. */
export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running `jet`. */
export class JetProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<Outcome>;
  stdout = '';
  stderr = '';
  readonly #watchers = new Set<() => void>();

  /** @param guard - milliseconds after which it is killed */
  constructor(child: ChildProcess, guard = GUARD_MS) {
    this.child = child;
    // Decoded by the streams, so that a character cut in two by a chunk is still one.
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.#look();
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
      this.#look();
    });
    this.ended = new Promise((resolve) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), guard);
      child.once('close', (status, signal) => {
        clearTimeout(timer);
        resolve({ status, signal, stdout: this.stdout, stderr: this.stderr });
        this.#look();
      });
    });
  }

  /** Resolves when the pattern stands in what was printed; rejects when the process ends without. */
  async said(pattern: RegExp): Promise<RegExpExecArray> {
    const find = () => pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
    await this.until(() => find() !== null, String(pattern));
    return find() ?? Promise.reject(new Error('gone'));
  }

  /** Resolves when something holds after the process has printed; rejects when it ends without. */
  until(holds: () => boolean, what = 'what was waited for'): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const held = holds();
        const running = this.child.exitCode === null && this.child.signalCode === null;
        if (!held && running) return;
        this.#watchers.delete(look);
        if (held) resolve();
        else reject(new Error(`never said ${what}:\n${this.stdout}${this.stderr}`));
      };
      this.#watchers.add(look);
      look();
    });
  }

  #look(): void {
    for (const look of this.#watchers) look();
  }
}

/** What may differ for one process. */
export interface StartOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly uid?: number;
  readonly bin?: string;
  /** A command that runs it, with its arguments before the program's. */
  readonly prefix?: readonly string[];
  /** Milliseconds after which it is killed; default 120,000. */
  readonly guard?: number;
}

/** An account's home on a server, from which processes are started. */
export interface JetHome {
  readonly home: string;
  readonly jid: string;
  /** What its processes find in their environment. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  start(args: readonly string[], options?: StartOptions): JetProcess;
  run(args: readonly string[], options?: StartOptions): Promise<Outcome>;
  remove(): Promise<void>;
}

/**
 * Makes a home for an account that the server has.
 *
 * @param at - the value of `JET_SERVER`, by default the server itself
 */
export async function jetHome(
  server: Prosody,
  name: string,
  password: string,
  at = `${server.address}:${server.port}`,
): Promise<JetHome> {
  const home = await mkdtemp(join(tmpdir(), `jet-home-${name}-`));
  const jid = `${name}@${server.domain}`;
  const environment = {
    PATH: process.env['PATH'],
    HOME: home,
    JET_HOME: home,
    JET_JID: jid,
    JET_PASSWORD: password,
    JET_SERVER: at,
    JET_CA_FILE: server.caFile,
  };
  const start = (args: readonly string[], options: StartOptions = {}) => {
    const [command = BIN, ...line] = [...(options.prefix ?? []), options.bin ?? BIN, ...args];
    return new JetProcess(
      spawn(command, line, {
        cwd: options.cwd ?? home,
        stdio: ['ignore', 'pipe', 'pipe'],
        ...(options.uid === undefined ? {} : { uid: options.uid }),
        env: { ...environment, ...options.env },
      }),
      options.guard,
    );
  };
  return {
    home,
    jid,
    environment,
    start,
    run: (args, options) => start(args, options).ended,
    remove: () => rm(home, { recursive: true, force: true }),
  };
}
