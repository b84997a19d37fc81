/** The pins of one account in the store: its tables, without any rule. */
import type { Clock } from '../core/clock.ts';
import type { Row, Store } from '../store/store.ts';
import type { Pin } from './trust-rule.ts';

/** A key to be written. */
export interface PinChange {
  readonly jid: string;
  /** Undefined leaves what is known. */
  readonly device: number | undefined;
  readonly fingerprint: string;
}

/** Reads and writes them. A caller that decides by what it read holds a transaction. */
export class Pins {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #account: string;

  /** @param account - a bare JID */
  constructor(store: Store, clock: Clock, account: string) {
    this.#store = store;
    this.#clock = clock;
    this.#account = account;
  }

  /** True once the keys of the JID's device list were pinned, or the user trusted one. */
  isKnown(jid: string): boolean {
    const sql = 'SELECT 1 FROM omemo_contact WHERE account = ? AND jid = ?';
    return this.#store.get(sql, this.#account, jid) !== undefined;
  }

  /** Ends the first contact with a JID. */
  setKnown(jid: string): void {
    this.#store.run(
      'INSERT OR IGNORE INTO omemo_contact (account, jid, since) VALUES (?, ?, ?)',
      this.#account,
      jid,
      this.#clock.now(),
    );
  }

  /** Every pin, by JID, oldest first. */
  all(): Pin[] {
    const sql = 'SELECT * FROM omemo_identity WHERE account = ? ORDER BY jid, since';
    return this.#store.all(sql, this.#account).map(toPin);
  }

  /** The pins of a JID, oldest first. */
  ofJid(jid: string): Pin[] {
    const sql = 'SELECT * FROM omemo_identity WHERE account = ? AND jid = ? ORDER BY since';
    return this.#store.all(sql, this.#account, jid).map(toPin);
  }

  /** The pins of a key, under whatever JIDs, oldest first. */
  ofKey(fingerprint: string): Pin[] {
    const sql =
      'SELECT * FROM omemo_identity WHERE account = ? AND identity = ? ORDER BY since, jid';
    return this.#store.all(sql, this.#account, fingerprint).map(toPin);
  }

  /** Adds or changes a pin; `state` undefined leaves the one there is. */
  write(pin: PinChange, state: Pin['state'] | undefined): void {
    this.#store.run(
      `INSERT INTO omemo_identity (account, identity, jid, device, state, since) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (account, identity, jid) DO UPDATE SET
         device = coalesce(excluded.device, device),
         state = CASE WHEN ? THEN excluded.state ELSE state END`,
      this.#account,
      pin.fingerprint,
      pin.jid,
      pin.device ?? null,
      state ?? 'pinned',
      this.#clock.now(),
      Number(state !== undefined),
    );
  }

  /** Distrusts a key and takes its device id away, which another key has from now on. */
  replace(jid: string, fingerprint: string): void {
    this.#store.run(
      `UPDATE omemo_identity SET device = NULL, state = 'distrusted' WHERE account = ? AND identity = ? AND jid = ?`,
      this.#account,
      fingerprint,
      jid,
    );
  }

  /** Notes that a key was used under a JID; false when that was known, or there is no such pin. */
  setProven(jid: string, fingerprint: string): boolean {
    const sql =
      'UPDATE omemo_identity SET proven = 1 WHERE account = ? AND identity = ? AND jid = ? AND proven = 0';
    return this.#store.run(sql, this.#account, fingerprint, jid) > 0;
  }

  /** Notes whether a device puts a tag behind the key in its envelopes. */
  setTagged(fingerprint: string, tagged: boolean): void {
    this.#store.run(
      'UPDATE omemo_identity SET tagged = ? WHERE account = ? AND identity = ? AND tagged <> ?',
      Number(tagged),
      this.#account,
      fingerprint,
      Number(tagged),
    );
  }

  isTagged(fingerprint: string): boolean {
    const sql = 'SELECT 1 FROM omemo_identity WHERE account = ? AND identity = ? AND tagged = 1';
    return this.#store.get(sql, this.#account, fingerprint) !== undefined;
  }

  addJet(fingerprint: string): void {
    this.#store.run(
      'INSERT OR IGNORE INTO omemo_jet (account, identity, since) VALUES (?, ?, ?)',
      this.#account,
      fingerprint,
      this.#clock.now(),
    );
  }

  isJet(fingerprint: string): boolean {
    const sql = 'SELECT 1 FROM omemo_jet WHERE account = ? AND identity = ?';
    return this.#store.get(sql, this.#account, fingerprint) !== undefined;
  }

  /** False when it was none. */
  removeJet(fingerprint: string): boolean {
    const sql = 'DELETE FROM omemo_jet WHERE account = ? AND identity = ?';
    return this.#store.run(sql, this.#account, fingerprint) > 0;
  }
}

function toPin(row: Row): Pin {
  const state = row['state'];
  return {
    jid: String(row['jid']),
    device: typeof row['device'] === 'number' ? row['device'] : undefined,
    fingerprint: String(row['identity']),
    // Whatever else is written there trusts nothing.
    state: state === 'pinned' || state === 'verified' ? state : 'distrusted',
    proven: row['proven'] === 1,
  };
}
