/** Whom to trust, kept in the store: one rule for what is encrypted to and for what is taken from. */
import type { Clock } from '../core/clock.ts';
import { Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { Row, Store } from '../store/store.ts';
import type { OmemoEvent, Refusal } from './events.ts';
import { assess, type Candidate, type Pin, type Verdict } from './trust-rule.ts';

/** The pins of one account in the store. */
export class Trust {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #account: string;
  readonly #verifiedOnly: boolean;
  readonly #ask: ((candidate: Candidate) => Promise<boolean>) | undefined;
  readonly #say: (event: OmemoEvent) => void;
  /** Refusals that were said already. */
  readonly #said = new Set<string>();

  constructor(options: {
    readonly store: Store;
    readonly clock: Clock;
    readonly account: Jid;
    readonly verifiedOnly: boolean;
    readonly ask: ((candidate: Candidate) => Promise<boolean>) | undefined;
    readonly say: (event: OmemoEvent) => void;
  }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#account = options.account.bare.toString();
    this.#verifiedOnly = options.verifiedOnly;
    this.#ask = options.ask;
    this.#say = options.say;
  }

  /** True until the keys of the JID's device list have been pinned, or one was trusted by the user. */
  isFirstContact(jid: string): boolean {
    const sql = 'SELECT 1 FROM omemo_contact WHERE account = ? AND jid = ?';
    return this.#store.get(sql, this.#account, jid) === undefined;
  }

  /** The pins of a JID, or all. */
  pins(jid?: string): Pin[] {
    const rows =
      jid === undefined
        ? this.#store.all(
            'SELECT * FROM omemo_identity WHERE account = ? ORDER BY jid, since',
            this.#account,
          )
        : this.#store.all(
            'SELECT * FROM omemo_identity WHERE account = ? AND jid = ? ORDER BY since',
            this.#account,
            jid,
          );
    return rows.map(toPin);
  }

  /**
   * Pins at first contact, in one transaction, every key that the device list holds at this moment.
   * Does nothing when there was contact before, or with an empty list.
   */
  firstContact(jid: string, candidates: readonly Candidate[]): void {
    const pinned = this.#store.transaction(() => {
      if (!this.isFirstContact(jid)) return [];
      const first = candidates.filter((candidate) => this.#verdict(candidate).kind === 'pin');
      for (const candidate of first) this.#write(candidate, 'pinned');
      if (first.length > 0) this.#mark(jid);
      return first;
    });
    for (const { device, fingerprint } of pinned) {
      this.#say({
        event: 'pinned',
        jid,
        device,
        fingerprint,
        by: 'first-contact',
        verified: false,
      });
    }
  }

  /**
   * Whether a device may be encrypted to and taken from. Asks at a terminal about a new key beside
   * pinned ones; says each refusal once.
   */
  async allows(candidate: Candidate): Promise<boolean> {
    const verdict = this.#store.transaction(() => {
      const found = this.#verdict(candidate);
      if (found.kind === 'bind') this.#write(candidate, undefined);
      return found;
    });
    switch (verdict.kind) {
      case 'accept':
      case 'bind':
        return true;
      // First contact pins a whole list (`firstContact`), never a key that comes by itself.
      case 'pin':
        return this.#refuse(candidate, 'not-pinned');
      case 'ask':
        if (!(await this.#ask?.(candidate))) return this.#refuse(candidate, 'not-pinned');
        return this.#answered(candidate);
      case 'refuse':
        return this.#refuse(candidate, verdict.why);
    }
  }

  /** Whether a device is trusted already: neither asks, nor pins, nor says anything. */
  accepts(candidate: Candidate): boolean {
    const { kind } = this.#verdict(candidate);
    return kind === 'accept' || kind === 'bind';
  }

  /**
   * `jet trust`: pins a key, seen or not yet seen, as verified.
   *
   * @throws JetError (exit 6) when the key is bound to another JID
   */
  trust(jid: string, fingerprint: string, device?: number): void {
    const replaced = this.#store.transaction(() => {
      const known = this.#find(fingerprint);
      if (known && known.jid !== jid) throw keyOfAnother(fingerprint, known.jid, jid);
      const id = known?.device ?? device;
      // The user's word gives a device id to a new key: the old one is of no use from now on.
      const old = this.pins(jid).filter(
        (pin) => id !== undefined && pin.device === id && pin.fingerprint !== fingerprint,
      );
      for (const pin of old) {
        const sql = `UPDATE omemo_identity SET device = NULL, state = 'distrusted' WHERE account = ? AND identity = ?`;
        this.#store.run(sql, this.#account, pin.fingerprint);
      }
      this.#write({ jid, device: id, fingerprint }, 'verified');
      this.#mark(jid);
      return old.filter((pin) => pin.state !== 'distrusted');
    });
    for (const pin of replaced) {
      this.#say({ event: 'distrusted', jid, fingerprint: pin.fingerprint });
    }
    const seen = this.#find(fingerprint)?.device;
    this.#said.clear();
    this.#say({ event: 'pinned', jid, device: seen, fingerprint, by: 'user', verified: true });
  }

  /**
   * `jet distrust`: nothing is encrypted to the key or taken from it, from now on.
   *
   * @throws JetError (exit 6) when the key is bound to another JID
   */
  distrust(jid: string, fingerprint: string): void {
    this.#store.transaction(() => {
      const known = this.#find(fingerprint);
      if (known && known.jid !== jid) throw keyOfAnother(fingerprint, known.jid, jid);
      this.#write({ jid, device: known?.device, fingerprint }, 'distrusted');
    });
    this.#say({ event: 'distrusted', jid, fingerprint });
  }

  /** Remembers whether a device puts a tag behind the key in its envelopes, and so reads it. */
  setTagged(fingerprint: string, tagged: boolean): void {
    this.#store.run(
      'UPDATE omemo_identity SET tagged = ? WHERE account = ? AND identity = ? AND tagged <> ?',
      Number(tagged),
      this.#account,
      fingerprint,
      Number(tagged),
    );
  }

  /** Whether the last envelope of a device had a tag behind the key. */
  isTagged(fingerprint: string): boolean {
    const sql = 'SELECT tagged FROM omemo_identity WHERE account = ? AND identity = ?';
    return this.#store.get(sql, this.#account, fingerprint)?.['tagged'] === 1;
  }

  /** Remembers that a key is a jet's: an element that it sealed has opened. Said to nobody. */
  rememberJet(fingerprint: string): void {
    this.#store.run(
      'INSERT OR IGNORE INTO omemo_jet (account, identity, since) VALUES (?, ?, ?)',
      this.#account,
      fingerprint,
      this.#clock.now(),
    );
  }

  /** Whether an element that this key sealed has ever opened: plain JET from it is an attack then. */
  isJet(fingerprint: string): boolean {
    const sql = 'SELECT 1 FROM omemo_jet WHERE account = ? AND identity = ?';
    return this.#store.get(sql, this.#account, fingerprint) !== undefined;
  }

  /**
   * `jet trust --plain`: what the key makes need not be sealed any more. False when it never was a jet's.
   *
   * @throws JetError (exit 6) when the key is bound to another JID
   */
  forgetJet(jid: string, fingerprint: string): boolean {
    const known = this.#find(fingerprint);
    if (known && known.jid !== jid) throw keyOfAnother(fingerprint, known.jid, jid);
    const sql = 'DELETE FROM omemo_jet WHERE account = ? AND identity = ?';
    const forgot = this.#store.run(sql, this.#account, fingerprint) > 0;
    if (forgot) this.#say({ event: 'jet-forgotten', jid, fingerprint });
    return forgot;
  }

  #answered(candidate: Candidate): boolean {
    const accepted = this.#store.transaction(() => {
      // While the question stood open the user may have distrusted the key elsewhere.
      const { kind } = this.#verdict(candidate);
      if (kind === 'ask') this.#write(candidate, 'pinned');
      return kind !== 'refuse';
    });
    if (!accepted) return this.#refuse(candidate, 'distrusted');
    const { jid, device, fingerprint } = candidate;
    this.#say({ event: 'pinned', jid, device, fingerprint, by: 'answer', verified: false });
    return true;
  }

  #verdict(candidate: Candidate): Verdict {
    const own = this.#find(candidate.fingerprint);
    const pins = this.pins(candidate.jid);
    return assess(own && own.jid !== candidate.jid ? [...pins, own] : pins, candidate, {
      first: this.isFirstContact(candidate.jid),
      verifiedOnly: this.#verifiedOnly,
    });
  }

  #find(fingerprint: string): Pin | undefined {
    const sql = 'SELECT * FROM omemo_identity WHERE account = ? AND identity = ?';
    const row = this.#store.get(sql, this.#account, fingerprint);
    return row && toPin(row);
  }

  #write(
    pin: {
      readonly jid: string;
      readonly device: number | undefined;
      readonly fingerprint: string;
    },
    state: Pin['state'] | undefined,
  ): void {
    this.#store.run(
      `INSERT INTO omemo_identity (account, identity, jid, device, state, since) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (account, identity) DO UPDATE SET
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

  #mark(jid: string): void {
    this.#store.run(
      'INSERT OR IGNORE INTO omemo_contact (account, jid, since) VALUES (?, ?, ?)',
      this.#account,
      jid,
      this.#clock.now(),
    );
  }

  #refuse(candidate: Candidate, why: Refusal): false {
    const { jid, device, fingerprint } = candidate;
    const key = [jid, device, fingerprint, why].join(' ');
    // A hostile server could have us say a new one with every stanza.
    if (!this.#said.has(key) && this.#said.size < 100) {
      this.#said.add(key);
      this.#say({ event: 'refused', jid, device, fingerprint, why });
    }
    return false;
  }
}

function keyOfAnother(fingerprint: string, owner: string, jid: string): JetError {
  return new JetError(
    Exit.security,
    'key-of-another',
    `The key ${fingerprint} belongs to ${owner}, not to ${jid}. Compare the fingerprint again, or name it there.`,
  );
}

function toPin(row: Row): Pin {
  const state = row['state'];
  return {
    jid: String(row['jid']),
    device: typeof row['device'] === 'number' ? row['device'] : undefined,
    fingerprint: String(row['identity']),
    // Whatever else is written there trusts nothing.
    state: state === 'pinned' || state === 'verified' ? state : 'distrusted',
  };
}
