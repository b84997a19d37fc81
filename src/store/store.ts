/** One SQLite file an account home, shared by any number of processes. */
import { chmodSync, closeSync, fdatasyncSync, openSync, realpathSync } from 'node:fs';
import Database from 'libsql';
import { Exit, JetError, messageOf, systemCode } from '../core/errors.ts';

/** A value that SQLite stores. Integers beyond 2^53 do not occur: sizes are bounded where they enter. */
export type Value = string | number | Uint8Array | null;

/** A row as it was read: blobs are Buffers. */
export type Row = Record<string, string | number | Buffer | null>;

/**
 * The tables of one folder of the source. Statements are run once each, in order; one that has been
 * released is never changed, only followed.
 */
export interface Schema {
  readonly name: string;
  readonly steps: readonly string[];
}

/** A store: synchronous, every call one statement. */
export interface Store {
  /** The path of the file. */
  readonly file: string;
  all(sql: string, ...params: Value[]): Row[];
  get(sql: string, ...params: Value[]): Row | undefined;
  /** Runs a statement that changes rows; returns how many it changed. */
  run(sql: string, ...params: Value[]): number;
  /**
   * Runs `body` in one write transaction (BEGIN IMMEDIATE), durable when it returns; rolled back when
   * it throws. `body` is synchronous. Inside another transaction it joins that one.
   *
   * @remarks Other processes see it a moment before it is durable. What they commit then lasts only with it: the log
   * is one sequence.
   * @throws what `body` does; the system's error when the disk fails, and it may be committed all the same
   */
  transaction<T>(body: () => T): T;
  /**
   * Runs `body`, which only reads, on one state of the store, and keeps nobody from writing. Inside a transaction it
   * joins that one.
   */
  snapshot<T>(body: () => T): T;
  /**
   * Runs `body` without waiting for the disk: what it commits outlives this process, but a power cut may undo
   * it, whole step by whole step from the last one on. Inside a transaction it is as durable as that.
   */
  lightly<T>(body: () => T): T;
  close(): void;
}

/** Milliseconds that a statement waits for another process's lock. */
const BUSY_MS = 30_000;

/**
 * Opens the store, creating it with mode 0600, and brings its tables up to date.
 *
 * @throws JetError (exit 8) when the file cannot be used or comes from a newer version.
 */
export function openStore(file: string, schemas: readonly Schema[]): Store {
  try {
    create(file);
    chmodSync(file, 0o600);
    const store = new SqliteStore(file, new Database(file, { timeout: BUSY_MS }));
    migrate(store, schemas, file);
    store.waitUnlocked();
    return store;
  } catch (error) {
    if (error instanceof JetError) throw error;
    throw new JetError(
      Exit.localFile,
      'store-unusable',
      `Cannot use the database ${file}: ${messageOf(error)}. Check its permissions and the free space.`,
      { cause: error },
    );
  }
}

/**
 * Makes the file where there is none, so that it is never, not even for a moment, readable by others.
 * One that is there is not opened: to close it would drop the locks that SQLite holds for another
 * connection of this process (POSIX), and other processes would take its log away under it.
 */
function create(file: string): void {
  try {
    closeSync(openSync(file, 'ax', 0o600));
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
}

/** What only reads, as far as the first word tells. */
const READS = /^\s*(?:SELECT|PRAGMA|WITH)\b/i;

class SqliteStore implements Store {
  readonly file: string;
  readonly #db: Database.Database;
  readonly #statements = new Map<string, Database.Statement>();
  #depth = 0;
  #light = false;
  /** Whether commits leave it to us to wait for the disk. */
  #unlocked = false;
  /** The log of SQLite, once there was something to wait for. */
  #log: number | undefined;

  constructor(file: string, db: Database.Database) {
    this.file = file;
    this.#db = db;
    // Readers and one writer at a time work side by side; a committed step survives a power cut.
    db.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
    db.exec('PRAGMA journal_mode = WAL');
    db.exec('PRAGMA synchronous = FULL');
    db.exec('PRAGMA foreign_keys = ON');
    db.exec('PRAGMA secure_delete = ON');
  }

  all(sql: string, ...params: Value[]): Row[] {
    const rows = this.#prepare(sql).all(bind(params)) as Record<
      string,
      Row[string] | ArrayBuffer
    >[];
    for (const row of rows) {
      // The library gives Buffers for one row, but ArrayBuffers for many.
      for (const [column, value] of Object.entries(row)) {
        if (value instanceof ArrayBuffer) row[column] = Buffer.from(value);
      }
    }
    if (!READS.test(sql)) this.#settle();
    return rows as Row[];
  }

  get(sql: string, ...params: Value[]): Row | undefined {
    const row = this.#prepare(sql).get(bind(params)) as Row | undefined;
    if (!READS.test(sql)) this.#settle();
    return row;
  }

  run(sql: string, ...params: Value[]): number {
    const { changes } = this.#prepare(sql).run(bind(params));
    if (changes > 0) this.#settle();
    return changes;
  }

  transaction<T>(body: () => T): T {
    if (this.#depth > 0) return body();
    const before = this.#changes();
    const result = this.#within('BEGIN IMMEDIATE', body);
    if (this.#changes() !== before) this.#settle();
    return result;
  }

  snapshot<T>(body: () => T): T {
    return this.#depth > 0 ? body() : this.#within('BEGIN', body);
  }

  #within<T>(begin: string, body: () => T): T {
    this.#db.exec(begin);
    this.#depth++;
    try {
      const result = body();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      // After some failures SQLite has rolled back by itself; what failed is what counts.
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
      throw error;
    } finally {
      this.#depth--;
    }
  }

  lightly<T>(body: () => T): T {
    if (this.#depth > 0 || this.#light) return body();
    this.#light = true;
    try {
      return body();
    } finally {
      this.#light = false;
    }
  }

  /**
   * From now on no commit waits for the disk while it keeps all others from writing; what is to last is waited for
   * behind it. It is the same log that SQLite would have synced, which stays in its place while this is open.
   */
  waitUnlocked(): void {
    if (this.get('PRAGMA journal_mode')?.['journal_mode'] !== 'wal') return;
    this.#db.exec('PRAGMA synchronous = NORMAL');
    this.#unlocked = true;
  }

  /** Waits until what was committed is on the disk. */
  #settle(): void {
    if (!this.#unlocked || this.#light || this.#depth > 0) return;
    // SQLite holds no lock by this file: to close it takes none away.
    this.#log ??= openSync(`${realpathSync(this.file)}-wal`, 'r+');
    fdatasyncSync(this.#log);
  }

  /** How many rows this connection has changed. */
  #changes(): number {
    return Number(this.get('SELECT total_changes() AS n')?.['n']);
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
    if (this.#log !== undefined) closeSync(this.#log);
    this.#log = undefined;
  }

  #prepare(sql: string): Database.Statement {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

// A single object argument would be taken for named parameters: always hand over one array.
function bind(params: readonly Value[]): (string | number | Buffer | null)[] {
  return params.map((p) =>
    p instanceof Uint8Array ? Buffer.from(p.buffer, p.byteOffset, p.byteLength) : p,
  );
}

function migrate(store: Store, schemas: readonly Schema[], file: string): void {
  store.run(
    'CREATE TABLE IF NOT EXISTS schema_version (name TEXT PRIMARY KEY, step INTEGER NOT NULL)',
  );
  const stepOf = (name: string): number => {
    const step = store.get('SELECT step FROM schema_version WHERE name = ?', name)?.['step'];
    return typeof step === 'number' ? step : 0;
  };
  for (const schema of schemas) {
    const seen = stepOf(schema.name);
    if (seen > schema.steps.length) {
      throw new JetError(
        Exit.localFile,
        'store-newer',
        `The database ${file} was written by a newer version of jet. Upgrade jet, or use another JET_HOME.`,
      );
    }
    if (seen === schema.steps.length) continue;
    store.transaction(() => {
      // Read again under the lock: another first run may have done it in between.
      for (const sql of schema.steps.slice(stepOf(schema.name))) store.run(sql);
      store.run(
        'INSERT INTO schema_version VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET step = excluded.step',
        schema.name,
        schema.steps.length,
      );
    });
  }
}
