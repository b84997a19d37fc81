/** When `jet receive --once` has had its one transfer: all that one `jet send` offers, as far as it comes. */
import type { Cancel, Clock } from '../core/clock.ts';
import { Sends, type EndedOffer } from '../transfer/several.ts';
import type { Waiting } from '../transfer/waiting.ts';
import type { Connection } from '../xmpp/connection.ts';
import type { OnEvent } from './types.ts';

/** Milliseconds in which nothing of a send moves after which the rest of it does not come any more. */
const QUIET_MS = 60_000;

/** What is needed to tell. */
export interface OnceOptions {
  readonly clock: Clock;
  readonly connection: Connection;
  readonly waiting: Waiting;
  /** Whether an offer is being decided or its bytes are on their way. */
  readonly busy: () => boolean;
  readonly on: OnEvent;
}

/** Counts the offers of each send. */
export class Once {
  readonly #options: OnceOptions;
  readonly #sends = new Sends();
  readonly #gone = new Set<string>();
  readonly #unwatch: () => void;
  #quiet: Cancel = () => undefined;

  constructor(options: OnceOptions) {
    this.#options = options;
    this.#unwatch = options.connection.onPresence((presence, from) => {
      const peer = from.toString();
      if (presence.attrs['type'] === 'unavailable') {
        this.#gone.add(peer);
        this.#abandon(peer);
      } else this.#gone.delete(peer);
    });
  }

  /** An offer has ended. */
  ended(offer: EndedOffer): void {
    const status = this.#sends.ended(offer);
    if (status !== undefined) this.#options.waiting.ended(status, offer.broke);
    else if (this.#sends.unfinished) {
      if (this.#gone.has(offer.peer)) this.#abandon(offer.peer);
      this.#rest();
    }
  }

  /** True while files of a send that was begun are still to come. */
  get unfinished(): boolean {
    return this.#sends.unfinished;
  }

  /** Listens no more. */
  close(): void {
    this.#quiet();
    this.#unwatch();
  }

  #rest(): void {
    this.#quiet();
    this.#quiet = this.#options.clock.after(QUIET_MS, () => {
      if (this.#options.busy()) this.#rest();
      else this.#abandon();
    });
  }

  /** @param peer - who went away; absent when nobody was heard of for long */
  #abandon(peer?: string): void {
    // What is under way ends on its own, and is looked at then.
    if (this.#options.busy()) return;
    const left = this.#sends.abandon(peer);
    if (left === undefined) return;
    const { clock, on, waiting } = this.#options;
    const files = left.missing === 1 ? 'One of the files' : `${left.missing} of the files`;
    const message = `${files} that were announced never came: ask for them to be sent again.`;
    const { status: exit } = left;
    on({ id: 'jet', time: clock.now(), event: 'error', code: 'never-came', message, exit });
    waiting.ended(exit);
  }
}
