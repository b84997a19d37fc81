/** Encrypting for the devices of a contact: which of them, and each step at the newest mark. */
import { Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { shellCommand } from '../core/shell.ts';
import type { Contacts } from './contacts.ts';
import type { OneEntry, Recipient } from './envelope.ts';
import type { KeyEntry } from './header.ts';
import type { Sessions } from './sessions.ts';
import type { Candidate } from './trust-rule.ts';
import type { Trust } from './trust.ts';

/** What encrypting needs of the account. */
export interface EncryptionOptions {
  readonly contacts: Contacts;
  readonly sessions: Sessions;
  readonly trust: Trust;
  readonly wantsTag: (to: Jid) => boolean | undefined;
  /** Runs ratchet steps; undefined, and nothing was run, when the state was an older one. */
  readonly step: (body: () => void) => Promise<object | undefined>;
}

/** Encrypts for one account. */
export class Encryption {
  readonly #options: EncryptionOptions;

  constructor(options: EncryptionOptions) {
    this.#options = options;
  }

  /** For an envelope without sealed elements: a jet gets none, so that nobody can talk us out of them. */
  plain(to: Jid, plaintext: (device: Recipient) => Buffer): Promise<KeyEntry[]> {
    return this.forAll(to, plaintext, (trusted) => {
      const plain = trusted.filter(({ fingerprint: key }) => !this.#options.trust.isJet(key));
      const [jet] = trusted;
      if (plain.length === 0 && jet !== undefined)
        throw new JetError(
          Exit.security,
          'jet-without-seals',
          `${jet.jid} is known as a jet, but what is online there does not say so: somebody may be between. Nothing was sent. If another program is meant to use that key now, run: ${shellCommand('jet trust --plain', jet.jid, jet.fingerprint)}`,
        );
      return plain;
    });
  }

  /**
   * For one device alone, which may be a jet's.
   *
   * @throws JetError (exit 6) when it is not listed or not trusted
   */
  async forOne(to: Jid, device: number, plaintext: Buffer): Promise<OneEntry> {
    let meant: Candidate | undefined;
    const choose = (trusted: readonly Candidate[]) => {
      meant = trusted.find((address) => address.device === device);
      return meant ? [meant] : [];
    };
    const [entry] = await this.forAll(to, () => plaintext, choose);
    if (entry === undefined || meant === undefined) throw new Error('no device was encrypted to');
    return { entry, identityKey: Buffer.from(meant.fingerprint, 'hex') };
  }

  /**
   * For every trusted device; committed.
   *
   * @param choose - of the trusted devices, each with a session, those that are meant
   * @throws JetError (exit 6) when there is none
   */
  async forAll(
    to: Jid,
    plaintext: (device: Recipient) => Buffer,
    choose: (trusted: readonly Candidate[]) => readonly Candidate[] = (trusted) => trusted,
  ): Promise<KeyEntry[]> {
    const wanted = this.#options.wantsTag(to);
    const entries: KeyEntry[] = [];
    const seal = (devices: readonly Candidate[]) => () => {
      for (const address of devices) {
        const { device, fingerprint } = address;
        const tagged = wanted ?? this.#options.trust.isTagged(fingerprint);
        const bytes = plaintext({ device, fingerprint, tagged });
        const step = this.#options.sessions.encrypt(address, fingerprint, bytes);
        if (step) entries.push({ device, ...step });
      }
    };
    const devices = choose(await this.#options.contacts.trusted(to.bare));
    if (devices.length === 0) throw this.#nobody(to.bare.toString());
    if (!(await this.#options.step(seal(devices)))) {
      // Ours was an older state: with new keys there are sessions to begin.
      await this.#options.step(seal(choose(await this.#options.contacts.trusted(to.bare))));
    }
    if (entries.length > 0) return entries;
    throw new JetError(
      Exit.security,
      'sessions-gone',
      'The encrypted sessions of this account were begun anew at this moment. Try again.',
    );
  }

  #nobody(jid: string): JetError {
    const trust = shellCommand('jet trust', jid, 'FINGERPRINT');
    return this.#options.trust.isFirstContact(jid)
      ? new JetError(
          Exit.security,
          'no-omemo',
          `${jid} has no OMEMO device to encrypt to${this.#options.trust.verifiedOnly ? ' that is verified' : ''}. Start jet or an OMEMO client there, or run “${trust}”.`,
        )
      : new JetError(
          Exit.security,
          'untrusted',
          `None of the present OMEMO devices of ${jid} is trusted. Compare a fingerprint with the owner, then run “${trust}”.`,
        );
  }
}
