/** Named locks across processes: rows in the store, with a fencing number for what outlives its owner. */
import { randomBytes } from 'node:crypto';
import { type Cancel, type Clock, sleep } from '../core/clock.ts';
import { Exit, JetError } from '../core/errors.ts';
import { BEAT_MS, lives, ownerOf, thisProcess } from './owner.ts';
import type { Row, Schema, Store } from './store.ts';

/** The table of locks. A released lock keeps its row, so that its fencing number only grows. */
export const locksSchema: Schema = {
  name: 'locks',
  steps: [
    `CREATE TABLE lock (
       name TEXT PRIMARY KEY,
       token TEXT,
       machine TEXT NOT NULL,
       pid INTEGER NOT NULL,
       started TEXT NOT NULL,
       beat INTEGER NOT NULL,
       fence INTEGER NOT NULL)`,
  ],
};

/** A lock that is held. */
export interface Lock {
  readonly name: string;
  /** Larger than that of every earlier owner of this name. */
  readonly fence: number;
  /** Whether it still is ours: to be asked inside the transaction that relies on it. */
  held(): boolean;
  /** Gives it up. Calling it twice does nothing. */
  release(): void;
}

/**
 * Takes a lock if it is free or its owner is dead.
 *
 * @returns undefined when a living process (or another part of this one) holds it
 */
export function acquire(store: Store, clock: Clock, name: string): Lock | undefined {
  const self = thisProcess();
  const token = randomBytes(16).toString('hex');
  const fence = store.transaction(() => {
    const row = store.get('SELECT * FROM lock WHERE name = ?', name);
    if (row && taken(row, clock)) return undefined;
    const next = Number(row?.['fence'] ?? 0) + 1;
    store.run(
      'INSERT OR REPLACE INTO lock (name, token, machine, pid, started, beat, fence) VALUES (?, ?, ?, ?, ?, ?, ?)',
      name,
      token,
      self.machine,
      self.pid,
      self.started,
      clock.now(),
      next,
    );
    return next;
  });
  return fence === undefined ? undefined : hold(store, clock, name, token, fence);
}

/** Whether somebody who lives holds a lock: another process, or any part of this one. */
export function isHeld(store: Store, clock: Clock, name: string): boolean {
  const row = store.get('SELECT * FROM lock WHERE name = ?', name);
  return row !== undefined && taken(row, clock);
}

/** Drops a lock with its fencing number, once nothing will ever be named so again. */
export function dropLock(store: Store, name: string): void {
  store.run('DELETE FROM lock WHERE name = ?', name);
}

function taken(row: Row, clock: Clock): boolean {
  return row['token'] !== null && lives(ownerOf(row), clock.now() - Number(row['beat']));
}

function hold(store: Store, clock: Clock, name: string, token: string, fence: number): Lock {
  let released = false;
  let cancel: Cancel = () => undefined;
  const beat = () => {
    cancel = clock.after(BEAT_MS, () => {
      const sql = 'UPDATE lock SET beat = ? WHERE name = ? AND token = ?';
      if (store.run(sql, clock.now(), name, token) > 0) beat();
    });
  };
  beat();
  return {
    name,
    fence,
    held: () =>
      !released &&
      store.get('SELECT 1 FROM lock WHERE name = ? AND token = ?', name, token) !== undefined,
    release: () => {
      if (released) return;
      released = true;
      cancel();
      store.run('UPDATE lock SET token = NULL WHERE name = ? AND token = ?', name, token);
    },
  };
}

/**
 * Runs `body` while holding a lock, waiting for it in turn with others.
 *
 * @param options - `wait`: ms until it gives up
 * @throws JetError (exit 8, `lock-busy`) when the lock was not free in time
 */
export async function withLock<T>(
  store: Store,
  clock: Clock,
  name: string,
  body: (lock: Lock) => Promise<T> | T,
  options: { readonly wait: number; readonly signal?: AbortSignal },
): Promise<T> {
  const start = clock.monotonic();
  let pause = 20;
  for (;;) {
    const lock = acquire(store, clock, name);
    if (lock) {
      try {
        return await body(lock);
      } finally {
        lock.release();
      }
    }
    if (clock.monotonic() - start >= options.wait) {
      throw new JetError(
        Exit.localFile,
        'lock-busy',
        `Another jet process holds the lock “${name}”. Wait for it to finish, or end it.`,
      );
    }
    await sleep(clock, pause + (randomBytes(1)[0] ?? 0) / 8, options.signal);
    pause = Math.min(pause * 1.5, 250);
  }
}
