/** The sessions with others: each ratchet step is one transaction, whatever process takes it. */
import { randomInt } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import { Exit, JetError } from '../core/errors.ts';
import { EnvelopeError } from '../jet/envelope.ts';
import type { Store } from '../store/store.ts';
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
  sessionKnows,
  startSession,
  Waypoints,
} from './crypto/index.ts';
import type { OwnDevice } from './device.ts';
import { type Address, SessionRows, type Stored } from './session-rows.ts';

/** Optimistic steps lost to another process before one gives up. */
const RETRIES = 20;
/** How far a new chain may begin in a session that is not the first: forged ones are tried in each. */
const ARCHIVED_ADVANCE = 1000;

/** A step that decrypted, stored already. */
export interface Decrypted {
  readonly plaintext: Buffer;
  /** 32 bytes: whose session it was. */
  readonly identityKey: Buffer;
}

/** The sessions of one account. */
export class Sessions {
  readonly #store: Store;
  readonly #own: OwnDevice;
  readonly #rows: SessionRows;
  readonly #allowance: Allowance;
  readonly #waypoints = new Waypoints();

  constructor(store: Store, clock: Clock, account: string, own: OwnDevice) {
    this.#store = store;
    this.#own = own;
    this.#rows = new SessionRows(store, account);
    this.#allowance = new Allowance(store, clock, account);
  }

  /** The identity key (fingerprint) of the session that was used last with a device. */
  identityOf(device: Address): string | undefined {
    return this.#rows.identity(device, false);
  }

  /** The identity key (fingerprint) of the session that encrypts to a device. */
  encryptsTo(device: Address): string | undefined {
    return this.#rows.identity(device, true);
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
      this.#rows.insert(to, state, false);
    });
  }

  /**
   * Encrypts for the first session whose identity key is this; committed with the transaction, so that
   * what is sent after it never repeats a step.
   *
   * @returns undefined when there is no such session
   */
  encrypt(
    to: Address,
    identity: string,
    plaintext: Buffer,
  ): { readonly message: Buffer; readonly isKeyExchange: boolean } | undefined {
    return this.#store.transaction(() => {
      const active = this.#rows
        .load(to)
        .find(({ state, retired }) => !retired && fingerprint(state.peerIdentity) === identity);
      if (!active) return undefined;
      const step = encrypt(active.state, plaintext);
      this.#rows.sent(to, active, step.state);
      return { message: step.message, isKeyExchange: step.isKeyExchange };
    });
  }

  /**
   * Decrypts a message in whichever session with this identity key takes it and makes that one the first.
   *
   * @throws EnvelopeError, each wrong message the same way and at a bounded cost
   */
  decrypt(from: Address, identity: string, message: Buffer): Decrypted {
    return this.#attempt(() => {
      const stored = this.#rows
        .load(from)
        .filter(({ state }) => fingerprint(state.peerIdentity) === identity);
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
      const known = this.#rows.load(from).filter(({ state }) => matches(state, exchange));
      if (known.length > 0) return this.#decryptIn(from, known, exchange.message);
      return this.#accept(from, exchange);
    });
  }

  /** The devices that an empty message is owed to, to confirm a key exchange or to turn the ratchet. */
  repliesDue(jid: string): { readonly device: number; readonly identity: string }[] {
    return this.#rows.repliesDue(jid);
  }

  /** Counts a session begun anew against a bound an hour, across processes; false when it is used up. */
  mayRebuild(to: Address): boolean {
    return this.#allowance.take(`rebuild ${to.jid} ${to.device}`, 1, 3);
  }

  /** None encrypts any more before its next ratchet step; false when there is none. */
  retire(): boolean {
    return this.#rows.retire();
  }

  /** Deletes all. */
  forget(): void {
    this.#rows.forget();
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
      this.#rows.insert(from, step.state, true);
      return { plaintext: step.plaintext, identityKey: step.state.peerIdentity };
    });
  }

  /** Undefined when another process took a step in between: to be tried again. */
  #decryptIn(from: Address, sessions: readonly Stored[], message: Buffer): Decrypted | undefined {
    const { ratchetKey } = peekHeader(LEGACY, message);
    const known = sessions.filter(({ state }) => sessionKnows(state, ratchetKey));
    const isNew = known.length === 0;
    const before = this.#waypoints.walked;
    let failure: unknown;
    for (const [index, session] of (isNew ? sessions : known).entries()) {
      // Only where it may belong is the long way gone, and once.
      const maxAdvance =
        index > 0 ? ARCHIVED_ADVANCE : this.#allowance.advance(from, isNew ? 'new' : 'known');
      try {
        const limits = { maxAdvance, waypoints: this.#waypoints };
        const step = decrypt(session.state, message, limits);
        return this.#store.transaction(() => {
          if (!this.#rows.received(session, step.state, step.ratcheted)) return undefined;
          this.#allowance.spend(from, step.advanced);
          this.#waypoints.forget(ratchetKey);
          return { plaintext: step.plaintext, identityKey: session.state.peerIdentity };
        });
      } catch (error) {
        if (!(error instanceof CryptoError)) throw error;
        failure = strongest(failure, error);
      }
    }
    this.#allowance.wasted(from, this.#waypoints.walked - before);
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
}

/** Of several sessions' failures the one that says most. */
function strongest(first: unknown, second: CryptoError): unknown {
  return first instanceof CryptoError && first.kind !== 'other-session' ? first : second;
}
