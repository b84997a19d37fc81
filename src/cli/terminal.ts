/** The one place that writes to stderr. A spinner until bytes flow, bars then; plain lines off a terminal. */
import type { MultiBar, SingleBar } from 'cli-progress';
import type { Ora } from 'ora';
import { type Progress, progressLine } from './progress.ts';

/** How much is shown. */
export interface TerminalOptions {
  readonly quiet: boolean;
  readonly color: boolean;
}

const SHOW_CURSOR = '\u001b[?25h';
const HIDE_CURSOR = '\u001b[?25l';

/** The person's side of the program. */
export class Terminal {
  /** True when stderr is a terminal and something may move on it. */
  readonly live: boolean;
  readonly #options: TerminalOptions;
  readonly #bars = new Map<string, SingleBar>();
  #multi: MultiBar | undefined;
  #makeMulti: (() => MultiBar) | undefined;
  #spinner: Ora | undefined;
  #waiting: string | undefined;
  /** Questions that stand. */
  #asking = 0;

  private constructor(options: TerminalOptions) {
    this.#options = options;
    // A terminal without a size (a pty that nobody set up) cannot be drawn on.
    const drawable = process.stderr.isTTY && process.stderr.columns > 0;
    this.live = drawable && !options.quiet && process.env['TERM'] !== 'dumb';
  }

  /** Loads what a terminal needs, nothing without one. */
  static async open(options: TerminalOptions): Promise<Terminal> {
    const terminal = new Terminal(options);
    if (!terminal.live) return terminal;
    const [{ default: ora }, { default: progress }] = await Promise.all([
      import('ora'),
      import('cli-progress'),
    ]);
    terminal.#spinner = ora({
      stream: process.stderr,
      discardStdin: false,
      ...(options.color ? {} : { color: false }),
    });
    terminal.#makeMulti = () =>
      new progress.MultiBar({
        stream: process.stderr,
        hideCursor: true,
        clearOnComplete: true,
        gracefulExit: false,
        format: (_options: unknown, _params: unknown, payload: { line?: Progress }) =>
          payload.line ? progressLine(payload.line, process.stderr.columns || 80) : '',
      });
    process.on('exit', () => terminal.restore());
    process.on('SIGTSTP', () => {
      terminal.restore();
      process.kill(process.pid, 'SIGSTOP');
    });
    process.on('SIGCONT', () => terminal.#redraw());
    return terminal;
  }

  /**
   * A line that stays, its parts from the network escaped by the caller.
   *
   * @param always - shown with --quiet, too
   */
  line(text: string, always = false): void {
    if (always || !this.#options.quiet) this.#write(text);
  }

  /** An error: shown with --quiet, too. */
  error(text: string): void {
    const word = this.#options.color && process.stderr.isTTY ? '\u001b[31mjet:\u001b[39m' : 'jet:';
    this.#write(`${word} ${text}`);
  }

  /** What is being waited for; undefined when nothing is. */
  waiting(text: string | undefined): void {
    this.#waiting = text;
    if (this.#bars.size > 0 || this.#asking > 0) return;
    if (text === undefined) this.#spinner?.stop();
    else this.#spinner?.start(text);
  }

  /** Draws or moves the bar of a transfer. */
  progress(id: string, progress: Progress): void {
    if (!this.#makeMulti) return;
    this.#spinner?.stop();
    this.#multi ??= this.#makeMulti();
    const bar = this.#bars.get(id);
    if (bar) bar.update(progress.bytes, { line: progress });
    else this.#bars.set(id, this.#multi.create(progress.size, progress.bytes, { line: progress }));
    // Drawn at once: what it waits for may come before the next turn of the bars.
    if (progress.finishing !== undefined) this.#multi.update();
  }

  /** Takes the bar of a transfer away. */
  ended(id: string): void {
    const bar = this.#bars.get(id);
    if (!bar) return;
    this.#bars.delete(id);
    this.#multi?.remove(bar);
    if (this.#bars.size > 0) return;
    this.#multi?.stop();
    this.#multi = undefined;
    this.waiting(this.#waiting);
  }

  /** Keeps everything still while somebody is asked. */
  async still<T>(action: () => Promise<T>): Promise<T> {
    this.#spinner?.stop();
    this.#asking += 1;
    try {
      return await action();
    } finally {
      this.#asking -= 1;
      this.waiting(this.#waiting);
    }
  }

  /** The cursor comes back, whatever was going on. */
  restore(): void {
    if (!this.live) return;
    this.#spinner?.stop();
    process.stderr.write(SHOW_CURSOR);
  }

  #redraw(): void {
    if (this.#bars.size === 0) this.waiting(this.#waiting);
    // The bars draw themselves at the next tick, but hide the cursor only when they begin.
    else process.stderr.write(HIDE_CURSOR);
  }

  #write(text: string): void {
    if (this.#multi && this.#bars.size > 0) {
      this.#multi.log(`${text}\n`);
      return;
    }
    const spinning = this.#spinner?.isSpinning === true;
    this.#spinner?.stop();
    process.stderr.write(`${text}\n`);
    if (spinning) this.waiting(this.#waiting);
  }
}
