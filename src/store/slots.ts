/**
 * Slots that processes share: so many at once hold one, the others queue in the order in which they came.
 * A slot is freed by the death of its process, as a lock is.
 */
import { randomInt } from '../core/bytes.ts';
import type { Cancel, Clock } from '../core/clock.ts';
import { BEAT_MS, lives, ownerOf, thisProcess } from './owner.ts';
import type { Row, Schema, Store } from './store.ts';

/** Who holds or waits, in the order of their tickets; and what was learnt of how many may be. */
export const slotsSchema: Schema = {
  name: 'slots',
  steps: [
    `CREATE TABLE slot (
       ticket INTEGER PRIMARY KEY AUTOINCREMENT,
       name TEXT NOT NULL,
       held INTEGER NOT NULL,
       lasting INTEGER NOT NULL,
       machine TEXT NOT NULL,
       pid INTEGER NOT NULL,
       started TEXT NOT NULL,
       beat INTEGER NOT NULL)`,
    `CREATE TABLE slot_limit (
       name TEXT PRIMARY KEY,
       size INTEGER NOT NULL,
       until INTEGER NOT NULL,
       refusals INTEGER NOT NULL,
       closed INTEGER NOT NULL,
       served INTEGER NOT NULL)`,
  ],
};

/** How long in ms a refusal is remembered. */
export const REMEMBER_MS = 600_000;
/** The longest pause in ms after a refusal. */
const LONGEST_PAUSE_MS = 60_000;
/** Who waits asks this often at the least; */
const OFTEN_MS = 5000;
/** who has not asked for this long is stopped, and holds nobody up. */
const STALE_MS = 20_000;

/** What is asked for. */
export interface SlotRequest {
  /** What the slots are for: those of one name are shared. */
  readonly name: string;
  /** How many there are, 1 at the least. */
  readonly size: number;
  /** May be held for ever: of several slots, one is kept from those that are. */
  readonly lasting: boolean;
}

/** How a queue stands for one who waits. */
export interface Standing {
  /** The processes that hold a slot. */
  readonly holders: readonly number[];
  /** How many wait ahead. */
  readonly ahead: number;
  /** How many slots there are at this time. */
  readonly size: number;
  /** How many slots have been put to use so far: it grows as the queue moves. */
  readonly served: number;
}

/** A row as far as admission goes. */
export interface Place {
  readonly ticket: number;
  readonly held: boolean;
  readonly lasting: boolean;
}

/**
 * Whether a ticket's turn has come: enough slots are left for it and all who wait ahead.
 *
 * @param places - all that hold or wait, by ticket
 */
export function admits(places: readonly Place[], ticket: number, size: number): boolean {
  const holders = places.filter(({ held }) => held);
  let held = holders.length;
  let lasting = holders.filter((place) => place.lasting).length;
  const mostLasting = Math.max(1, size - 1);
  for (const place of places) {
    if (place.held) continue;
    const fits = held < size && (!place.lasting || lasting < mostLasting);
    if (place.ticket === ticket) return fits;
    if (!fits) continue;
    held += 1;
    if (place.lasting) lasting += 1;
  }
  return false;
}

/** One's place among those who share the slots: first in the queue, then with a slot. */
export class Slot {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #request: SlotRequest;
  #ticket: number;
  #held = false;
  #asked: number;
  #cancel: Cancel = () => undefined;

  /** Joins the queue at its end. */
  constructor(store: Store, clock: Clock, request: SlotRequest) {
    this.#store = store;
    this.#clock = clock;
    this.#request = request;
    this.#asked = clock.now();
    this.#ticket = this.#insert();
  }

  get held(): boolean {
    return this.#held;
  }

  /** Takes a slot when it is our turn; true once one is held. */
  take(): boolean {
    if (this.#held) return true;
    // Read before written: those who wait do not keep each other from the store, nor does looking who lives.
    const seen: Seen = new Map();
    if (!this.#admitted(seen)) {
      this.#ask();
      return false;
    }
    this.#held = this.#write(() => {
      this.#bury(seen);
      if (!this.#admitted(seen)) return false;
      const sql = 'UPDATE slot SET held = 1, beat = ? WHERE ticket = ?';
      return this.#store.run(sql, this.#clock.now(), this.#ticket) > 0;
    });
    if (this.#held) this.#beat();
    else this.#ask();
    return this.#held;
  }

  get standing(): Standing {
    const rows = this.#living();
    const holders = rows.filter((row) => row['held'] === 1);
    return {
      holders: holders.map((row) => Number(row['pid'])),
      ahead: rows.filter((row) => row['held'] === 0 && Number(row['ticket']) < this.#ticket).length,
      size: this.#size(),
      served: Number(this.#limit()?.['served'] ?? 0),
    };
  }

  /** The slot was put to use. */
  accepted(): void {
    this.#learn((limit) => ({ ...limit, closed: 0, served: limit.served + 1 }));
  }

  /**
   * There is no room for as many: for a while there are only as many slots as others hold now, and
   * nobody takes one during a pause that doubles with every refusal. The slot is given back.
   */
  refused(): void {
    this.#write(() => {
      const others = this.#living().filter(
        (row) => row['held'] === 1 && row['ticket'] !== this.#ticket,
      ).length;
      const size = Math.max(1, Math.min(others, this.#size()));
      const now = this.#clock.now();
      this.#learn((limit) => ({
        ...limit,
        size,
        until: now + REMEMBER_MS,
        refusals: limit.refusals + 1,
        closed: now + pauseAfter(limit.refusals),
      }));
      this.release();
    });
  }

  /** Leaves the queue, or gives the slot back. Calling it twice does nothing. */
  release(): void {
    this.#cancel();
    this.#held = false;
    this.#write(() => this.#store.run('DELETE FROM slot WHERE ticket = ?', this.#ticket));
  }

  /** A power cut ends all that hold or wait, so nothing of it has to last. */
  #write<T>(body: () => T): T {
    return this.#store.lightly(() => this.#store.transaction(body));
  }

  #insert(): number {
    const { machine, pid, started } = thisProcess();
    return this.#write(() => {
      this.#store.run(
        'INSERT INTO slot (name, held, lasting, machine, pid, started, beat) VALUES (?, ?, ?, ?, ?, ?, ?)',
        this.#request.name,
        this.#held ? 1 : 0,
        this.#request.lasting ? 1 : 0,
        machine,
        pid,
        started,
        this.#clock.now(),
      );
      return Number(this.#store.get('SELECT last_insert_rowid() AS ticket')?.['ticket']);
    });
  }

  /** Says that we still wait. */
  #ask(): void {
    const now = this.#clock.now();
    if (Math.abs(now - this.#asked) < OFTEN_MS) return;
    this.#asked = now;
    this.#say();
  }

  #beat(): void {
    this.#cancel = this.#clock.after(BEAT_MS, () => {
      this.#say();
      this.#beat();
    });
  }

  /** One that was taken for dead while it slept is there again. */
  #say(): void {
    const sql = 'UPDATE slot SET beat = ? WHERE ticket = ?';
    const said = this.#write(() => this.#store.run(sql, this.#clock.now(), this.#ticket));
    if (said === 0) this.#ticket = this.#insert();
  }

  #admitted(seen: Seen): boolean {
    const now = this.#clock.now();
    const closed = Number(this.#limit()?.['closed'] ?? 0);
    // A clock that was set back must not shut everybody out.
    if (closed > now && closed - now <= LONGEST_PAUSE_MS) return false;
    const places = this.#living(seen)
      .filter((row) => {
        const waits = row['held'] === 0 && row['ticket'] !== this.#ticket;
        return !waits || Math.abs(now - Number(row['beat'])) < STALE_MS;
      })
      .map((row) => ({
        ticket: Number(row['ticket']),
        held: row['held'] === 1,
        lasting: row['lasting'] === 1,
      }));
    return admits(places, this.#ticket, this.#size());
  }

  #size(): number {
    const limit = this.#limit();
    const { size } = this.#request;
    return limit === undefined ? size : Math.min(size, Number(limit['size']));
  }

  #living(seen: Seen = new Map()): Row[] {
    const sql = 'SELECT * FROM slot WHERE name = ? ORDER BY ticket';
    return this.#store.all(sql, this.#request.name).filter((row) => this.#lives(row, seen));
  }

  #lives(row: Row, seen: Seen): boolean {
    const ticket = Number(row['ticket']);
    if (ticket === this.#ticket) return true;
    const living = seen.get(ticket) ?? lives(ownerOf(row), this.#clock.now() - Number(row['beat']));
    seen.set(ticket, living);
    return living;
  }

  /** Takes the dead out. */
  #bury(seen: Seen): void {
    for (const row of this.#store.all('SELECT * FROM slot WHERE name = ?', this.#request.name))
      if (!this.#lives(row, seen))
        this.#store.run('DELETE FROM slot WHERE ticket = ?', Number(row['ticket']));
  }

  /** What is remembered; its size holds for a while only. */
  #limit(): Row | undefined {
    const row = this.#store.get('SELECT * FROM slot_limit WHERE name = ?', this.#request.name);
    if (row === undefined) return undefined;
    const left = Number(row['until']) - this.#clock.now();
    const over = left <= 0 || left > REMEMBER_MS;
    return over ? { ...row, size: Number.MAX_SAFE_INTEGER, refusals: 0, closed: 0 } : row;
  }

  #learn(change: (limit: Limit) => Limit): void {
    this.#write(() => {
      const row = this.#limit();
      const { size, until, refusals, closed, served } = change({
        size: Number(row?.['size'] ?? Number.MAX_SAFE_INTEGER),
        until: Number(row?.['until'] ?? 0),
        refusals: Number(row?.['refusals'] ?? 0),
        closed: Number(row?.['closed'] ?? 0),
        served: Number(row?.['served'] ?? 0),
      });
      this.#store.run(
        'INSERT OR REPLACE INTO slot_limit (name, size, until, refusals, closed, served) VALUES (?, ?, ?, ?, ?, ?)',
        this.#request.name,
        size,
        until,
        refusals,
        closed,
        served,
      );
    });
  }
}

/** By ticket: who was found to live a moment ago. */
type Seen = Map<number, boolean>;

interface Limit {
  readonly size: number;
  readonly until: number;
  readonly refusals: number;
  readonly closed: number;
  readonly served: number;
}

/** The pause in ms after so many refusals before this one: doubled to a minute, half of it by lot. */
function pauseAfter(refusals: number): number {
  const full = Math.min(LONGEST_PAUSE_MS, 1000 * 2 ** Math.min(refusals, 16));
  return full / 2 + randomInt(0, full / 2);
}
