/** Bounds by the hour that hold across processes: long ratchet advances, rebuilt sessions, lists put back. */
import type { Clock } from '../core/clock.ts';
import type { Store } from '../store/store.ts';
import { MAX_ADVANCE } from './crypto/index.ts';
import type { Address } from './session-rows.ts';

const HOUR = 3_600_000;
/** Steps beyond the free ones that one device may really use in an hour. */
const STEPS_AN_HOUR = 500_000;
/** Steps an hour that messages may cost which then prove forged; counted apart from the real ones. */
const WASTED_AN_HOUR = 2_000_000;

/** The allowances of one account. */
export class Allowance {
  /** Steps of a receiving chain that are always allowed: about 30 ms. */
  static readonly FREE = 10_000;

  readonly #store: Store;
  readonly #clock: Clock;
  readonly #account: string;

  constructor(store: Store, clock: Clock, account: string) {
    this.#store = store;
    this.#clock = clock;
    this.#account = account;
  }

  /** Takes `amount` of at most `limit` an hour; false, and nothing taken, when that is too much. */
  take(subject: string, amount: number, limit: number): boolean {
    return this.#store.transaction(() => {
      const used = this.#used(subject);
      if (used + amount > limit) return false;
      this.#store.run(
        'INSERT OR REPLACE INTO omemo_allowance (account, subject, hour, used) VALUES (?, ?, ?, ?)',
        this.#account,
        subject,
        this.#hour(),
        used + amount,
      );
      return true;
    });
  }

  /**
   * How far a chain of this device may be advanced now. Forged headers narrow this for new chains
   * alone: in a chain that is known they cost the way but once, so a real message finds its way there
   * whatever came before.
   */
  advance(of: Address, chain: 'known' | 'new'): number {
    const wasted = chain === 'new' && this.#used(`wasted ${of.jid} ${of.device}`) >= WASTED_AN_HOUR;
    if (wasted) return Allowance.FREE;
    const left = STEPS_AN_HOUR - this.#used(`advance ${of.jid} ${of.device}`);
    return Math.min(MAX_ADVANCE, Math.max(Allowance.FREE, left));
  }

  /** An authentic message went this far. */
  spend(of: Address, steps: number): void {
    if (steps > Allowance.FREE) {
      this.take(`advance ${of.jid} ${of.device}`, steps, STEPS_AN_HOUR + MAX_ADVANCE);
    }
  }

  /** A message cost this many steps and was not authentic. */
  wasted(of: Address, steps: number): void {
    this.take(`wasted ${of.jid} ${of.device}`, steps, WASTED_AN_HOUR + 2 * MAX_ADVANCE);
  }

  #hour(): number {
    return Math.floor(this.#clock.now() / HOUR);
  }

  #used(subject: string): number {
    const sql = 'SELECT used FROM omemo_allowance WHERE account = ? AND subject = ? AND hour = ?';
    return Number(this.#store.get(sql, this.#account, subject, this.#hour())?.['used'] ?? 0);
  }
}
