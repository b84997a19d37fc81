/** Processes that are watched: wall time, peak memory and CPU time of each and of what it starts. */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Milliseconds between two looks; what a process used after the last one is not seen. */
const LOOK_MS = 15;
/** A guard against hanging, never a measure. */
const GUARD_MS = 900_000;
/** Ticks a second of the times in /proc (USER_HZ, the same on every Linux). */
const TICKS = 100;

/** What a process and its descendants used. */
export interface Used {
  /** Seconds in user and kernel mode. */
  readonly cpu: number;
  /** Bytes: the largest sum of the resident peaks of those that lived at once. */
  readonly peak: number;
}

/** How a watched process ended. */
export interface Ended extends Used {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Milliseconds, `performance.now()`. */
  readonly began: number;
  readonly ended: number;
}

/** Looks at a process and its descendants until it is stopped. */
export class Watch {
  readonly #root: number;
  readonly #cpu = new Map<number, number>();
  readonly #timer: NodeJS.Timeout;
  #peak = 0;
  #looks = 0;
  #tree: number[];

  /** @param pid - CPU time that it has used already counts for nothing */
  constructor(pid: number) {
    this.#root = pid;
    this.#tree = [pid];
    this.#look();
    for (const [known, ticks] of this.#cpu) this.#before.set(known, ticks);
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  readonly #before = new Map<number, number>();

  get used(): Used {
    let ticks = 0;
    for (const [pid, all] of this.#cpu) ticks += all - (this.#before.get(pid) ?? 0);
    return { cpu: ticks / TICKS, peak: this.#peak };
  }

  stop(): Used {
    clearInterval(this.#timer);
    this.#look();
    return this.used;
  }

  #look(): void {
    // The tree changes seldom, and finding it costs more than reading it.
    if (this.#looks++ % 4 === 0) this.#tree = descendants(this.#root);
    let peak = 0;
    for (const pid of this.#tree) {
      const stat = read(`/proc/${pid}/stat`);
      if (stat === undefined) continue;
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      this.#cpu.set(pid, Number(fields[11]) + Number(fields[12]));
      const status = read(`/proc/${pid}/status`) ?? '';
      peak += 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
    }
    this.#peak = Math.max(this.#peak, peak);
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** A process and all that descend from it. */
export function descendants(pid: number): number[] {
  const tree = [pid];
  for (const parent of tree) {
    const children = read(`/proc/${parent}/task/${parent}/children`) ?? '';
    tree.push(...children.split(' ').filter(Boolean).map(Number));
  }
  return tree;
}

/** A program that runs. */
export class Running {
  readonly child: ChildProcess;
  readonly began = performance.now();
  readonly ended: Promise<Ended>;
  /** Put together when it is asked for: some print very much. */
  readonly #printed = { stdout: [] as string[], stderr: [] as string[] };
  readonly #waits = new Set<(stream?: 'stdout' | 'stderr', text?: string) => void>();
  #over = false;

  constructor(
    command: readonly string[],
    how: {
      readonly env?: Readonly<Record<string, string | undefined>>;
      readonly cwd?: string;
      readonly stdio?: StdioOptions;
      /** Runs as long as the bench does, and is not watched. */
      readonly serves?: boolean;
    } = {},
  ) {
    const [program = '', ...args] = command;
    this.child = spawn(program, args, {
      stdio: how.stdio ?? ['ignore', 'pipe', 'pipe'],
      ...(how.env && { env: how.env }),
      ...(how.cwd !== undefined && { cwd: how.cwd }),
    });
    const { child } = this;
    const serves = how.serves === true;
    const watch = child.pid === undefined || serves ? undefined : new Watch(child.pid);
    const guard = serves ? undefined : setTimeout(() => child.kill('SIGKILL'), GUARD_MS);
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream]?.setEncoding('utf8').on('data', (text: string) => {
        this.#printed[stream].push(text);
        this.#wake(stream, text);
      });
    this.ended = new Promise((resolve, reject) => {
      let ended = 0;
      child.once('error', reject);
      child.once('exit', () => {
        ended = performance.now();
      });
      child.once('close', (status) => {
        clearTimeout(guard);
        this.#over = true;
        this.#wake();
        const { cpu, peak } = watch?.stop() ?? { cpu: 0, peak: 0 };
        const { stdout, stderr, began } = this;
        resolve({ status, stdout, stderr, began, ended, cpu, peak });
      });
    });
    this.ended.catch(() => undefined);
  }

  get stdout(): string {
    return this.#text('stdout');
  }

  get stderr(): string {
    return this.#text('stderr');
  }

  #text(stream: 'stdout' | 'stderr'): string {
    const pieces = this.#printed[stream];
    if (pieces.length > 1) pieces.splice(0, pieces.length, pieces.join(''));
    return pieces[0] ?? '';
  }

  /** Resolves when a line was printed that has it. @throws Error when the process ends without */
  said(pattern: RegExp): Promise<RegExpExecArray> {
    // A last line may go on.
    const rest = { stdout: '', stderr: '' };
    return new Promise((resolve, reject) => {
      const look = (stream: 'stdout' | 'stderr' = 'stdout', more = '') => {
        const text = rest[stream] + more;
        const found = pattern.exec(text);
        rest[stream] = text.slice(text.lastIndexOf('\n') + 1);
        if (found === null && !this.#over) return;
        this.#waits.delete(look);
        if (found !== null) resolve(found);
        else reject(new Error(`never said ${String(pattern)}: ${this.stdout}${this.stderr}`));
      };
      this.#waits.add(look);
      look('stdout', this.stdout);
      look('stderr', this.stderr);
    });
  }

  /** Ends it, if it has not ended. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.child.kill(signal);
    return this.ended;
  }

  #wake(stream?: 'stdout' | 'stderr', text?: string): void {
    for (const wait of this.#waits) wait(stream, text);
  }
}

/** Runs a program to its end. @throws Error unless it ends with 0 */
export async function runs(
  command: readonly string[],
  how: ConstructorParameters<typeof Running>[1] = {},
): Promise<Ended> {
  return succeeded(command.join(' '), await new Running(command, how).ended);
}

/** @throws Error unless it ended with 0 */
export function succeeded(what: string, ended: Ended): Ended {
  if (ended.status === 0) return ended;
  const words = `${ended.stdout}\n${ended.stderr}`.trim().split('\n').slice(-12).join('\n');
  throw new Error(`${what} ended with ${String(ended.status)}:\n${words}`);
}
