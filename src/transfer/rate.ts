/** A token bucket: how fast the bytes of a transfer may leave. */
import type { Clock } from '../core/clock.ts';
import { sleep } from '../core/clock.ts';

/** Limits to `rate` bytes a second on average, with a burst of at most a quarter of a second's worth. */
export class RateLimiter {
  readonly #clock: Clock;
  readonly #rate: number;
  readonly #burst: number;
  #tokens: number;
  #last: number;

  /** @param rate - bytes a second, above zero */
  constructor(clock: Clock, rate: number) {
    if (!(rate > 0)) throw new RangeError('a rate is above zero');
    this.#clock = clock;
    this.#rate = rate;
    this.#burst = Math.max(1, rate / 4);
    this.#tokens = this.#burst;
    this.#last = clock.monotonic();
  }

  /** Bytes best taken at once: the burst, so that a slow rate does not come in long gaps. */
  get chunk(): number {
    return Math.max(1, Math.floor(this.#burst));
  }

  /** Takes `bytes` and resolves once they may leave. Rejects with the signal's reason. */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    const gained = ((now - this.#last) * this.#rate) / 1000;
    this.#last = now;
    this.#tokens = Math.min(this.#burst, this.#tokens + gained) - bytes;
    // A debt is paid by waiting: the bucket may go below zero, the average holds.
    if (this.#tokens < 0) await sleep(this.#clock, (-this.#tokens * 1000) / this.#rate, signal);
  }
}
