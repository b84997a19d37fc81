/** A program of another project in a process group of its own, spoken to by JSON lines. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** What a driver tells. */
export type Told = Readonly<Record<string, unknown>>;

/** How a driver is started. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** How a request is written, without the line's end; default a JSON object. */
  readonly write?: (id: number, what: string, words: Told) => string;
}

const asJson = (id: number, what: string, words: Told) =>
  JSON.stringify({ id, do: what, ...words });

/** A driver that runs: everything it told, and its answers. */
export class Lines {
  readonly told: Told[] = [];
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  readonly #write: NonNullable<Command['write']>;
  readonly #looks = new Set<() => void>();
  #rest = '';
  #stderr = '';
  #count = 0;
  #running = true;

  constructor({ program, args, env, cwd, write = asJson }: Command) {
    this.#write = write;
    this.#child = spawn(program, args, {
      cwd,
      env,
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child.stdin?.on('error', () => undefined);
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4000);
    });
    this.ended = new Promise((resolve) => {
      const over = () => {
        this.#running = false;
        resolve();
        this.#look();
      };
      this.#child.once('close', over).once('error', over);
    });
  }

  /** Asks for something; rejects with what the driver says against it. */
  async ask(what: string, words: Told = {}): Promise<unknown> {
    const id = ++this.#count;
    this.#child.stdin?.write(`${this.#write(id, what, words)}\n`);
    const answer = await this.heard((told) => told['id'] === id);
    if (answer['error'] !== undefined) throw new Error(`${what}: ${JSON.stringify(answer)}`);
    return answer['result'];
  }

  /** The first thing told from `since` on that fits. Rejects when the driver ends without. */
  heard(fits: (told: Told) => boolean, since = 0): Promise<Told> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.told.slice(since).find(fits);
        if (found === undefined && this.#running) return;
        this.#looks.delete(look);
        if (found !== undefined) resolve(found);
        else reject(new Error(`the driver ended: ${this.#stderr}`));
      };
      this.#looks.add(look);
      look();
    });
  }

  /** Lets it end by itself, and with it what it started. */
  async end(): Promise<void> {
    this.#child.stdin?.end();
    const guard = setTimeout(() => this.#signal('SIGKILL'), 15_000);
    await this.ended;
    clearTimeout(guard);
    this.#signal('SIGKILL');
  }

  /** As a crash does. */
  async kill(): Promise<void> {
    this.#signal('SIGKILL');
    await this.ended;
  }

  #signal(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // Nobody of the group is left.
    }
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('{')) this.told.push(JSON.parse(line) as Told);
    this.#look();
  }

  #look(): void {
    for (const look of [...this.#looks]) look();
  }
}

/** Resolves when a text stands in a log; rejects after so many milliseconds. */
export async function logged(file: string, text: string, ms: number): Promise<void> {
  const end = Date.now() + ms;
  while (!(await readFile(file, 'utf8')).includes(text)) {
    if (Date.now() > end) throw new Error(`never logged: ${text}`);
    await sleep(100);
  }
}
