/** When a command that waits for others (`jet receive`) is over. */
import type { Clock } from '../core/clock.ts';
import { Exit, JetError, type ExitStatus } from '../core/errors.ts';

/** How long is waited. */
export interface WaitingOptions {
  /** Milliseconds without anything to do after which it is over; Infinity for ever. */
  readonly wait: number;
  /** End with the first transfer. */
  readonly once: boolean;
}

/** Waits for offers until the user, the time or the first transfer ends it. */
export class Waiting {
  /** Rejects with JetError (exit 4) `nothing-offered`, or what `fail` was given. */
  readonly over: Promise<ExitStatus>;
  readonly #once: boolean;
  #resolve: (exit: ExitStatus) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;
  #cancel: () => void = () => undefined;

  /** @param busy - whether an offer is being decided or its bytes are on their way */
  constructor(
    clock: Clock,
    { wait, once }: WaitingOptions,
    signal: AbortSignal,
    busy: () => boolean,
  ) {
    this.#once = once;
    this.over = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const stop = () => {
      this.#cancel();
      this.#resolve(Exit.done);
    };
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    const expire = () => {
      // What was offered in time may take its own.
      if (busy()) this.#cancel = clock.after(wait, expire);
      else this.fail(nothingOffered());
    };
    if (wait !== Infinity) this.#cancel = clock.after(wait, expire);
  }

  /** A transfer has ended. */
  ended(exit: ExitStatus): void {
    this.#cancel();
    if (this.#once) this.#resolve(exit);
  }

  /** There is nothing to wait for any more. */
  fail(error: Error): void {
    this.#reject(error);
  }
}

function nothingOffered(): JetError {
  return new JetError(
    Exit.absent,
    'nothing-offered',
    'Nothing was offered in time. Wait longer with --wait, or ask the other side to send.',
  );
}
