/** The one writer of a row of the journal. */
import { dirname, resolve } from 'node:path';
import type { Clock } from '../../core/clock.ts';
import { Exit, type ExitStatus, JetError, systemCode } from '../../core/errors.ts';
import { decodeSource } from '../../files/identity.ts';
import type { Known } from '../../files/landed-files.ts';
import type { Checkpoint } from '../../files/landing.ts';
import type { Lock } from '../../store/locks.ts';
import { thisBoot } from '../../store/owner.ts';
import type { Store, Value } from '../../store/store.ts';
import {
  ALL_DURABLE,
  columnsOf,
  MOST_RECEIVED,
  pathsIn,
  partColumn,
  rowOf,
  type TransferDetails,
  type TransferRow,
  type EndState,
} from './journal-row.ts';
import type { Extent } from '../sealed.ts';

/** Proven bytes are never more than those that are written. */
const VERIFIED = 'verified = min(verified, ?)';

/** How a transfer ended. */
export interface TransferEnd {
  readonly state: EndState;
  readonly exit: ExitStatus;
  /** A word of the events: `verified`, `delivered` … */
  readonly status: string;
  readonly error?: string;
  /** How far the part got that is kept; undefined leaves what the row says. */
  readonly kept?: Checkpoint;
}

/**
 * Writes a row until it ends or another writer takes over; from then on every call throws JetError
 * (exit 8) `transfer-taken`, and nothing of it is in the journal.
 */
export class JournalWriter {
  readonly key: number;
  /** Larger than that of every earlier writer of this row. */
  readonly fence: number;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #lock: Lock;
  #released = false;

  /** @param lock - of this row; its fence is in the row */
  constructor(store: Store, clock: Clock, key: number, lock: Lock) {
    this.#store = store;
    this.#clock = clock;
    this.key = key;
    this.fence = lock.fence;
    this.#lock = lock;
  }

  /** The row as it is now. */
  row(): TransferRow {
    const sql = 'SELECT * FROM transfer WHERE key = ? AND fence = ?';
    const row = this.#released ? undefined : this.#store.get(sql, this.key, this.fence);
    if (row === undefined) throw taken();
    return rowOf(row);
  }

  /** Notes what has become known. */
  note(details: Partial<TransferDetails>): void {
    this.#update(columnsOf(details));
  }

  /**
   * The transfer id that both sides now know takes the place of the random one.
   *
   * @param id - 32 to 128 lower-case hex digits
   * @throws JetError (exit 6) `transfer-id-used` when this identity key has used the id before
   */
  adopt(id: string, peer: { readonly identity: string; readonly device: number }): void {
    if (!/^[0-9a-f]{32,128}$/.test(id)) throw new RangeError('no transfer id');
    try {
      this.#update({ id, adopted: 1, identity: peer.identity, device: peer.device });
    } catch (error) {
      if (systemCode(error) !== 'SQLITE_CONSTRAINT_UNIQUE') throw error;
      throw new JetError(
        Exit.security,
        'transfer-id-used',
        'The other side used the id of an earlier transfer again. Try again, and update both sides if it stays so.',
        { cause: error },
      );
    }
  }

  /** How far it is. Costs no wait for the disk: a power cut may set it back to what was noted before. */
  progress(written: number, verified = 0): void {
    this.#store.lightly(() => this.#update({ written, verified }));
  }

  /** All up to here is written and proven, if all up to `from` was. */
  prove(from: number, to: number): void {
    const { written, verified } = this.row();
    if (verified < from || verified >= to) return;
    this.#update({ written: Math.max(written, to), verified: to, ...ALL_DURABLE });
  }

  /** A checkpoint, and what of it is proven, in one step. */
  keep(kept: Checkpoint, proven: Extent | undefined): void {
    this.#store.transaction(() => {
      this.checkpoint(kept);
      if (proven !== undefined) this.prove(proven.offset, proven.offset + proven.length);
    });
  }

  /** As `checkpoint`, of a part whose row says that it is being written: as `progress`, it may be set back. */
  advance(checkpoint: Checkpoint): void {
    this.#store.lightly(() => this.checkpoint(checkpoint));
  }

  /**
   * How far the part is in this run of the system. In the next one only what was durable before it counts. As
   * `progress`, it may be set back.
   */
  reach({ written, identity }: Checkpoint): void {
    const before = (column: string, now: string) =>
      `${column} = CASE WHEN boot IS NULL THEN ${now} ELSE ${column} END`;
    const also = [before('durable', 'written'), before('durable_identity', 'part_identity')];
    const columns = { written, part_identity: partColumn(identity), boot: thisBoot() };
    this.#store.lightly(() => this.#update(columns, also.concat(VERIFIED), [written]));
  }

  /**
   * How far the part is written, durably, and what it is known by; proven bytes are never more than that.
   *
   * @remarks Also before the first write to a part that is gone on with: what the row says of its
   * times is wrong from then on.
   */
  checkpoint({ written, identity }: Checkpoint): void {
    const columns = { written, part_identity: partColumn(identity), ...ALL_DURABLE };
    this.#update(columns, [VERIFIED], [written]);
  }

  /** What the row's identity key has landed of a folder, in this transfer or an earlier one. */
  landedFiles(folder: string): Buffer | undefined {
    const { account, identity } = this.row();
    const sql = 'SELECT files FROM landed_folder WHERE account = ? AND identity = ? AND folder = ?';
    const files = this.#store.get(sql, account, identity ?? null, folder)?.['files'];
    return Buffer.isBuffer(files) ? files : undefined;
  }

  /** Whether the row's identity key has landed a file in a folder, other than as part of something. */
  hasLandedAlone(out: string): boolean {
    const { account, identity } = this.row();
    const folder = pathsIn(out);
    const sql = `SELECT key FROM transfer WHERE account = ? AND identity = ? AND path >= ? AND path < ?
        AND direction = 'receive' AND state = 'done' AND file IS NOT NULL AND key <> ? LIMIT 1`;
    // The character behind the slash: every path in the folder is below it.
    const end = `${folder.slice(0, -1)}0`;
    return this.#store.get(sql, account, identity ?? null, folder, end, this.key) !== undefined;
  }

  /** Where files of a name and size lie that the row's identity key has landed in a folder, the newest first. */
  landedAlone(out: string, name: string, size: number): Known[] {
    const { account, identity } = this.row();
    const sql = `SELECT path, file FROM transfer WHERE account = ? AND identity = ? AND name = ? AND size = ?
        AND direction = 'receive' AND state = 'done' ORDER BY key DESC LIMIT ${MOST_RECEIVED}`;
    return this.#store.all(sql, account, identity ?? null, name, size).flatMap((row) => {
      const { path, file } = row;
      const known = typeof file === 'string' ? decodeSource(file) : undefined;
      if (typeof path !== 'string' || known === undefined) return [];
      return dirname(resolve(path)) === resolve(out) ? [{ place: path, file: known }] : [];
    });
  }

  /** Remembers what of a folder has landed, in place of what was; as long as the row is there. */
  rememberLanded(folder: string, files: Buffer): void {
    this.#store.transaction(() => {
      const { account, identity } = this.row();
      if (identity === undefined) return;
      this.#store.run(
        'INSERT OR REPLACE INTO landed_folder (account, identity, folder, transfer, files) VALUES (?, ?, ?, ?, ?)',
        ...[account, identity, folder, this.key, files],
      );
    });
  }

  /** All of it is proven and in its place, or what can be, before the other side can have heard of that. */
  land(
    where: Pick<TransferDetails, 'path'> & Partial<Pick<TransferDetails, 'file'>>,
    { exit, status }: Pick<TransferEnd, 'exit' | 'status'>,
  ): void {
    const size = this.row().size ?? 0;
    const ended = { state: 'done', exit, status, ended: this.#clock.now() };
    this.#update({ ...columnsOf(where), written: size, verified: size, ...ALL_DURABLE, ...ended });
  }

  /** Nothing of the part is of use: from zero, and nothing is known of a part until the next checkpoint. */
  restart(): void {
    const nothing = { written: 0, verified: 0, part: null, part_identity: null, doubt: null };
    this.#update({ ...nothing, ...ALL_DURABLE });
  }

  /**
   * Writes the end, in one step, and gives the row up.
   *
   * @param last - writes what else is known by then, in the same step
   */
  end({ state, exit, status, error, kept }: TransferEnd, last?: () => void): void {
    const ended = this.#clock.now();
    try {
      this.#store.transaction(() => {
        last?.();
        if (kept !== undefined) this.checkpoint(kept);
        this.#update({ state, exit, status, error: error ?? null, ended });
      });
    } finally {
      this.release();
    }
  }

  /** Gives the row up without an end: others see it as interrupted. Twice is once. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#lock.release();
  }

  /** @param also - further assignments, with their values: they see the row as it was */
  #update(
    columns: Record<string, Value>,
    also: readonly string[] = [],
    theirs: readonly Value[] = [],
  ): void {
    const all = { ...columns, updated: this.#clock.now() };
    const set = [...Object.keys(all).map((column) => `${column} = ?`), ...also];
    const sql = `UPDATE transfer SET ${set.join(', ')} WHERE key = ? AND fence = ?`;
    const values = [...Object.values(all), ...theirs, this.key, this.fence];
    if (this.#released || this.#store.run(sql, ...values) !== 1) throw taken();
  }
}

function taken(): JetError {
  return new JetError(
    Exit.localFile,
    'transfer-taken',
    'Another session goes on with this transfer, or it was forgotten. See jet transfers.',
  );
}
