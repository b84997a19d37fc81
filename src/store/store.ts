/** One SQLite file an account home, shared by any number of processes. */
import { chmodSync, closeSync, openSync } from 'node:fs';
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
   */
  transaction<T>(body: () => T): T;
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

class SqliteStore implements Store {
  readonly file: string;
  readonly #db: Database.Database;
  readonly #statements = new Map<string, Database.Statement>();
  #depth = 0;

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
    return rows as Row[];
  }

  get(sql: string, ...params: Value[]): Row | undefined {
    return this.#prepare(sql).get(bind(params)) as Row | undefined;
  }

  run(sql: string, ...params: Value[]): number {
    return this.#prepare(sql).run(bind(params)).changes;
  }

  transaction<T>(body: () => T): T {
    if (this.#depth > 0) return body();
    this.#db.exec('BEGIN IMMEDIATE');
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
    if (this.#depth > 0) return body();
    this.#db.exec('PRAGMA synchronous = NORMAL');
    try {
      return body();
    } finally {
      this.#db.exec('PRAGMA synchronous = FULL');
    }
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
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
