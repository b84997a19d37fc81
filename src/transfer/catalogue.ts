/** What `jet share` serves: files by hash and by name, with a cache of hashes in the store. */
import { statSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../core/clock.ts';
import { asError, JetError } from '../core/errors.ts';
import type { Hasher } from '../files/hashing.ts';
import { type SourceIdentity, sourceIdentity } from '../files/identity.ts';
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

/**
 * What is known of files of one device, each asked for as `stateOf` writes it and found by its key. All in one
 * row: one for each would take several times as long. The digests stand in the order of the places, byte for byte;
 * only as text does SQLite put any number of them together.
 */
const KNOWN = `
  SELECT group_concat(asked.key) AS places, min(used) AS used, CAST(group_concat(
    CAST(sha256 AS TEXT) || CAST(sha512 AS TEXT) || CAST(sha1 AS TEXT), '') AS BLOB) AS digests
  FROM json_each(?) AS asked CROSS JOIN file_hash
  ON dev = ? AND ino = substr(asked.value, 1, instr(asked.value, ' ') - 1)
    AND ino || ' ' || size || ' ' || mtime || ' ' || ctime = asked.value`;

/** What a file can be asked for by. */
export const SELECTING = ['sha-256', 'sha-512', 'sha-1'] as const satisfies readonly Algorithm[];

/** A file that is shared. */
export interface CatalogueEntry {
  readonly path: string;
  /** As others see it: a relative path with `/`. */
  readonly name: string;
  readonly identity: SourceIdentity;
  /** Its digest by one of SELECTING. */
  digest(wanted: Selecting): Buffer;
}

type Selecting = (typeof SELECTING)[number];

/** A file to share. */
export interface Shared {
  readonly path: string;
  readonly name: string;
  /** As it was seen a moment ago; where it is not given it is looked up. */
  readonly identity?: SourceIdentity;
}

/** Where each digest lies behind the others, and how many bytes it has. */
const PLACES = {
  'sha-256': { start: 0, length: 32 },
  'sha-512': { start: 32, length: 64 },
  'sha-1': { start: 96, length: 20 },
} as const;

/** Bytes of all digests of a file. */
const DIGESTS = 116;

/** Numbers of an identity. */
const NUMBERS = 5;

/** What is known of some files, one behind the other: objects for each would take several times the memory and time. */
class Facts {
  readonly #digests: Buffer;
  readonly #numbers: BigInt64Array;

  /** @param digests - of as many files as there are, as PLACES has them */
  constructor(digests: Buffer) {
    this.#digests = digests;
    this.#numbers = new BigInt64Array((digests.length / DIGESTS) * NUMBERS);
  }

  set(at: number, { dev, ino, size, mtimeNs, ctimeNs }: SourceIdentity): void {
    const numbers = this.#numbers;
    const first = at * NUMBERS;
    numbers[first] = dev;
    numbers[first + 1] = ino;
    numbers[first + 2] = size;
    numbers[first + 3] = mtimeNs;
    numbers[first + 4] = ctimeNs;
  }

  identity(at: number): SourceIdentity {
    const number = (n: number) => this.#numbers[at * NUMBERS + n] ?? 0n;
    const [dev, ino] = [BigInt.asUintN(64, number(0)), BigInt.asUintN(64, number(1))];
    return { dev, ino, size: number(2), mtimeNs: number(3), ctimeNs: number(4) };
  }

  digest(at: number, wanted: Selecting): Buffer {
    const { start, length } = PLACES[wanted];
    return this.#digests.subarray(at * DIGESTS + start, at * DIGESTS + start + length);
  }
}

class Entry implements CatalogueEntry {
  readonly path: string;
  readonly name: string;
  readonly #facts: Facts;
  readonly #at: number;

  constructor({ path, name }: Shared, facts: Facts, at: number) {
    this.path = path;
    this.name = name;
    this.#facts = facts;
    this.#at = at;
  }

  get identity(): SourceIdentity {
    return this.#facts.identity(this.#at);
  }

  digest(wanted: Selecting): Buffer {
    return this.#facts.digest(this.#at, wanted);
  }
}

/** A file with what it was seen to be, and its entry where that is cached. */
interface Looked {
  readonly file: Shared;
  readonly identity: SourceIdentity | undefined;
  entry?: Entry;
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
  /** By the digests of an algorithm, from when one is first asked for. */
  readonly #byHash = new Map<Selecting, Index>();
  /** From when a name is first asked for. */
  #byName: Index | undefined;

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
   * Adds files, some at once; those whose hashes are cached are not read. A path that is there is looked at again.
   *
   * @throws the signal's reason; what was hashed by then is cached
   */
  async add(
    files: Iterable<readonly Shared[]> | AsyncIterable<readonly Shared[]>,
    options: AddOptions,
  ): Promise<void> {
    let batch: Shared[] = [];
    let done = 0;
    const flush = async () => {
      done = await this.#addBatch(batch, options, done);
      batch = [];
    };
    for await (const some of files) {
      for (const file of some) batch.push(file);
      if (batch.length >= BATCH) await flush();
    }
    await flush();
    const oldest = this.#clock.now() - KEEP_MS;
    this.#store.run('DELETE FROM file_hash WHERE used < ?', oldest);
  }

  /** The file of a hash. Of several with the same content the one that was added first. */
  find({ algorithm, digest }: Hash): CatalogueEntry | undefined {
    const there = this.#indexOf(algorithm)?.get(hashKey(digest));
    return there instanceof Set ? there.values().next().value : there;
  }

  /** The files of a name, exactly as it was given. */
  named(name: string): CatalogueEntry[] {
    this.#byName ??= this.#indexed(({ name }) => name);
    return entriesOf(this.#byName.get(name));
  }

  /** Shares a file no longer. */
  remove(path: string): void {
    const entry = this.#byPath.get(path);
    if (entry === undefined) return;
    this.#byPath.delete(path);
    for (const [algorithm, digests] of this.#byHash)
      drop(digests, hashKey(entry.digest(algorithm)), entry);
    if (this.#byName !== undefined) drop(this.#byName, entry.name, entry);
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
    await setImmediate();
    const looked: Looked[] = batch.map((file) => ({
      file,
      identity: file.identity ?? look(file.path),
    }));
    const used = this.#lookUp(looked);
    const unknown: Shared[] = [];
    for (const { file, entry } of looked)
      if (entry === undefined) unknown.push(file);
      else this.#put(entry);
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
    shared: Shared,
    signal: AbortSignal | undefined,
    onProgress: (bytes: number) => void,
  ): Promise<CatalogueEntry> {
    const source = await FileSource.open(shared.path);
    try {
      const { file, size, identity } = source;
      const region = { file, offset: 0, end: size, onProgress };
      const hashes = await this.#hasher.hash(
        signal === undefined ? region : { ...region, signal },
        SELECTING,
      );
      await source.check();
      const facts = new Facts(Buffer.concat(hashes.map(({ digest }) => digest)));
      facts.set(0, identity);
      return new Entry(shared, facts, 0);
    } finally {
      await source.close();
    }
  }

  /**
   * Finds what is known of files that are still what they were; one question for all of a device.
   *
   * @returns those whose rows have to be marked as used
   */
  #lookUp(files: readonly Looked[]): readonly Entry[] {
    const used: Entry[] = [];
    const devices = new Map<bigint, Looked[]>();
    for (const looked of files) {
      const { identity } = looked;
      if (identity === undefined) continue;
      const asked = devices.get(identity.dev);
      if (asked === undefined) devices.set(identity.dev, [looked]);
      else asked.push(looked);
    }
    const now = this.#clock.now();
    for (const [dev, asked] of devices) {
      const states = asked.map(({ identity }) => (identity ? stateOf(identity) : ''));
      const row = this.#store.get(KNOWN, JSON.stringify(states), String(dev));
      const { places, digests } = readKnown(row);
      const facts = new Facts(digests);
      for (const [i, place] of places.entries()) {
        const looked = asked[place];
        if (looked?.identity === undefined) continue;
        const { file, identity } = looked;
        facts.set(i, identity);
        looked.entry = new Entry(file, facts, i);
        if (now - Number(row?.['used']) > DAY_MS) used.push(looked.entry);
      }
    }
    return used;
  }

  /** One transaction: a sync to the disk for each of many small files would take longer than hashing. */
  #remember(fresh: readonly CatalogueEntry[], used: readonly CatalogueEntry[]): void {
    if (fresh.length === 0 && used.length === 0) return;
    const now = this.#clock.now();
    const settled = BigInt(now) * 1_000_000n - FRESH_NS;
    this.#store.transaction(() => {
      for (const { identity } of used) {
        const sql = 'UPDATE file_hash SET used = ? WHERE dev = ? AND ino = ?';
        this.#store.run(sql, now, String(identity.dev), String(identity.ino));
      }
      for (const entry of fresh) {
        const { dev, ino, size, mtimeNs, ctimeNs } = entry.identity;
        if (ctimeNs > settled || mtimeNs > settled) continue;
        this.#store.run(
          `INSERT OR REPLACE INTO file_hash (dev, ino, size, mtime, ctime, sha1, sha256, sha512, used)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
          ...[String(dev), String(ino), Number(size), String(mtimeNs), String(ctimeNs)],
          ...[entry.digest('sha-1'), entry.digest('sha-256'), entry.digest('sha-512'), now],
        );
      }
    });
  }

  #put(entry: CatalogueEntry): void {
    if (this.#byPath.has(entry.path)) this.remove(entry.path);
    this.#byPath.set(entry.path, entry);
    for (const [algorithm, digests] of this.#byHash)
      index(digests, hashKey(entry.digest(algorithm)), entry);
    if (this.#byName !== undefined) index(this.#byName, entry.name, entry);
  }

  #indexOf(algorithm: Algorithm): Index | undefined {
    const selecting = SELECTING.find((one) => one === algorithm);
    if (selecting === undefined) return undefined;
    const known = this.#byHash.get(selecting);
    if (known !== undefined) return known;
    const made = this.#indexed((entry) => hashKey(entry.digest(selecting)));
    this.#byHash.set(selecting, made);
    return made;
  }

  #indexed(keyOf: (entry: CatalogueEntry) => string): Index {
    const made: Index = new Map();
    for (const entry of this.#byPath.values()) index(made, keyOf(entry), entry);
    return made;
  }
}

/** What it is, if it can be looked at; opening it says why not. */
function look(path: string): SourceIdentity | undefined {
  try {
    return sourceIdentity(statSync(path, { bigint: true }));
  } catch {
    return undefined;
  }
}

/** All that a row has to agree with, its number first. */
function stateOf({ ino, size, mtimeNs, ctimeNs }: SourceIdentity): string {
  return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
}

/** @returns places in what was asked for, and as many digests one behind the other */
function readKnown(row: Row | undefined): { places: number[]; digests: Buffer } {
  const places = row?.['places'];
  if (typeof places !== 'string') return { places: [], digests: Buffer.alloc(0) };
  const known = places.split(',').map(Number);
  const digests = row?.['digests'];
  if (!Buffer.isBuffer(digests) || digests.length !== known.length * DIGESTS)
    throw new Error('a cached file without its hashes');
  return { places: known, digests };
}

function hashKey(digest: Buffer): string {
  return digest.toString('latin1');
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
