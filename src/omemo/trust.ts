/** Whom to trust, kept in the store: one rule for what is encrypted to and for what is taken from. */
import type { Clock } from '../core/clock.ts';
import { Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { shellCommand } from '../core/shell.ts';
import type { Store } from '../store/store.ts';
import type { OmemoEvent } from './events.ts';
import { Pins } from './pins.ts';
import { Questions } from './questions.ts';
import { assess, boundElsewhere, type Candidate, type Pin, type Verdict } from './trust-rule.ts';
import type { WrittenKey } from './uri.ts';

/** Most refusals of devices of one JID that are said. */
const MOST_SAID = 20;

type Refused = Verdict & { readonly kind: 'refuse' };
const NOT_PINNED: Refused = { kind: 'refuse', why: 'not-pinned' };

/** The pins of one account, and the rule applied to them. */
export class Trust {
  readonly #store: Store;
  readonly #pins: Pins;
  readonly #questions: Questions;
  readonly #say: (event: OmemoEvent) => void;
  #verifiedOnly: boolean;
  /** Refusals that were said already, by JID. */
  readonly #said = new Map<string, Set<string>>();

  constructor(options: {
    readonly store: Store;
    readonly clock: Clock;
    readonly account: Jid;
    readonly verifiedOnly: boolean;
    readonly ask: ((candidate: Candidate) => Promise<boolean>) | undefined;
    readonly say: (event: OmemoEvent) => void;
  }) {
    this.#store = options.store;
    this.#pins = new Pins(options.store, options.clock, options.account.bare.toString());
    this.#verifiedOnly = options.verifiedOnly;
    this.#questions = new Questions(options.ask);
    this.#say = options.say;
  }

  /** Only keys whose fingerprint the user compared. */
  get verifiedOnly(): boolean {
    return this.#verifiedOnly;
  }

  /** From now on only keys whose fingerprint the user compared. */
  requireVerified(): void {
    this.#verifiedOnly = true;
  }

  /** True until the keys of the JID's device list have been pinned, or one was trusted by the user. */
  isFirstContact(jid: string): boolean {
    return !this.#pins.isKnown(jid);
  }

  /** The pins of a JID, or all. */
  pins(jid?: string): Pin[] {
    return jid === undefined ? this.#pins.all() : this.#pins.ofJid(jid);
  }

  /**
   * Pins at first contact, in one transaction, every key that the device list holds at this moment.
   * Does nothing when there was contact before, or with an empty list.
   */
  firstContact(jid: string, candidates: readonly Candidate[]): void {
    const pinned = this.#store.transaction(() => {
      if (!this.isFirstContact(jid)) return [];
      const first = candidates.filter((candidate) => this.#verdict(candidate).kind === 'pin');
      for (const candidate of first) this.#pins.write(candidate, 'pinned');
      if (first.length > 0) this.#pins.setKnown(jid);
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
      if (found.kind === 'bind') this.#pins.write(candidate, undefined);
      return found;
    });
    switch (verdict.kind) {
      case 'accept':
      case 'bind':
        return true;
      // First contact pins a whole list (`firstContact`), never a key that comes by itself.
      case 'pin':
        return this.#refuse(candidate, NOT_PINNED);
      case 'ask':
        return (await this.#questions.answer(candidate))
          ? this.#answered(candidate)
          : this.#refuse(candidate, NOT_PINNED);
      case 'refuse':
        return this.#refuse(candidate, verdict);
    }
  }

  /** Whether a device is trusted already: neither asks, nor pins, nor says anything. */
  accepts(candidate: Candidate): boolean {
    const { kind } = this.#verdict(candidate);
    return kind === 'accept' || kind === 'bind';
  }

  /**
   * Something that this key made was decrypted as coming from its JID, which takes the private key:
   * it is bound to the JID from now on, and whoever only shows a copy of it has it no longer.
   */
  prove({ jid, fingerprint }: Omit<Candidate, 'device'>): void {
    const others = this.#store.transaction(() => {
      const pins = this.#pins.ofKey(fingerprint);
      if (boundElsewhere(pins, jid) !== undefined) return [];
      if (!this.#pins.setProven(jid, fingerprint)) return [];
      return pins.filter((pin) => pin.jid !== jid && pin.state === 'pinned');
    });
    for (const { jid: other } of others) this.#say({ event: 'bound', jid, fingerprint, other });
  }

  /**
   * `jet trust`: pins a key, seen or not yet seen, as verified.
   *
   * @throws JetError (exit 6) when the key is bound to another JID
   */
  trust(jid: string, fingerprint: string, device?: number): void {
    const { replaced, id } = this.#store.transaction(() => {
      const known = this.#own(jid, fingerprint);
      const id = known?.device ?? device;
      // The user's word gives a device id to a new key: the old one is of no use from now on.
      const old = this.#pins
        .ofJid(jid)
        .filter((pin) => id !== undefined && pin.device === id && pin.fingerprint !== fingerprint);
      for (const pin of old) this.#pins.replace(jid, pin.fingerprint);
      this.#pins.write({ jid, device: id, fingerprint }, 'verified');
      this.#pins.setKnown(jid);
      return { replaced: old.filter((pin) => pin.state !== 'distrusted'), id };
    });
    for (const pin of replaced) {
      this.#say({ event: 'distrusted', jid, fingerprint: pin.fingerprint });
    }
    this.#said.clear();
    this.#say({
      event: 'pinned',
      jid,
      device: id,
      fingerprint,
      by: 'user',
      verified: true,
    });
  }

  /**
   * The keys that an address was written with: verified before anything is sent or taken, all or none.
   * From then on there is no first contact with it, and what was neither written nor pinned before is
   * refused without a question. Says what changes.
   *
   * @throws JetError (exit 6) as `checkWritten` does
   */
  pinWritten(jid: string, keys: readonly WrittenKey[]): void {
    if (keys.length === 0) return;
    const changed = this.#store.transaction(() => {
      this.checkWritten(jid, keys);
      const fresh = keys.filter(({ fingerprint, device }) => {
        const known = this.#own(jid, fingerprint);
        this.#pins.write({ jid, device: known?.device ?? device, fingerprint }, 'verified');
        return known?.state !== 'verified';
      });
      this.#pins.setKnown(jid);
      return fresh;
    });
    this.#questions.close(jid);
    for (const { device, fingerprint } of changed) {
      this.#say({
        event: 'pinned',
        jid,
        device,
        fingerprint,
        by: 'address',
        verified: true,
      });
    }
  }

  /**
   * Checks the keys that an address was written with against what is known; changes nothing.
   *
   * @throws JetError (exit 6) when a key is bound to another JID, was distrusted, or its device is known
   * with another key: an address in a script is no reason to give up what the user has said or seen
   */
  checkWritten(jid: string, keys: readonly WrittenKey[]): void {
    for (const { device, fingerprint } of keys) {
      const allow = `If it is right, run: ${shellCommand('jet trust', jid, fingerprint)}`;
      if (this.#own(jid, fingerprint)?.state === 'distrusted') {
        throw new JetError(
          Exit.security,
          'distrusted-key',
          `The key ${fingerprint} was written for ${jid}, but it was distrusted. ${allow}`,
        );
      }
      const holder = this.#pins
        .ofJid(jid)
        .find((pin) => pin.device === device && pin.state !== 'distrusted');
      if (holder && holder.fingerprint !== fingerprint) {
        throw new JetError(
          Exit.security,
          'other-key',
          `The device ${device} of ${jid} is known with the key ${holder.fingerprint}, but it was written with ${fingerprint}. ${allow}`,
        );
      }
    }
  }

  /**
   * `jet distrust`: nothing is encrypted to the key or taken from it, from now on.
   *
   * @throws JetError (exit 6) when the key is bound to another JID
   */
  distrust(jid: string, fingerprint: string): void {
    this.#store.transaction(() => {
      // One's own pin may always be given up.
      if (!this.#pins.ofJid(jid).some((pin) => pin.fingerprint === fingerprint)) {
        this.#own(jid, fingerprint);
      }
      this.#pins.write({ jid, device: undefined, fingerprint }, 'distrusted');
    });
    this.#say({ event: 'distrusted', jid, fingerprint });
  }

  /** Remembers whether a device puts a tag behind the key in its envelopes, and so reads it. */
  setTagged(fingerprint: string, tagged: boolean): void {
    this.#pins.setTagged(fingerprint, tagged);
  }

  /** Whether the last envelope of a device had a tag behind the key. */
  isTagged(fingerprint: string): boolean {
    return this.#pins.isTagged(fingerprint);
  }

  /** Remembers that a key is a jet's: an element that it sealed has opened. Said to nobody. */
  rememberJet(fingerprint: string): void {
    this.#pins.addJet(fingerprint);
  }

  /** Whether an element that this key sealed has ever opened: plain JET from it is an attack then. */
  isJet(fingerprint: string): boolean {
    return this.#pins.isJet(fingerprint);
  }

  /**
   * `jet trust --plain`: what the key makes need not be sealed any more; says so, or that it never
   * was a jet's, which is no error: what was asked for holds.
   *
   * @throws JetError (exit 6) when the key is bound to another JID
   */
  forgetJet(jid: string, fingerprint: string): void {
    this.#own(jid, fingerprint);
    const forgot = this.#pins.removeJet(fingerprint);
    this.#say({ event: forgot ? 'jet-forgotten' : 'no-jet', jid, fingerprint });
  }

  #answered(candidate: Candidate): boolean {
    const verdict = this.#store.transaction(() => {
      // While the question stood open the user may have distrusted the key elsewhere.
      const now = this.#verdict(candidate);
      if (now.kind === 'ask') this.#pins.write(candidate, 'pinned');
      return now;
    });
    if (verdict.kind === 'refuse') return this.#refuse(candidate, verdict);
    const { jid, device, fingerprint } = candidate;
    this.#say({
      event: 'pinned',
      jid,
      device,
      fingerprint,
      by: 'answer',
      verified: false,
    });
    return true;
  }

  #verdict(candidate: Candidate): Verdict {
    const { jid, fingerprint } = candidate;
    return assess([...this.#pins.ofJid(jid), ...this.#pins.ofKey(fingerprint)], candidate, {
      first: this.isFirstContact(jid),
      verifiedOnly: this.#verifiedOnly,
    });
  }

  /** What is known of a key under a JID. @throws JetError (exit 6) when it is bound to another one */
  #own(jid: string, fingerprint: string): Pin | undefined {
    const pins = this.#pins.ofKey(fingerprint);
    const owner = boundElsewhere(pins, jid);
    if (owner === undefined) return pins.find((pin) => pin.jid === jid);
    throw new JetError(
      Exit.security,
      'key-of-another',
      `The key ${fingerprint} belongs to ${owner}, not to ${jid}. Compare the fingerprint again; if it was never the key of ${owner}, run: ${shellCommand('jet distrust', owner, fingerprint)}`,
    );
  }

  #refuse(candidate: Candidate, { why, owner }: Refused): false {
    const { jid, device, fingerprint } = candidate;
    const key = [device, fingerprint, why].join(' ');
    // A hostile server could have us say a new one with every stanza; it silences no other's.
    const said = this.#said.get(jid) ?? new Set();
    if (!said.has(key) && said.size < MOST_SAID) {
      this.#said.set(jid, said.add(key));
      const because = owner === undefined ? {} : { owner };
      this.#say({
        event: 'refused',
        jid,
        device,
        fingerprint,
        why,
        ...because,
      });
    }
    return false;
  }
}
