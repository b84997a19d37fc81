/** Signals, and the end of the process. */
import { Exit, type ExitStatus } from '../core/errors.ts';

/** Why everything is being ended. */
export class Interrupted extends Error {
  readonly signal: NodeJS.Signals;
  constructor(signal: NodeJS.Signals) {
    super(`Interrupted by ${signal}.`);
    this.name = 'Interrupted';
    this.signal = signal;
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Watches the signals that end a program: the first asks for a clean end, the second ends at once. */
export class Signals {
  readonly #controller = new AbortController();
  readonly #restore: () => void;
  #received: NodeJS.Signals | undefined;
  #unread = false;

  /** @param restore - puts the terminal right before the process ends */
  constructor(restore: () => void) {
    this.#restore = restore;
    for (const name of SIGNALS) process.on(name, this.#take);
  }

  get abort(): AbortSignal {
    return this.#controller.signal;
  }

  readonly #take = (name: NodeJS.Signals): void => {
    if (this.#received !== undefined) {
      this.#raise(name);
      return;
    }
    this.#received = name;
    this.#controller.abort(new Interrupted(name));
  };

  /** Nobody reads the results any more: a clean end, so that the peer is told, and no error. */
  readonly unread = (): void => {
    this.#unread = true;
    this.#controller.abort(new Interrupted('SIGPIPE'));
  };

  /** Ends the process as documented: by the signal again where one came, so that a shell's loop stops. */
  finish(status: ExitStatus, idleIsDone: boolean): void {
    if (this.#unread) endProcess(Exit.done);
    else if (
      this.#received === undefined ||
      (idleIsDone && this.#received === 'SIGTERM' && status === Exit.done)
    )
      endProcess(status);
    else this.#raise(this.#received);
  }

  #raise(name: NodeJS.Signals): void {
    this.#restore();
    for (const each of SIGNALS) process.off(each, this.#take);
    process.kill(process.pid, name);
  }
}

/** Ends with a status once what was written to stdout has left. */
export function endProcess(status: ExitStatus): void {
  process.exitCode = status;
  process.stdout.write('', () => process.exit(status));
}

/** A reader of stdout that went away ends the program quietly, by `unread`. */
export function quietOnBrokenPipe(unread: () => void): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    unread();
  });
  // Nobody reads the messages any more: not a reason to fail.
  process.stderr.on('error', () => undefined);
}
