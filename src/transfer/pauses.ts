/** Transfers between two of their sessions, at the side that does not begin them. */
import type { Clock } from '../core/clock.ts';
import type { LiveTransfer, LiveTransfers } from './live.ts';
import type { Outcome } from './machine.ts';
import type { Recorder } from './journal/recorder.ts';
import type { Reporter } from './reporter.ts';
import { endOf } from './rounds.ts';
import type { StreamTarget } from './stream-target.ts';

/** Milliseconds that the other side has to begin the next session. */
const NEXT_MS = 60_000;

/** What goes on in the next session: the row stays this process's, and all is told as one transfer. */
export interface Paused {
  readonly recorder: Recorder;
  readonly reporter: Reporter;
  /** Where it goes on to, of what is handed on as it comes. */
  readonly flow?: StreamTarget;
}

interface Session {
  readonly transfer: LiveTransfer;
  readonly seen: Promise<void>;
}

type Entry = Paused & { readonly leave: () => void };

/** Keeps them, for as long as the next session may come. */
export class Pauses {
  readonly #live: LiveTransfers;
  readonly #clock: Clock;
  readonly #entries = new Map<number, Entry>();
  readonly #sessions = new Map<number, Session>();

  /** @param live - where they count as transfers that are under way */
  constructor(live: LiveTransfers, clock: Clock) {
    this.#live = live;
    this.#clock = clock;
  }

  /** @param over - how it ended, when no session follows */
  add(paused: Paused, over: (outcome: Outcome) => void): void {
    const { recorder } = paused;
    let freed: () => void = () => undefined;
    const done = new Promise<void>((resolve) => (freed = resolve));
    const leave = () => {
      expire();
      this.#live.delete(live);
      this.#entries.delete(recorder.key);
      freed();
    };
    const end = (outcome: Outcome) => {
      leave();
      over(outcome);
    };
    const expire = this.#clock.after(NEXT_MS, () => end(endOf({ kind: 'continues' })));
    const live: LiveTransfer = { isOver: false, done, cancel: () => end({ kind: 'cancelled' }) };
    this.#live.add(live);
    this.#entries.set(recorder.key, { ...paused, leave });
  }

  /**
   * A session of a row.
   *
   * @param seen - resolves once its end was seen to, which may be that it is kept here
   */
  watch(key: number, transfer: LiveTransfer, seen: Promise<void>): void {
    const session = { transfer, seen };
    this.#sessions.set(key, session);
    void seen.finally(() => {
      if (this.#sessions.get(key) === session) this.#sessions.delete(key);
    });
  }

  /** The next session of a row is there. */
  async take(key: number): Promise<Paused | undefined> {
    const session = this.#sessions.get(key);
    // The other side hears of the end first, and may be back before all is put away here.
    if (session?.transfer.isOver === true) await session.seen;
    const entry = this.#entries.get(key);
    entry?.leave();
    return entry;
  }
}
