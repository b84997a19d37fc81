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

/** Milliseconds in which the other side may come back, for who would wait for an offer for ever. */
const COMES_BACK_MS = 30_000;

/** Waits for offers until the user, the time or the first transfer ends it. */
export class Waiting {
  /** Rejects with JetError (exit 4) `nothing-offered`, or what `fail` was given. */
  readonly over: Promise<ExitStatus>;
  readonly #once: boolean;
  readonly #clock: Clock;
  readonly #wait: number;
  readonly #busy: () => boolean;
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
    this.#clock = clock;
    this.#wait = wait === Infinity ? COMES_BACK_MS : wait;
    this.#busy = busy;
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

  /**
   * A transfer has ended.
   *
   * @param broke - the other side may come back and go on with it, which is waited for
   */
  ended(exit: ExitStatus, broke = false): void {
    this.#cancel();
    if (!this.#once) return;
    if (!broke) this.#resolve(exit);
    else
      this.#cancel = this.#clock.after(this.#wait, () => {
        // What came back in time may take its own.
        if (!this.#busy()) this.#resolve(exit);
      });
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
