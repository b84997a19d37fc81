/** What `jet share` serves: files by hash and by name, with a cache of hashes in the store. */
import { stat } from 'node:fs/promises';
import type { Clock } from '../core/clock.ts';
import { asError, JetError } from '../core/errors.ts';
import type { Hasher } from '../files/hashing.ts';
import { sameSource, type SourceIdentity, sourceIdentity } from '../files/identity.ts';
import { FileSource } from '../files/source.ts';
import type { Algorithm, Hash } from '../jingle/hashes.ts';
import type { Row, Schema, Store } from '../store/store.ts';

/** Hashes of files by what the files are; of any file that was ever shared. */
export const catalogueSchema: Schema = {
  name: 'catalogue',
  steps: [
    // Numbers of devices and files, and times in ns, are decimal text: they exceed 2^53.
    `CREATE TABLE file_hash (
       dev TEXT NOT NULL,
       ino TEXT NOT NULL,
       size INTEGER NOT NULL,
       mtime TEXT NOT NULL,
       ctime TEXT NOT NULL,
       sha1 BLOB NOT NULL,
       sha256 BLOB NOT NULL,
       sha512 BLOB NOT NULL,
       used INTEGER NOT NULL,
       PRIMARY KEY (dev, ino)) WITHOUT ROWID`,
    'CREATE INDEX file_hash_used ON file_hash (used)',
  ],
};

/** What a file can be asked for by. */
export const SELECTING = ['sha-256', 'sha-512', 'sha-1'] as const satisfies readonly Algorithm[];

/** A file that is shared. */
export interface CatalogueEntry {
  readonly path: string;
  /** As others see it: a relative path with `/`. */
  readonly name: string;
  readonly identity: SourceIdentity;
  readonly hashes: readonly Hash[];
}

/** A file to share. */
export interface Shared {
  readonly path: string;
  readonly name: string;
}

/** How files are added. */
export interface AddOptions {
  readonly signal?: AbortSignal;
  /** Bytes that are hashed so far; what the cache knew is not counted. */
  readonly onProgress?: (bytes: number) => void;
  /** A file that cannot be shared, and why; the others are. */
  readonly refused: (path: string, error: Error) => void;
}

/** Files whose hashes go into the store at once, and that are looked at between two turns of the loop. */
const BATCH = 1000;
/** Files that are hashed at once; more only wait in the hasher. */
const PARALLEL = 4;
/** A file that changed so recently may change again without another time: it is not cached. */
const FRESH_NS = 2_000_000_000n;
/** Cached hashes that nobody used for so long are dropped. */
const DAY_MS = 24 * 3600 * 1000;
const KEEP_MS = 180 * DAY_MS;

/** Shared files of this process. */
export class Catalogue {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #hasher: Hasher;
  readonly #byPath = new Map<string, CatalogueEntry>();
  readonly #byHash: Index = new Map();
  readonly #byName: Index = new Map();

  /** @param store - with `catalogueSchema` */
  constructor(store: Store, clock: Clock, hasher: Hasher) {
    this.#store = store;
    this.#clock = clock;
    this.#hasher = hasher;
  }

  get size(): number {
    return this.#byPath.size;
  }

  /** All entries, in the order in which they were added. */
  entries(): IterableIterator<CatalogueEntry> {
    return this.#byPath.values();
  }

  /**
   * Adds files; those whose hashes are cached are not read. A path that is there is looked at again.
   *
   * @throws the signal's reason; what was hashed by then is cached
   */
  async add(files: Iterable<Shared> | AsyncIterable<Shared>, options: AddOptions): Promise<void> {
    let batch: Shared[] = [];
    let done = 0;
    const flush = async () => {
      done = await this.#addBatch(batch, options, done);
      batch = [];
    };
    for await (const file of files) {
      if (batch.push(file) === BATCH) await flush();
    }
    await flush();
    const oldest = this.#clock.now() - KEEP_MS;
    this.#store.run('DELETE FROM file_hash WHERE used < ?', oldest);
  }

  /** The file of a hash. Of several with the same content the one that was added first. */
  find({ algorithm, digest }: Hash): CatalogueEntry | undefined {
    const there = this.#byHash.get(hashKey(algorithm, digest));
    return there instanceof Set ? there.values().next().value : there;
  }

  /** The files of a name, exactly as it was given. */
  named(name: string): CatalogueEntry[] {
    return entriesOf(this.#byName.get(name));
  }

  /** Shares a file no longer. */
  remove(path: string): void {
    const entry = this.#byPath.get(path);
    if (entry === undefined) return;
    this.#byPath.delete(path);
    for (const { algorithm, digest } of entry.hashes)
      drop(this.#byHash, hashKey(algorithm, digest), entry);
    drop(this.#byName, entry.name, entry);
  }

  /**
   * Opens a file as it was hashed.
   *
   * @throws JetError (exit 8) as `FileSource.open`; when the file changed, `source-changed`, and the
   * entry is gone until it is added again
   */
  async open(entry: CatalogueEntry): Promise<FileSource> {
    try {
      return await FileSource.open(entry.path, entry.identity);
    } catch (error) {
      if (error instanceof JetError) this.remove(entry.path);
      throw error;
    }
  }

  async #addBatch(batch: readonly Shared[], options: AddOptions, before: number): Promise<number> {
    const { signal, onProgress, refused } = options;
    signal?.throwIfAborted();
    // What cannot be looked at is opened: that says what is wrong with it.
    const looks = batch.map(({ path }) => stat(path, { bigint: true }).catch(() => undefined));
    const unknown: Shared[] = [];
    const used: SourceIdentity[] = [];
    for (const [i, stats] of (await Promise.all(looks)).entries()) {
      const file = batch[i];
      if (file === undefined) continue;
      const identity = stats && sourceIdentity(stats);
      const row = identity && this.#cached(identity);
      if (identity === undefined || row === undefined) unknown.push(file);
      else {
        if (this.#clock.now() - Number(row['used']) > DAY_MS) used.push(identity);
        this.#put({ ...file, identity, hashes: hashesOf(row) });
      }
    }
    const bytes = new Map<Shared, number>();
    const fresh: CatalogueEntry[] = [];
    let sum = before;
    const work = async () => {
      for (let file = unknown.shift(); file !== undefined; file = unknown.shift()) {
        const shared = file;
        try {
          const entry = await this.#hash(shared, signal, (n) => {
            sum += n - (bytes.get(shared) ?? 0);
            bytes.set(shared, n);
            onProgress?.(sum);
          });
          fresh.push(entry);
          this.#put(entry);
        } catch (error) {
          signal?.throwIfAborted();
          refused(shared.path, asError(error));
        }
      }
    };
    try {
      const results = await Promise.allSettled(Array.from({ length: PARALLEL }, work));
      for (const result of results) if (result.status === 'rejected') throw asError(result.reason);
      signal?.throwIfAborted();
    } finally {
      this.#remember(fresh, used);
    }
    return sum;
  }

  async #hash(
    { path, name }: Shared,
    signal: AbortSignal | undefined,
    onProgress: (bytes: number) => void,
  ): Promise<CatalogueEntry> {
    const source = await FileSource.open(path);
    try {
      const { file, size, identity } = source;
      const region = { file, offset: 0, end: size, onProgress };
      const hashes = await this.#hasher.hash(
        signal === undefined ? region : { ...region, signal },
        SELECTING,
      );
      await source.check();
      return { path, name, identity, hashes };
    } finally {
      await source.close();
    }
  }

  #cached(identity: SourceIdentity): Row | undefined {
    const { dev, ino } = identity;
    const sql = 'SELECT * FROM file_hash WHERE dev = ? AND ino = ?';
    const row = this.#store.get(sql, String(dev), String(ino));
    return row !== undefined && sameSource(identityOf(row), identity) ? row : undefined;
  }

  /** One transaction: a sync to the disk for each of many small files would take longer than hashing. */
  #remember(fresh: readonly CatalogueEntry[], used: readonly SourceIdentity[]): void {
    const now = this.#clock.now();
    const settled = BigInt(now) * 1_000_000n - FRESH_NS;
    this.#store.transaction(() => {
      for (const { dev, ino } of used)
        this.#store.run(
          'UPDATE file_hash SET used = ? WHERE dev = ? AND ino = ?',
          now,
          String(dev),
          String(ino),
        );
      for (const { identity, hashes } of fresh) {
        const { dev, ino, size, mtimeNs, ctimeNs } = identity;
        if (ctimeNs > settled || mtimeNs > settled) continue;
        const digest = (name: Algorithm) =>
          hashes.find(({ algorithm }) => algorithm === name)?.digest ?? null;
        this.#store.run(
          `INSERT OR REPLACE INTO file_hash (dev, ino, size, mtime, ctime, sha1, sha256, sha512, used)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
          ...[String(dev), String(ino), Number(size), String(mtimeNs), String(ctimeNs)],
          ...[digest('sha-1'), digest('sha-256'), digest('sha-512'), now],
        );
      }
    });
  }

  #put(entry: CatalogueEntry): void {
    this.remove(entry.path);
    this.#byPath.set(entry.path, entry);
    for (const { algorithm, digest } of entry.hashes)
      index(this.#byHash, hashKey(algorithm, digest), entry);
    index(this.#byName, entry.name, entry);
  }
}

function identityOf(row: Row): SourceIdentity {
  const number = (column: string) => BigInt(String(row[column]));
  return {
    dev: number('dev'),
    ino: number('ino'),
    size: number('size'),
    mtimeNs: number('mtime'),
    ctimeNs: number('ctime'),
  };
}

function hashesOf(row: Row): Hash[] {
  return SELECTING.flatMap((algorithm) => {
    const digest = row[algorithm.replace('-', '')];
    return Buffer.isBuffer(digest) ? [{ algorithm, digest }] : [];
  });
}

function hashKey(algorithm: Algorithm, digest: Buffer): string {
  return `${algorithm} ${digest.toString('latin1')}`;
}

/** One entry stands alone: sets for each of many would take more memory than all the rest. */
type Index = Map<string, CatalogueEntry | Set<CatalogueEntry>>;

function index(map: Index, key: string, entry: CatalogueEntry): void {
  const there = map.get(key);
  if (there === undefined) map.set(key, entry);
  else if (there instanceof Set) there.add(entry);
  else map.set(key, new Set([there, entry]));
}

function drop(map: Index, key: string, entry: CatalogueEntry): void {
  const there = map.get(key);
  if (there instanceof Set) there.delete(entry);
  if (there === entry || (there instanceof Set && there.size === 0)) map.delete(key);
}

function entriesOf(there: CatalogueEntry | Set<CatalogueEntry> | undefined): CatalogueEntry[] {
  if (there === undefined) return [];
  return there instanceof Set ? [...there] : [there];
}
