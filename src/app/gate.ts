/** The connection slots of an account: how its processes share the few sessions that a server allows. */
import { type Clock, sleep } from '../core/clock.ts';
import { Exit, JetError } from '../core/errors.ts';
import { Slot, type Standing } from '../store/slots.ts';
import type { Store } from '../store/store.ts';
import type { Gate } from '../xmpp/gate.ts';
import type { SlotSettings } from './types.ts';

/** Milliseconds between two looks at the queue: for who is next, and at the most. */
const NEXT_MS = 100;
const MOST_MS = 3000;

/** The slots of one account as a gate before its connection. */
export class AccountGate implements Gate {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #account: string;
  readonly #settings: SlotSettings;
  #slot: Slot | undefined;
  #said = false;
  /** Since when nothing has moved, on the monotonic clock. */
  #since: number;
  #served: number | undefined;
  #refusal: string | undefined;

  /** @param account - a bare address */
  constructor(store: Store, clock: Clock, account: string, settings: SlotSettings) {
    this.#store = store;
    this.#clock = clock;
    this.#account = account;
    this.#settings = settings;
    this.#since = clock.monotonic();
  }

  /**
   * Waits as long as the queue moves, and for `wait` ms when it does not: many short commands in a row
   * are no reason to give up, a server or holders that never yield are.
   *
   * @throws JetError (exit 3) `slots-taken`, `session-limit`; the signal's reason
   */
  async enter(signal?: AbortSignal): Promise<void> {
    const { most: size, lasting, wait } = this.#settings;
    signal?.throwIfAborted();
    this.#slot ??= new Slot(this.#store, this.#clock, { name: this.#account, size, lasting });
    const slot = this.#slot;
    try {
      while (!slot.take()) {
        signal?.throwIfAborted();
        const standing = slot.standing;
        const now = this.#clock.monotonic();
        if (standing.served !== this.#served) this.#since = now;
        this.#served = standing.served;
        if (now - this.#since >= wait) throw this.#late(standing);
        this.#say(standing);
        await sleep(this.#clock, Math.min(MOST_MS, NEXT_MS * (1 + standing.ahead)), signal);
      }
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  accepted(): void {
    this.#slot?.accepted();
    this.#refusal = undefined;
    this.#served = undefined;
    this.#said = false;
  }

  refused(condition: string): void {
    this.#slot?.refused();
    this.#slot = undefined;
    // Time runs on while one refusal follows another.
    if (this.#refusal === undefined) this.#since = this.#clock.monotonic();
    this.#refusal = condition;
  }

  leave(): void {
    this.#slot?.release();
    this.#slot = undefined;
  }

  #say(standing: Standing): void {
    if (this.#said) return;
    this.#said = true;
    this.#settings.say(`a connection slot of ${this.#account}: ${this.#why(standing)}`);
  }

  #why({ holders, ahead, size }: Standing): string {
    const { lasting } = this.#settings;
    const queue = ahead === 0 ? '' : `; ${ahead} ${ahead === 1 ? 'waits' : 'wait'} ahead`;
    const by = list(holders);
    if (holders.length >= size)
      return `${size === 1 ? 'the only one is' : `all ${size} are`} taken by ${by}${queue}`;
    if (lasting && size > 1 && holders.length === size - 1)
      return `${size - 1} of ${size} are taken by ${by}, the last is kept for commands that end${queue}`;
    if (this.#refusal !== undefined) return `the server allows no more at this time${queue}`;
    return `others come first${queue}`;
  }

  #late(standing: Standing): JetError {
    const seconds = Math.round(this.#settings.wait / 1000);
    if (this.#refusal !== undefined)
      return new JetError(Exit.account, 'session-limit', this.#refusal);
    return new JetError(
      Exit.account,
      'slots-taken',
      `No connection slot of ${this.#account} became free for ${seconds} seconds: ${this.#why({ ...standing, ahead: 0 })}. ` +
        'End one of these, wait longer with --wait, or allow more with --slots.',
    );
  }
}

function list(pids: readonly number[]): string {
  const shown = pids.slice(0, 10).join(', ');
  return `${pids.length === 1 ? 'process' : 'processes'} ${shown}${pids.length > 10 ? ' …' : ''}`;
}
