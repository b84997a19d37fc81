/** One row of the journal: what is remembered of one file's transfer. */
import { join, resolve } from 'node:path';
import type { ExitStatus } from '../../core/errors.ts';
import {
  decodePart,
  decodeSource,
  encodePart,
  encodeSource,
  type PartIdentity,
  type SourceIdentity,
} from '../../files/identity.ts';
import { thisBoot } from '../../store/owner.ts';
import type { Row, Schema, Value } from '../../store/store.ts';
import { decodeDoubt, encodeDoubt, type Doubt } from './doubt.ts';

/** The journal's table. `key` is never used twice; `id` is what people and peers see. */
export const journalSchema: Schema = {
  name: 'journal',
  steps: [
    `CREATE TABLE transfer (
       key INTEGER PRIMARY KEY AUTOINCREMENT,
       id TEXT NOT NULL,
       adopted INTEGER NOT NULL DEFAULT 0,
       account TEXT NOT NULL,
       direction TEXT NOT NULL CHECK (direction IN ('send', 'receive')),
       peer TEXT NOT NULL,
       identity TEXT,
       device INTEGER,
       jet INTEGER NOT NULL,
       name TEXT NOT NULL,
       size INTEGER CHECK (size >= 0),
       sha256 TEXT,
       path TEXT,
       file TEXT,
       part TEXT,
       part_identity TEXT,
       options TEXT NOT NULL,
       written INTEGER NOT NULL DEFAULT 0,
       verified INTEGER NOT NULL DEFAULT 0,
       attempt INTEGER NOT NULL DEFAULT 0,
       state TEXT NOT NULL DEFAULT 'open'
         CHECK (state IN ('open', 'interrupted', 'cancelled', 'done', 'failed', 'declined')),
       exit INTEGER,
       status TEXT,
       error TEXT,
       created INTEGER NOT NULL,
       updated INTEGER NOT NULL,
       ended INTEGER,
       fence INTEGER NOT NULL,
       CHECK (verified BETWEEN 0 AND written))`,
    // A transfer id belongs to one identity key: nobody can take another's.
    `CREATE UNIQUE INDEX transfer_adopted ON transfer (account, identity, id) WHERE adopted = 1`,
    'CREATE INDEX transfer_id ON transfer (id)',
    'CREATE INDEX transfer_path ON transfer (account, identity, path)',
    'ALTER TABLE transfer ADD COLUMN doubt TEXT',
    'ALTER TABLE transfer ADD COLUMN seen INTEGER NOT NULL DEFAULT 0',
    'CREATE INDEX transfer_state ON transfer (account, state)',
    'CREATE INDEX transfer_name ON transfer (account, identity, name, size)',
    `CREATE TABLE landed_folder (
       account TEXT NOT NULL,
       identity TEXT NOT NULL,
       folder TEXT NOT NULL,
       transfer INTEGER NOT NULL,
       files BLOB NOT NULL,
       PRIMARY KEY (account, identity, folder)) WITHOUT ROWID`,
    'CREATE INDEX landed_folder_transfer ON landed_folder (transfer)',
    // Of a part in which more is written than is durable: in which run of the system, and what else counts.
    'ALTER TABLE transfer ADD COLUMN boot TEXT',
    'ALTER TABLE transfer ADD COLUMN durable INTEGER',
    'ALTER TABLE transfer ADD COLUMN durable_identity TEXT',
  ],
};

/** How a transfer ended, as it is stored. `interrupted` and `cancelled` may be gone on with, until they expire. */
export type EndState = 'interrupted' | 'cancelled' | 'done' | 'failed' | 'declined';

/** `open` is under way; `expired` lay for too long, and is gone on with by nobody any more. */
export type TransferState = 'open' | 'expired' | EndState;

/** Milliseconds that what was interrupted may be gone on with: 30 days. */
export const LASTS_MS = 30 * 86_400_000;

/** What all paths in a folder begin with. No path of anything ends so: what came into it beside folders is remembered by it. */
export function pathsIn(folder: string): string {
  return join(resolve(folder), '/');
}

/** Rows of one file that are looked at. */
export const MOST_RECEIVED = 100;

/** What the user asked for and a later process has to know to go on. No secret belongs here. */
export type TransferOptions = Readonly<Record<string, string | number | boolean>>;

/** What may become known, or change, while a transfer goes on. */
export interface TransferDetails {
  /** 64 lower-case hex digits of the peer device's identity key. */
  readonly identity: string | undefined;
  readonly device: number | undefined;
  /** The other side is a jet. */
  readonly jet: boolean;
  /** As the peer or the user named it. */
  readonly name: string;
  readonly size: number | undefined;
  /** SHA-256 of the whole file, 64 lower-case hex digits. */
  readonly sha256: string | undefined;
  /** The source, or the target: where it landed once it did. */
  readonly path: string | undefined;
  /** What the file at `path` is: the source that is read, or what has landed. */
  readonly file: SourceIdentity | undefined;
  readonly part: string | undefined;
  /** What is not right about the part. */
  readonly doubt: Doubt | undefined;
  readonly options: TransferOptions;
}

/** Who transfers with whom; never changes. */
export interface TransferParties {
  /** Bare JIDs. */
  readonly account: string;
  readonly peer: string;
  readonly direction: 'send' | 'receive';
}

/** A row as it is read. Times in ms since 1970. */
export interface TransferRow extends TransferParties, TransferDetails {
  readonly key: number;
  /** Hex digits: the transfer id, or a random one before there is one. */
  readonly id: string;
  /** True once `id` is the transfer id that both sides know. */
  readonly adopted: boolean;
  readonly partIdentity: PartIdentity | undefined;
  /** Bytes from the start that are in the part (receive), or that the other side took (send). */
  readonly written: number;
  /** Bytes from the start that are proven to be the file's. */
  readonly verified: number;
  /** Number of the last attempt to resume, of either side. */
  readonly attempt: number;
  readonly state: TransferState;
  readonly exit: ExitStatus | undefined;
  /** The last word of it, as in the events: `verified`, `delivered` … */
  readonly status: string | undefined;
  readonly error: string | undefined;
  readonly created: number;
  readonly updated: number;
  readonly ended: number | undefined;
}

/** Both sides know the transfer id, and what was sent can be read again. */
export function canGoOn({ adopted, direction, path }: TransferRow): boolean {
  return adopted && (direction === 'receive' || path !== undefined);
}

/** Columns and values of what is given, for an INSERT or an UPDATE. */
export function columnsOf(details: Partial<TransferDetails>): Record<string, Value> {
  const columns: Record<string, Value> = {};
  for (const [name, value] of Object.entries(details) as [string, unknown][]) {
    if (value === undefined) columns[name] = null;
    else if (name === 'file') columns[name] = encodeSource(value as SourceIdentity);
    else if (name === 'doubt') columns[name] = encodeDoubt(value as Doubt);
    else if (name === 'options') columns[name] = JSON.stringify(value);
    else columns[name] = typeof value === 'boolean' ? Number(value) : (value as Value);
  }
  return columns;
}

/** The column of a part's identity. */
export function partColumn(identity: PartIdentity | undefined): Value {
  return identity === undefined ? null : encodePart(identity);
}

/** Columns that say that all that is written is durable. */
export const ALL_DURABLE = { boot: null, durable: null, durable_identity: null } as const;

/** A row of the table as a value. */
export function rowOf(row: Row): TransferRow {
  const text = (column: string) => {
    const value = row[column];
    return typeof value === 'string' ? value : undefined;
  };
  const number = (column: string) => {
    const value = row[column];
    return typeof value === 'number' ? value : undefined;
  };
  const file = text('file');
  // What was not durable is perhaps gone when the system has been started anew.
  const lasts = [undefined, thisBoot()].includes(text('boot'));
  const partIdentity = text(lasts ? 'part_identity' : 'durable_identity');
  const written = number(lasts ? 'written' : 'durable') ?? 0;
  const doubt = text('doubt');
  return {
    key: number('key') ?? 0,
    id: text('id') ?? '',
    adopted: row['adopted'] === 1,
    account: text('account') ?? '',
    peer: text('peer') ?? '',
    direction: row['direction'] === 'send' ? 'send' : 'receive',
    identity: text('identity'),
    device: number('device'),
    jet: row['jet'] === 1,
    name: text('name') ?? '',
    size: number('size'),
    sha256: text('sha256'),
    path: text('path'),
    file: file === undefined ? undefined : decodeSource(file),
    part: text('part'),
    doubt: doubt === undefined ? undefined : decodeDoubt(doubt),
    partIdentity: partIdentity === undefined ? undefined : decodePart(partIdentity),
    options: JSON.parse(text('options') ?? '{}') as TransferOptions,
    written,
    verified: Math.min(written, number('verified') ?? 0),
    attempt: number('attempt') ?? 0,
    state: text('state') as TransferState,
    exit: number('exit') as ExitStatus | undefined,
    status: text('status'),
    error: text('error'),
    created: number('created') ?? 0,
    updated: number('updated') ?? 0,
    ended: number('ended'),
  };
}
