/** XEP-0384 0.3 §4.1: our own device and its keys. */
import { randomInt } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import type { Row, Store, Value } from '../store/store.ts';
import {
  type Bundle,
  fingerprint,
  generateKeyPair,
  type KeyPair,
  LEGACY,
  signPreKey,
} from './crypto/index.ts';
import { MAX_DEVICE } from './names.ts';

/** How many one-time prekeys are published (XEP-0384 0.3 §4.4 asks for 100). */
const PREKEYS = 100;
const DAY = 86_400_000;
/** A signed prekey is replaced after this many ms, */
const ROTATE_MS = 7 * DAY;
/** and kept this long after its making, for key exchanges that were under way. */
const KEEP_MS = 37 * DAY;

/** Ids of prekeys that an older state passes over, since the lost time may have used them: at least, at most. */
const PASSED_OVER = [1000, 50_000] as const;

/** Signed prekeys that are kept no longer; never the newest. */
const OUTLIVED = 'FROM omemo_signed_prekey WHERE account = ? AND created < ? AND id <> ?';

/** Our device. */
export interface Device {
  /** In [1, 2^31 − 1]. */
  readonly id: number;
  readonly identity: KeyPair;
  /** 64 lower-case hex digits. */
  readonly fingerprint: string;
}

/** The keys of our device in the store. */
export class OwnDevice {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #account: string;

  /** @param account - bare JID, prepared */
  constructor(store: Store, clock: Clock, account: string) {
    this.#store = store;
    this.#clock = clock;
    this.#account = account;
  }

  /** Our device; undefined before it was made. */
  load(): Device | undefined {
    const row = this.#store.get('SELECT * FROM omemo_device WHERE account = ?', this.#account);
    if (!row) return undefined;
    const identity = pairOf(row, 'identity_priv', 'identity_pub');
    return { id: Number(row['id']), identity, fingerprint: fingerprint(identity.pub) };
  }

  /**
   * Makes our device unless there is one: one transaction, so that of many processes one makes it.
   *
   * @param taken - ids that the account's list holds already
   */
  make(taken: ReadonlySet<number>): { readonly device: Device; readonly made: boolean } {
    return this.#store.transaction(() => {
      const known = this.load();
      if (known) return { device: known, made: false };
      const identity = generateKeyPair();
      let id = randomInt(1, MAX_DEVICE);
      while (taken.has(id)) id = randomInt(1, MAX_DEVICE);
      this.#store.run(
        `INSERT INTO omemo_device (account, id, identity_priv, identity_pub, next_prekey, next_signed, stale, created)
         VALUES (?, ?, ?, ?, 1, 1, 1, ?)`,
        this.#account,
        id,
        identity.priv,
        identity.pub,
        this.#clock.now(),
      );
      this.maintain();
      return { device: { id, identity, fingerprint: fingerprint(identity.pub) }, made: true };
    });
  }

  /** Fills the one-time prekeys up and rotates the signed prekey when it is due. */
  maintain(): void {
    // Seldom is anything due, and nobody has to be kept from writing to see that.
    if (!this.#store.snapshot(() => this.#due())) return;
    this.#store.transaction(() => {
      const device = this.load();
      if (!device) return;
      if (this.#rotates()) this.#addSigned(device);
      this.#store.run(`DELETE ${OUTLIVED}`, ...this.#outlived());
      const missing = this.#missing();
      for (let i = 0; i < missing; i++) this.#addPreKey();
    });
  }

  #due(): boolean {
    if (this.#rotates() || this.#missing() > 0) return true;
    return this.#store.get(`SELECT 1 ${OUTLIVED}`, ...this.#outlived()) !== undefined;
  }

  #rotates(): boolean {
    const newest = this.#newestSigned();
    // A clock that was set back rotates as well, instead of never again.
    const age = newest ? this.#clock.now() - Number(newest['created']) : Infinity;
    return age >= ROTATE_MS || age < -DAY;
  }

  /** What OUTLIVED is asked with. */
  #outlived(): Value[] {
    return [this.#account, this.#clock.now() - KEEP_MS, Number(this.#newestSigned()?.['id'])];
  }

  #missing(): number {
    const sql = 'SELECT count(*) AS n FROM omemo_prekey WHERE account = ?';
    return PREKEYS - Number(this.#store.get(sql, this.#account)?.['n']);
  }

  /** The bundle to publish. @throws Error before the device was made */
  bundle(): Bundle {
    return this.#store.snapshot(() => {
      const device = this.load();
      const signed = this.#newestSigned();
      if (!device || !signed) throw new Error('no OMEMO device yet');
      const preKeys = this.#store.all(
        'SELECT id, pub FROM omemo_prekey WHERE account = ? ORDER BY id',
        this.#account,
      );
      return {
        identityKey: device.identity.pub,
        signedPreKeyId: Number(signed['id']),
        signedPreKey: blob(signed, 'pub'),
        signature: blob(signed, 'signature'),
        preKeys: preKeys.map((row) => ({ id: Number(row['id']), key: blob(row, 'pub') })),
      };
    });
  }

  /** A signed prekey that is still kept. */
  signedPreKey(id: number): KeyPair | undefined {
    const sql = 'SELECT * FROM omemo_signed_prekey WHERE account = ? AND id = ?';
    const row = this.#store.get(sql, this.#account, id);
    return row && pairOf(row, 'priv', 'pub');
  }

  /** A one-time prekey that was not used yet. */
  preKey(id: number): KeyPair | undefined {
    const sql = 'SELECT * FROM omemo_prekey WHERE account = ? AND id = ?';
    const row = this.#store.get(sql, this.#account, id);
    return row && pairOf(row, 'priv', 'pub');
  }

  /** Uses a one-time prekey up; false when somebody else did. To be called in the accepting transaction. */
  usePreKey(id: number): boolean {
    const sql = 'DELETE FROM omemo_prekey WHERE account = ? AND id = ?';
    if (this.#store.run(sql, this.#account, id) === 0) return false;
    this.#stale();
    return true;
  }

  /** How often what is published has changed since it was last published; 0: it is up to date. */
  staleness(): number {
    const sql = 'SELECT stale FROM omemo_device WHERE account = ?';
    return Number(this.#store.get(sql, this.#account)?.['stale'] ?? 0);
  }

  /** The bundle as it was at this staleness is on the server: later changes remain to be published. */
  published(staleness: number): void {
    const sql = 'UPDATE omemo_device SET stale = stale - ? WHERE account = ?';
    this.#store.run(sql, staleness, this.#account);
  }

  /** The mark of our state that the server saw last; undefined before the first. */
  mark(): string | undefined {
    return this.#text('mark');
  }

  /** Stores a mark, in the transaction whose steps it stands for. */
  setMark(mark: string): void {
    const sql = 'UPDATE omemo_device SET mark = ? WHERE account = ?';
    this.#store.run(sql, mark, this.#account);
  }

  /** What the file of the store was known by; undefined before it was looked at. */
  place(): string | undefined {
    return this.#text('place');
  }

  /** Remembers the file of the store. */
  setPlace(place: string): void {
    const sql = 'UPDATE omemo_device SET place = ? WHERE account = ?';
    this.#store.run(sql, place, this.#account);
  }

  /**
   * For a state that is not the newest: its prekeys may have been used in the time that it does not
   * know, so that a recorded key exchange would be taken again. None of them is kept.
   */
  renewKeys(): void {
    this.#store.transaction(() => {
      for (const table of ['signed_prekey', 'prekey']) {
        this.#store.run(`DELETE FROM omemo_${table} WHERE account = ?`, this.#account);
      }
      const sql =
        'UPDATE omemo_device SET next_prekey = next_prekey + ?, next_signed = next_signed + ? WHERE account = ?';
      const skip = () => randomInt(...PASSED_OVER);
      this.#store.run(sql, skip(), skip(), this.#account);
      this.maintain();
    });
  }

  /** Deletes the device, its keys and all sessions; whom to trust stays. */
  remove(): void {
    this.#store.transaction(() => {
      for (const table of ['device', 'signed_prekey', 'prekey', 'session']) {
        this.#store.run(`DELETE FROM omemo_${table} WHERE account = ?`, this.#account);
      }
    });
  }

  #text(column: 'mark' | 'place'): string | undefined {
    const sql = `SELECT ${column} AS text FROM omemo_device WHERE account = ?`;
    const text = this.#store.get(sql, this.#account)?.['text'];
    return typeof text === 'string' ? text : undefined;
  }

  #newestSigned(): Row | undefined {
    const sql = 'SELECT * FROM omemo_signed_prekey WHERE account = ? ORDER BY id DESC LIMIT 1';
    return this.#store.get(sql, this.#account);
  }

  #addSigned(device: Device): void {
    const pair = generateKeyPair();
    this.#store.run(
      'INSERT INTO omemo_signed_prekey (account, id, priv, pub, signature, created) VALUES (?, ?, ?, ?, ?, ?)',
      this.#account,
      this.#next('next_signed'),
      pair.priv,
      pair.pub,
      signPreKey(LEGACY, device.identity.priv, pair.pub),
      this.#clock.now(),
    );
    this.#stale();
  }

  #addPreKey(): void {
    const pair = generateKeyPair();
    this.#store.run(
      'INSERT INTO omemo_prekey (account, id, priv, pub) VALUES (?, ?, ?, ?)',
      this.#account,
      this.#next('next_prekey'),
      pair.priv,
      pair.pub,
    );
    this.#stale();
  }

  /** Ids are never used twice: a key exchange that names a used one must not meet another key. */
  #next(column: 'next_prekey' | 'next_signed'): number {
    const sql = `SELECT ${column} AS id FROM omemo_device WHERE account = ?`;
    const id = Number(this.#store.get(sql, this.#account)?.['id']);
    this.#store.run(
      `UPDATE omemo_device SET ${column} = ? WHERE account = ?`,
      id + 1,
      this.#account,
    );
    return id;
  }

  #stale(): void {
    this.#store.run('UPDATE omemo_device SET stale = stale + 1 WHERE account = ?', this.#account);
  }
}

function blob(row: Row, column: string): Buffer {
  const value = row[column];
  if (!Buffer.isBuffer(value)) throw new Error(`the column ${column} holds no bytes`);
  return value;
}

function pairOf(row: Row, priv: string, pub: string): KeyPair {
  return { priv: blob(row, priv), pub: blob(row, pub) };
}
