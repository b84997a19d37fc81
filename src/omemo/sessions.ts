/** The sessions in the store: each ratchet step is one transaction, whatever process takes it. */
import { randomInt } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import { Exit, JetError } from '../core/errors.ts';
import { EnvelopeError } from '../jet/envelope.ts';
import type { Row, Store } from '../store/store.ts';
import { Allowance } from './allowance.ts';
import {
  acceptSession,
  type Bundle,
  CryptoError,
  decrypt,
  encrypt,
  fingerprint,
  type KeyExchange,
  LEGACY,
  matches,
  peekHeader,
  restoreSession,
  serialiseSession,
  sessionKnows,
  type SessionState,
  startSession,
} from './crypto/index.ts';
import type { OwnDevice } from './device.ts';

/** The one that encrypts, and five that may still receive (first contacts that cross make two). */
const KEPT = 6;
/** Optimistic steps lost to another process before one gives up. */
const RETRIES = 20;

/** A device of a contact. */
export interface Address {
  /** Bare JID. */
  readonly jid: string;
  readonly device: number;
}

interface Stored {
  readonly key: number;
  readonly version: number;
  readonly state: SessionState;
}

/** A step that decrypted, stored already. */
export interface Decrypted {
  readonly plaintext: Buffer;
  /** 32 bytes: whose session it was. */
  readonly identityKey: Buffer;
}

/** The sessions of one account. */
export class Sessions {
  readonly #store: Store;
  readonly #account: string;
  readonly #own: OwnDevice;
  readonly #allowance: Allowance;

  constructor(store: Store, clock: Clock, account: string, own: OwnDevice) {
    this.#store = store;
    this.#account = account;
    this.#own = own;
    this.#allowance = new Allowance(store, clock, account);
  }

  /** The identity key (fingerprint) of the session that encrypts to a device. */
  identityOf(to: Address): string | undefined {
    const sql =
      'SELECT identity FROM omemo_session WHERE account = ? AND jid = ? AND device = ? ORDER BY rank DESC LIMIT 1';
    const identity = this.#store.get(sql, this.#account, to.jid, to.device)?.['identity'];
    return typeof identity === 'string' ? identity : undefined;
  }

  /**
   * Starts a session from a bundle with one of its one-time prekeys; older ones are archived.
   *
   * @throws CryptoError when the bundle is not sound
   */
  start(to: Address, bundle: Bundle): void {
    const device = this.#own.load();
    const choice = bundle.preKeys[randomInt(0, Math.max(0, bundle.preKeys.length - 1))];
    if (!device || !choice) throw new CryptoError('malformed', 'no device or no one-time prekey');
    const own = { identity: device.identity, registrationId: device.id };
    const state = startSession(LEGACY, own, bundle, choice);
    this.#store.transaction(() => {
      this.#insert(to, state, false);
    });
  }

  /**
   * Encrypts for the active session whose identity key is this; committed when it returns, so that
   * what is sent never repeats a step.
   *
   * @returns undefined when there is no such session
   */
  encrypt(
    to: Address,
    identity: string,
    plaintext: Buffer,
  ): { readonly message: Buffer; readonly isKeyExchange: boolean } | undefined {
    return this.#store.transaction(() => {
      const active = this.#load(to).find(
        ({ state }) => fingerprint(state.peerIdentity) === identity,
      );
      if (!active) return undefined;
      const step = encrypt(active.state, plaintext);
      this.#update(active, step.state, false);
      // Whatever this device was owed, in whichever of its sessions, it has it now.
      const sql =
        'UPDATE omemo_session SET reply_due = 0 WHERE account = ? AND jid = ? AND device = ?';
      this.#store.run(sql, this.#account, to.jid, to.device);
      return { message: step.message, isKeyExchange: step.isKeyExchange };
    });
  }

  /**
   * Decrypts a message in whichever session with this identity key takes it and makes that one active.
   *
   * @throws EnvelopeError, each wrong message the same way and at a bounded cost
   */
  decrypt(from: Address, identity: string, message: Buffer): Decrypted {
    return this.#attempt(() => {
      const stored = this.#load(from).filter(
        ({ state }) => fingerprint(state.peerIdentity) === identity,
      );
      if (stored.length === 0) {
        throw new EnvelopeError('no-session', 'There is no OMEMO session with this device.');
      }
      return this.#decryptIn(from, stored, message);
    });
  }

  /**
   * Decrypts a key exchange: in the session that it made before, or in a new one, whose one-time
   * prekey is used up in the same transaction. Its identity key must have been trusted.
   *
   * @throws EnvelopeError
   */
  decryptExchange(from: Address, exchange: KeyExchange): Decrypted {
    return this.#attempt(() => {
      const known = this.#load(from).filter(({ state }) => matches(state, exchange));
      if (known.length > 0) return this.#decryptIn(from, known, exchange.message);
      return this.#accept(from, exchange);
    });
  }

  /** The devices that an empty message is owed to, to confirm a key exchange or to turn the ratchet. */
  repliesDue(jid: string): { readonly device: number; readonly identity: string }[] {
    const sql =
      'SELECT DISTINCT device, identity FROM omemo_session WHERE account = ? AND jid = ? AND reply_due = 1';
    return this.#store.all(sql, this.#account, jid).map((row) => ({
      device: Number(row['device']),
      identity: String(row['identity']),
    }));
  }

  /** Counts an event against a bound an hour, across processes; false when it is used up. */
  mayRebuild(to: Address): boolean {
    return this.#allowance.take(`rebuild ${to.jid} ${to.device}`, 1, 3);
  }

  #accept(from: Address, exchange: KeyExchange): Decrypted | undefined {
    const device = this.#own.load();
    const signedPreKey = this.#own.signedPreKey(exchange.signedPreKeyId);
    const preKey = this.#own.preKey(exchange.preKeyId);
    if (!device || !signedPreKey || !preKey) {
      throw new EnvelopeError(
        'replayed',
        'The key exchange names a prekey that was used or never was.',
      );
    }
    const accepted = acceptSession(LEGACY, device.identity, exchange, { signedPreKey, preKey });
    const step = decrypt(accepted, exchange.message, { maxAdvance: Allowance.FREE });
    return this.#store.transaction(() => {
      // Used by another process in between: perhaps for this very exchange, so look again.
      if (!this.#own.usePreKey(exchange.preKeyId)) return undefined;
      this.#insert(from, step.state, true);
      return { plaintext: step.plaintext, identityKey: step.state.peerIdentity };
    });
  }

  /** Undefined when another process took a step in between: to be tried again. */
  #decryptIn(from: Address, sessions: readonly Stored[], message: Buffer): Decrypted | undefined {
    const { ratchetKey } = peekHeader(LEGACY, message);
    const known = sessions.filter(({ state }) => sessionKnows(state, ratchetKey));
    let failure: unknown;
    for (const [index, session] of (known.length > 0 ? known : sessions).entries()) {
      // Only where it may belong is the long way gone, and once.
      const extra = index === 0 ? this.#allowance.advance(from) : Allowance.FREE;
      try {
        const step = decrypt(session.state, message, { maxAdvance: extra });
        return this.#store.transaction(() => {
          if (!this.#update(session, step.state, true)) return undefined;
          this.#allowance.spend(from, step.advanced);
          return { plaintext: step.plaintext, identityKey: session.state.peerIdentity };
        });
      } catch (error) {
        if (!(error instanceof CryptoError)) throw error;
        failure = strongest(failure, error);
      }
    }
    this.#allowance.failed(from);
    throw failure;
  }

  #attempt(step: () => Decrypted | undefined): Decrypted {
    try {
      for (let i = 0; i < RETRIES; i++) {
        const result = step();
        if (result) return result;
      }
    } catch (error) {
      if (!(error instanceof CryptoError)) throw error;
      const reason =
        error.kind === 'duplicate'
          ? 'replayed'
          : error.kind === 'malformed'
            ? 'malformed'
            : 'undecryptable';
      throw new EnvelopeError(reason, `The OMEMO message does not decrypt: ${error.message}.`, {
        cause: error,
      });
    }
    throw new JetError(
      Exit.internal,
      'session-busy',
      'Too many jet processes use the same OMEMO session at once. Try again.',
    );
  }

  #load(of: Address): Stored[] {
    const sql =
      'SELECT key, version, state FROM omemo_session WHERE account = ? AND jid = ? AND device = ? ORDER BY rank DESC';
    return this.#store.all(sql, this.#account, of.jid, of.device).map((row: Row) => {
      const state = row['state'];
      if (!Buffer.isBuffer(state)) throw new Error('a stored session is no bytes');
      return {
        key: Number(row['key']),
        version: Number(row['version']),
        state: restoreSession(state),
      };
    });
  }

  #insert(of: Address, state: SessionState, replyDue: boolean): void {
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

  /** Stores a step of a session that nobody changed since it was read; a received one makes it active. */
  #update(session: Stored, state: SessionState, received: boolean): boolean {
    const changed = this.#store.run(
      `UPDATE omemo_session SET state = ?, version = version + 1,
         rank = CASE WHEN ? THEN (SELECT max(rank) + 1 FROM omemo_session) ELSE rank END,
         reply_due = CASE WHEN ? THEN max(reply_due, ?) ELSE 0 END
       WHERE key = ? AND version = ?`,
      serialiseSession(state),
      Number(received),
      Number(received),
      Number(received && chainIsLong(state)),
      session.key,
      session.version,
    );
    return changed > 0;
  }
}

/** A chain that goes on and on without an answer is turned by an empty message (XEP-0384 0.8.3 §5.4). */
function chainIsLong(state: SessionState): boolean {
  return (state.ratchet.receiving.at(-1)?.next ?? 0) >= 53;
}

/** Of several sessions' failures the one that says most. */
function strongest(first: unknown, second: CryptoError): unknown {
  return first instanceof CryptoError && first.kind !== 'other-session' ? first : second;
}
