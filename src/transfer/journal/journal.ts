/** The journal: every transfer in both directions, from its first stanza to its end. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../core/clock.ts';
import { Exit, JetError } from '../../core/errors.ts';
import { acquire, dropLock, isHeld } from '../../store/locks.ts';
import type { Store, Value } from '../../store/store.ts';
import {
  columnsOf,
  LASTS_MS,
  rowOf,
  type TransferDetails,
  type TransferParties,
  type TransferRow,
  type TransferState,
  MOST_RECEIVED,
} from './journal-row.ts';
import { JournalWriter } from './journal-writer.ts';

export { journalSchema } from './journal-row.ts';

/** Columns of a part. */
const INHERITED =
  'path, part, part_identity, written, verified, boot, durable, durable_identity, doubt';

/** What a transfer begins with. */
export type NewTransfer = TransferParties &
  Pick<TransferDetails, 'jet' | 'name'> &
  Partial<TransferDetails>;

/** Highest attempt number: beyond it a transfer has to begin anew. */
const MAX_ATTEMPT = 0x7fff_ffff;

/**
 * The rows of one store. Every call is one step: done durably when it returns, or not at all.
 *
 * @remarks The store must have `locksSchema` and `journalSchema`.
 */
export class Journal {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Makes a row with a random id; whoever begins a transfer is its writer. */
  begin({ account, peer, direction, ...details }: NewTransfer): JournalWriter {
    const now = this.#clock.now();
    const columns: Record<string, Value> = {
      id: randomBytes(16).toString('hex'),
      account,
      peer,
      direction,
      ...columnsOf({ options: {}, ...details }),
      created: now,
      updated: now,
      fence: 0,
    };
    const names = Object.keys(columns);
    return this.#store.transaction(() => {
      const marks = names.map(() => '?').join(', ');
      const sql = `INSERT INTO transfer (${names.join(', ')}) VALUES (${marks}) RETURNING key`;
      return this.#write(Number(this.#store.get(sql, ...Object.values(columns))?.['key']));
    });
  }

  /**
   * Becomes the one writer of a transfer, to go on with it. An earlier writer that comes to life
   * again is refused from here on.
   *
   * @param by - who wants to go on: what the user cancelled is not resumed by the peer
   * @throws JetError: exit 2 `unknown-transfer`, `transfer-over`, `transfer-expired`; exit 5 `transfer-cancelled`; exit 8
   * `transfer-busy` while a living process, or another part of this one, writes it
   */
  claim(key: number, by: 'user' | 'peer'): JournalWriter {
    return this.#store.transaction(() => {
      const row = this.#row(key);
      if (row === undefined) throw unknown('the transfer');
      const { id, state } = row;
      checkNotOver(row, id);
      if (state === 'cancelled' && by === 'peer')
        throw new JetError(
          Exit.declined,
          'transfer-cancelled',
          `Transfer ${id} was cancelled here. Resume it with jet resume ${id}.`,
        );
      return this.#write(key);
    });
  }

  /** The rows, the newest first. */
  list(filter: { account?: string; states?: readonly TransferState[] } = {}): TransferRow[] {
    const { account, states } = filter;
    const where: string[] = [];
    const values: string[] = [];
    if (account !== undefined) {
      where.push('account = ?');
      values.push(account);
    }
    if (states !== undefined) {
      // An open one may turn out to have been interrupted, and that to have expired.
      const stored = new Set<TransferState>(states);
      if (stored.delete('expired')) stored.add('interrupted').add('cancelled');
      if (stored.has('interrupted')) stored.add('open');
      where.push(`state IN (${[...stored].map(() => '?').join(', ')})`);
      values.push(...stored);
    }
    const only = where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`;
    return this.#store
      .all(`SELECT * FROM transfer ${only} ORDER BY key DESC`, ...values)
      .map((row) => this.#seen(rowOf(row)))
      .filter(({ state }) => states === undefined || states.includes(state));
  }

  /**
   * The row that an id, or a beginning of one that fits no other, stands for.
   *
   * @throws JetError (exit 2) `unknown-transfer`, `ambiguous-transfer`
   */
  get(text: string, account?: string): TransferRow {
    const start = text.toLowerCase();
    if (!/^[0-9a-f]+$/.test(start)) throw unknown(`"${text}"`);
    // "g" sorts behind every hex digit.
    const sql = 'SELECT * FROM transfer WHERE id >= ? AND id < ? ORDER BY key DESC LIMIT 1000';
    const rows = this.#store
      .all(sql, start, `${start}g`)
      .map((row) => this.#seen(rowOf(row)))
      .filter((row) => account === undefined || row.account === account);
    const [row] = rows;
    if (row === undefined) throw unknown(`"${text}"`);
    if (rows.length === 1) return row;
    const some = rows.slice(0, 3).map(({ id }) => id);
    throw new JetError(
      Exit.usage,
      'ambiguous-transfer',
      `"${text}" fits several transfers, such as ${some.join(' and ')}. Write more of it.`,
    );
  }

  /** The row of a key. @throws JetError (exit 2) `unknown-transfer` */
  row(key: number): TransferRow {
    const row = this.#row(key);
    if (row === undefined) throw unknown('the transfer');
    return row;
  }

  /** The row of a transfer id of this identity key; a random id is none. */
  findByTransferId(account: string, identity: string, id: string): TransferRow | undefined {
    const row = this.#store.get(
      'SELECT * FROM transfer WHERE account = ? AND identity = ? AND id = ? AND adopted = 1',
      account,
      identity,
      id,
    );
    return row && this.#seen(rowOf(row));
  }

  /** What this identity key sent by a name and of a size, the newest first. */
  received(account: string, identity: string, name: string, size: number): TransferRow[] {
    return this.#store
      .all(
        `SELECT * FROM transfer WHERE account = ? AND identity = ? AND name = ? AND size = ?
           AND direction = 'receive' ORDER BY key DESC LIMIT ${MOST_RECEIVED}`,
        account,
        identity,
        name,
        size,
      )
      .map((row) => this.#seen(rowOf(row)));
  }

  /**
   * The part of a row that was interrupted is that of another from now on, and the row is gone.
   *
   * @throws JetError: exit 2 `unknown-transfer`, exit 8 `transfer-busy`
   */
  inherit(from: number, to: number): void {
    this.#store.transaction(() => {
      const row = this.#row(from);
      if (row === undefined) throw unknown('the transfer');
      if (row.state !== 'interrupted') throw busy(row.id);
      this.#store.run(
        `UPDATE transfer SET (${INHERITED}) = (SELECT ${INHERITED} FROM transfer WHERE key = ?) WHERE key = ?`,
        from,
        to,
      );
      this.#remove(from);
    });
  }

  /**
   * The number of a new attempt to resume, above every one before, whoever asks at the same moment.
   *
   * @throws JetError (exit 2) `unknown-transfer`
   */
  nextAttempt(key: number): number {
    const sql = `UPDATE transfer SET attempt = attempt + 1 WHERE key = ? AND attempt < ${MAX_ATTEMPT}
                 RETURNING attempt`;
    const attempt = this.#store.get(sql, key)?.['attempt'];
    if (typeof attempt !== 'number') throw unknown('the transfer');
    return attempt;
  }

  /**
   * Takes the number of the peer's attempt; false unless it is above every one of its before. One of ours
   * that never reached the peer does not count: it could not know of it.
   */
  acceptAttempt(key: number, attempt: number): boolean {
    if (!Number.isSafeInteger(attempt) || attempt < 1 || attempt > MAX_ATTEMPT) return false;
    const sql = `UPDATE transfer SET seen = ?, attempt = max(attempt, ?) WHERE key = ? AND seen < ?`;
    return this.#store.run(sql, attempt, attempt, key, attempt) === 1;
  }

  /**
   * Removes a row. Its part, if it has one, is the caller's to remove.
   *
   * @throws JetError: exit 2 `unknown-transfer`, exit 8 `transfer-busy`
   */
  forget(key: number): TransferRow {
    return this.#store.transaction(() => {
      const row = this.#row(key);
      if (row === undefined) throw unknown('the transfer');
      if (row.state === 'open') throw busy(row.id);
      this.#remove(key);
      return row;
    });
  }

  /** Removes what is in one of the states since before `before` (ms since 1970); gives what went. */
  clean(states: readonly Exclude<TransferState, 'open'>[], before = Infinity): TransferRow[] {
    return this.#store.transaction(() => {
      const rows = this.list({ states }).filter(
        ({ ended, updated }) => (ended ?? updated) < before,
      );
      for (const { key } of rows) this.#remove(key);
      return rows;
    });
  }

  #remove(key: number): void {
    this.#store.run('DELETE FROM transfer WHERE key = ?', key);
    this.#store.run('DELETE FROM landed_folder WHERE transfer = ?', key);
    dropLock(this.#store, lockName(key));
  }

  /** Inside a transaction. */
  #write(key: number): JournalWriter {
    const lock = acquire(this.#store, this.#clock, lockName(key));
    if (lock === undefined) throw busy(this.#row(key)?.id ?? '');
    try {
      this.#store.run(
        `UPDATE transfer SET fence = ?, updated = ?, state = 'open',
           exit = NULL, status = NULL, error = NULL, ended = NULL WHERE key = ?`,
        lock.fence,
        this.#clock.now(),
        key,
      );
    } catch (error) {
      lock.release();
      throw error;
    }
    return new JournalWriter(this.#store, this.#clock, key, lock);
  }

  #row(key: number): TransferRow | undefined {
    const row = this.#store.get('SELECT * FROM transfer WHERE key = ?', key);
    return row && this.#seen(rowOf(row));
  }

  /**
   * What nobody writes any more was interrupted, whether or not its writer could still say so, and has expired
   * when nobody has gone on with it for long.
   */
  #seen(row: TransferRow): TransferRow {
    if (row.state === 'open') {
      if (isHeld(this.#store, this.#clock, lockName(row.key))) return row;
    } else if (row.state !== 'interrupted' && row.state !== 'cancelled') return row;
    if (this.#clock.now() - row.updated >= LASTS_MS) return { ...row, state: 'expired' };
    return row.state === 'open' ? { ...row, state: 'interrupted' } : row;
  }
}

function lockName(key: number): string {
  return `transfer ${key}`;
}

function unknown(what: string): JetError {
  return new JetError(
    Exit.usage,
    'unknown-transfer',
    `The journal knows nothing of ${what}. See jet transfers for what it knows.`,
  );
}

/**
 * Nobody goes on with what has ended for good, or lay for too long.
 *
 * @param word - by which the user is told of it
 * @throws JetError (exit 2) `transfer-over`, `transfer-expired`
 */
export function checkNotOver({ id, state, updated }: TransferRow, word: string): void {
  if (state === 'done' || state === 'declined')
    throw new JetError(
      Exit.usage,
      'transfer-over',
      `Transfer ${word} is ${state}; there is nothing to resume. Send or fetch it again.`,
    );
  if (state !== 'expired') return;
  const day = new Date(updated).toISOString().slice(0, 10);
  throw new JetError(
    Exit.usage,
    'transfer-expired',
    `Nobody has gone on with transfer ${id.slice(0, 8)} since ${day}, and it has expired. Send or fetch it again.`,
  );
}

function busy(id: string): JetError {
  return new JetError(
    Exit.localFile,
    'transfer-busy',
    `Transfer ${id} is under way already. Let it end, or end the jet process that runs it.`,
  );
}
