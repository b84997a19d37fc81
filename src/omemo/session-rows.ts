/** The rows of the sessions: what is kept of each, which of a device's encrypts, and how many stay. */
import type { Store } from '../store/store.ts';
import {
  fingerprint,
  restoreSession,
  serialiseSession,
  type SessionState,
} from './crypto/index.ts';

/** The one that encrypts, and five that may still receive (first contacts that cross make two). */
const KEPT = 6;
/** So far a chain goes without an answer until an empty message turns it (XEP-0384 0.8.3 §5.4). */
const LONG_CHAIN = 53;

/** A device of a contact. */
export interface Address {
  /** Bare JID. */
  readonly jid: string;
  readonly device: number;
}

/** A session as it was read. */
export interface Stored {
  readonly key: number;
  readonly version: number;
  /** Its sending chain is not to be gone on with. */
  readonly retired: boolean;
  readonly state: SessionState;
}

/** The sessions of one account in the store. Which is first encrypts; receiving makes a session first. */
export class SessionRows {
  readonly #store: Store;
  readonly #account: string;

  constructor(store: Store, account: string) {
    this.#store = store;
    this.#account = account;
  }

  /** Those with a device, the one used last first. */
  load(of: Address): Stored[] {
    const sql =
      'SELECT key, version, retired, state FROM omemo_session WHERE account = ? AND jid = ? AND device = ? ORDER BY rank DESC';
    return this.#store.all(sql, this.#account, of.jid, of.device).map((row) => {
      const state = row['state'];
      if (!Buffer.isBuffer(state)) throw new Error('a stored session is no bytes');
      return {
        key: Number(row['key']),
        version: Number(row['version']),
        retired: row['retired'] === 1,
        state: restoreSession(state),
      };
    });
  }

  /** The identity key of the session used last; with `encrypting`, of the one that encrypts. */
  identity(of: Address, encrypting: boolean): string | undefined {
    const sql =
      'SELECT identity FROM omemo_session WHERE account = ? AND jid = ? AND device = ? AND retired <= ? ORDER BY rank DESC LIMIT 1';
    const row = this.#store.get(sql, this.#account, of.jid, of.device, encrypting ? 0 : 1);
    return typeof row?.['identity'] === 'string' ? row['identity'] : undefined;
  }

  /** Adds one, which is first now; the oldest goes. */
  insert(of: Address, state: SessionState, replyDue: boolean): void {
    this.#store.run(
      `INSERT INTO omemo_session (account, jid, device, identity, state, version, rank, reply_due)
       VALUES (?, ?, ?, ?, ?, 1, (SELECT coalesce(max(rank), 0) + 1 FROM omemo_session), ?)`,
      this.#account,
      of.jid,
      of.device,
      fingerprint(state.peerIdentity),
      serialiseSession(state),
      Number(replyDue),
    );
    this.#store.run(
      `DELETE FROM omemo_session WHERE account = ? AND jid = ? AND device = ? AND key NOT IN
         (SELECT key FROM omemo_session WHERE account = ? AND jid = ? AND device = ? ORDER BY rank DESC LIMIT ?)`,
      this.#account,
      of.jid,
      of.device,
      this.#account,
      of.jid,
      of.device,
      KEPT,
    );
  }

  /** Stores an encrypting step; whatever the device was owed, in whichever of its sessions, it has it now. */
  sent(of: Address, session: Stored, state: SessionState): void {
    this.#store.run(
      'UPDATE omemo_session SET state = ?, version = version + 1 WHERE key = ?',
      serialiseSession(state),
      session.key,
    );
    const sql =
      'UPDATE omemo_session SET reply_due = 0 WHERE account = ? AND jid = ? AND device = ?';
    this.#store.run(sql, this.#account, of.jid, of.device);
  }

  /**
   * Stores a decrypting step, which makes the session the first; false, and nothing stored, when
   * somebody changed the session since it was read.
   *
   * @param ratcheted - the step has made a new sending chain, which nobody else can have
   */
  received(session: Stored, state: SessionState, ratcheted: boolean): boolean {
    const changed = this.#store.run(
      `UPDATE omemo_session SET state = ?, version = version + 1,
         rank = (SELECT max(rank) + 1 FROM omemo_session),
         retired = CASE WHEN ? THEN 0 ELSE retired END,
         reply_due = max(reply_due, ?)
       WHERE key = ? AND version = ?`,
      serialiseSession(state),
      Number(ratcheted),
      Number(hasGrownLong(session.state, state)),
      session.key,
      session.version,
    );
    return changed > 0;
  }

  /** The devices of a JID that an empty message is owed to. */
  repliesDue(jid: string): { readonly device: number; readonly identity: string }[] {
    const sql =
      'SELECT DISTINCT device, identity FROM omemo_session WHERE account = ? AND jid = ? AND reply_due = 1';
    return this.#store.all(sql, this.#account, jid).map((row) => ({
      device: Number(row['device']),
      identity: String(row['identity']),
    }));
  }

  /** None encrypts any more before its next ratchet step; false when there is none. */
  retire(): boolean {
    const sql = 'UPDATE omemo_session SET retired = 1 WHERE account = ?';
    return this.#store.run(sql, this.#account) > 0;
  }

  /** Deletes all. */
  forget(): void {
    this.#store.run('DELETE FROM omemo_session WHERE account = ?', this.#account);
  }
}

/** At 53, 106 … messages of one chain: a peer that does not turn it is answered now and then, not each time. */
function hasGrownLong(before: SessionState, after: SessionState): boolean {
  const chain = after.ratchet.receiving.at(-1);
  if (!chain) return false;
  const old = before.ratchet.receiving.find((one) => one.ratchetKey.equals(chain.ratchetKey));
  return Math.floor(chain.next / LONG_CHAIN) > Math.floor((old?.next ?? 0) / LONG_CHAIN);
}
