/** XEP-0384 0.3 for one account: what the rest of the program sees of src/omemo. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { type Envelope, EnvelopeError } from '../jet/envelope.ts';
import type { Store } from '../store/store.ts';
import type { Connection } from '../xmpp/connection.ts';
import { Contacts } from './contacts.ts';
import { Continuity } from './continuity.ts';
import { CryptoError, fingerprint, LEGACY, parseKeyExchange } from './crypto/index.ts';
import { type Device, OwnDevice } from './device.ts';
import { Encryption } from './encryption.ts';
import { omemoEnvelope } from './envelope.ts';
import type { OmemoEvent } from './events.ts';
import type { Header, KeyEntry } from './header.ts';
import { Messages } from './messages.ts';
import type { PepPort } from './pep-port.ts';
import { Publisher } from './publisher.ts';
import { type Decrypted, Sessions } from './sessions.ts';
import { type StaleDevice, staleDevices } from './stale.ts';
import { Trust } from './trust.ts';
import type { Candidate, Pin } from './trust-rule.ts';
import type { WrittenKey } from './uri.ts';

/** What OMEMO works with. */
export interface OmemoOptions {
  readonly connection: Connection;
  readonly pep: PepPort;
  readonly store: Store;
  readonly clock: Clock;
  readonly account: Jid;
  /** Only keys whose fingerprint the user compared. */
  readonly verifiedOnly: boolean;
  /** Asks at a terminal about a new key beside pinned ones; absent where there is none. */
  readonly askTrust?: (question: Candidate) => Promise<boolean>;
  readonly say: (event: OmemoEvent) => void;
  /** Whether the client at this address wants a tag behind the key (Libervia does); undefined: unknown. */
  readonly wantsTag?: (to: Jid) => boolean | undefined;
}

/** OMEMO of one account. */
export class Omemo {
  readonly #options: OmemoOptions;
  readonly #account: string;
  readonly #own: OwnDevice;
  readonly #sessions: Sessions;
  readonly #trust: Trust;
  readonly #contacts: Contacts;
  readonly #publisher: Publisher;
  readonly #continuity: Continuity;
  readonly #messages: Messages;
  readonly #encryption: Encryption;

  private constructor(options: OmemoOptions) {
    const { store, clock, pep, say } = options;
    const account = options.account.bare;
    this.#options = options;
    this.#account = account.toString();
    this.#own = new OwnDevice(store, clock, this.#account);
    this.#sessions = new Sessions(store, clock, this.#account, this.#own);
    const { verifiedOnly, askTrust: ask } = options;
    this.#trust = new Trust({ store, clock, account, verifiedOnly, ask, say });
    this.#contacts = new Contacts(pep, clock, this.#sessions, this.#trust, () => ({
      account,
      id: this.#own.load()?.id,
    }));
    const [own, sessions, trust] = [this.#own, this.#sessions, this.#trust];
    this.#publisher = new Publisher({ pep, store, clock, account, own, say });
    this.#continuity = new Continuity({ pep, store, clock, account, own, sessions, say });
    this.#encryption = new Encryption({
      contacts: this.#contacts,
      sessions,
      trust,
      wantsTag: (to) => options.wantsTag?.(to),
      step: (body) => this.#step(body),
    });
    this.#messages = new Messages({
      connection: options.connection,
      own,
      sessions,
      trust,
      decrypt: (from, header) => {
        this.#decryptHeard(from, header);
      },
      step: async (body) => (await this.#step(body)) !== undefined,
    });
  }

  /** Starts to watch messages and our device list. */
  static open(options: OmemoOptions): Omemo {
    return new Omemo(options);
  }

  /** Stops watching; the store and the connection stay open. */
  close(): void {
    this.#messages.stop();
    this.#publisher.stop();
  }

  /**
   * Makes our device on the first run, and publishes it. A state that is not the newest is renewed
   * before; only then messages are taken. @throws JetError, StanzaError
   */
  async ensureDevice(): Promise<Device> {
    const [seen] = await Promise.all([this.#publisher.look(), this.#continuity.check()]);
    const device = await this.#publisher.ensure(seen);
    this.#continuity.checkPlace();
    this.#messages.listen();
    return device;
  }

  /** Our device; undefined before it was made. */
  get device(): Device | undefined {
    return this.#own.load();
  }

  /**
   * A contact has come online, and something will be encrypted to it in a moment: asks early for the list of
   * its devices. Without `ask` what was asked for before is only forgotten.
   */
  foresee(jid: Jid, ask = true): void {
    this.#contacts.foresee(ask ? jid : undefined);
  }

  /** The trusted devices of a contact, each with a session; first contact pins. @throws StanzaError */
  contactDevices(jid: Jid): Promise<Candidate[]> {
    return this.#contacts.trusted(jid.bare);
  }

  /** The keys that are known, of one JID or of all. */
  devices(jid?: Jid): Pin[] {
    return this.#trust.pins(jid?.bare.toString());
  }

  /** The key that a device on a list shows at this moment, trusted or not; undefined when it cannot be had. */
  shownKey(jid: Jid, device: number): Promise<string | undefined> {
    return this.#contacts.shownKey(jid, device);
  }

  /** From now on only keys whose fingerprint the user compared. */
  requireVerified(): void {
    this.#trust.requireVerified();
  }

  /** The keys that an address was written with: pinned as verified, or refused. @throws JetError (exit 6) */
  pinWritten(jid: Jid, keys: readonly WrittenKey[]): void {
    this.#trust.pinWritten(jid.bare.toString(), keys);
  }

  /** The same check without a change. @throws JetError (exit 6) */
  checkWritten(jid: Jid, keys: readonly WrittenKey[]): void {
    this.#trust.checkWritten(jid.bare.toString(), keys);
  }

  /** `jet trust --plain`: the key need not seal elements any more. @throws JetError (exit 6) */
  forgetJet(jid: Jid, key: string): void {
    this.#trust.forgetJet(jid.bare.toString(), key);
  }

  /** Pins a key as verified (`jet trust`). @throws JetError (exit 6) */
  trust(jid: Jid, key: string, device?: number): void {
    this.#trust.trust(jid.bare.toString(), key, device);
  }

  /** Refuses a key from now on. @throws JetError */
  distrust(jid: Jid, key: string): void {
    this.#trust.distrust(jid.bare.toString(), key);
  }

  /** For logout and `--ephemeral`: off the list, its bundle and its keys deleted. @throws JetError, StanzaError */
  async removeOwnDevice(): Promise<void> {
    const device = this.#own.load();
    if (!device) return;
    this.#publisher.stop();
    await this.#publisher.withdraw(new Set([device.id]), () => {
      this.#own.remove();
    });
    this.#options.say({ event: 'device-removed', device: device.id });
  }

  /** The devices of our own account that are of no use any more, never this one. @throws StanzaError */
  staleDevices(): Promise<StaleDevice[]> {
    const { pep, clock } = this.#options;
    return staleDevices(pep, this.#own.load()?.id, clock.now());
  }

  /** Takes devices of our own account off the list (`--prune`, `--remove`). @throws JetError, StanzaError */
  removeDevices(devices: ReadonlySet<number>): Promise<void> {
    return this.#publisher.withdraw(devices);
  }

  /** The JET-OMEMO envelope. */
  envelope(): Envelope {
    return omemoEnvelope({
      deviceId: () => this.#device().id,
      encryptFor: (to, plaintext) => this.#encryption.plain(to, plaintext),
      encryptForOne: (to, device, plaintext) => this.#encryption.forOne(to, device, plaintext),
      decryptFrom: (jid, device, entry) => this.#decryptFrom(jid, device, entry),
      learn: (identityKey, tagged) => {
        this.#trust.setTagged(fingerprint(identityKey), tagged);
      },
      identity: () => this.#device().identity,
      isJet: (key) => this.#trust.isJet(fingerprint(key)),
      rememberJet: (key, of) => {
        this.#trust.rememberJet(fingerprint(key));
        // Only who has the private key can have sealed it: as good as a message that decrypted.
        this.#trust.prove({ jid: of.bare.toString(), fingerprint: fingerprint(key) });
      },
    });
  }

  /**
   * Sends a message without text to a full JID, so that each of the account's devices has a session with us
   * before Jingle begins (Dino and Libervia need one).
   *
   * @param form - `unreadable`: with a payload, for a client that looks at no message without; its tag fits
   * nothing, so that the client shows nothing of it.
   * @returns whether it begins a session with one of the devices
   * @throws JetError (exit 6), StanzaError
   */
  async greet(to: Jid, form: 'empty' | 'unreadable' = 'empty'): Promise<boolean> {
    const long = form === 'unreadable';
    const entries = await this.#encryption.forAll(to, () => randomBytes(long ? 32 : 16));
    await this.#messages.send(to, entries, long ? randomBytes(16) : undefined);
    return entries.some(({ isKeyExchange }) => isKeyExchange);
  }

  /** True when each device that is trusted has a session with us already; false for a stranger. */
  hasSessions(jid: Jid): boolean {
    const account = jid.bare.toString();
    const known = this.#trust.pins(account).filter(({ state }) => state !== 'distrusted');
    return (
      known.length > 0 &&
      known.every(
        ({ device, fingerprint: key }) =>
          device !== undefined && this.#sessions.identityOf({ jid: account, device }) === key,
      )
    );
  }

  /** Sends the empty message that is owed after a key exchange received or in a long chain, if any. */
  acknowledge(to: Jid): Promise<void> {
    return this.#messages.acknowledge(to);
  }

  /**
   * After our envelope was refused: new key exchanges with the trusted devices, three an hour each.
   * The initiator of a transfer calls it once a transfer and then retries with a fresh secret.
   *
   * @returns false when there is nothing to retry with. @throws StanzaError
   */
  async renew(to: Jid): Promise<boolean> {
    const renewed = (await this.#contacts.trusted(to.bare, true)).length > 0;
    if (renewed) this.#options.say({ event: 'sessions-renewed', jid: to.bare.toString() });
    return renewed;
  }

  #device(): Device {
    const device = this.#own.load();
    if (!device) {
      throw new JetError(Exit.internal, 'no-device', 'There is no OMEMO device yet.');
    }
    return device;
  }

  async #decryptFrom(jid: Jid, device: number, entry: KeyEntry): Promise<Decrypted> {
    const address = { jid: jid.toString(), device };
    const exchange = entry.isKeyExchange ? exchangeOf(entry) : undefined;
    const identity = exchange
      ? fingerprint(exchange.identityKey)
      : this.#sessions.identityOf(address);
    if (identity === undefined) {
      throw new EnvelopeError('no-session', 'There is no OMEMO session with this device.');
    }
    if (!(await this.#contacts.admits(jid, { ...address, fingerprint: identity }))) {
      throw new EnvelopeError(
        'untrusted',
        `The device ${device} of ${jid.toString()} is not trusted.`,
      );
    }
    const decrypted = this.#decrypt(address, identity, entry, exchange);
    // What an older state takes may have been taken before: it is used only at the newest mark.
    if (await this.#step(() => undefined)) return decrypted;
    decrypted.plaintext.fill(0);
    throw new EnvelopeError(
      'undecryptable',
      'The keys of this device were not its newest ones; they are new now.',
    );
  }

  /** Runs ratchet steps at the newest mark; undefined when ours was older and new keys are published. */
  async #step<T>(body: () => T): Promise<{ readonly value: T } | undefined> {
    const result = await this.#continuity.step(body);
    if (!result) await this.#publisher.ensure();
    return result;
  }

  #decryptHeard(from: Jid, { sender, entry }: Header): void {
    const address = { jid: from.toString(), device: sender };
    const exchange = entry.isKeyExchange ? exchangeOf(entry) : undefined;
    const identity = exchange
      ? fingerprint(exchange.identityKey)
      : this.#sessions.identityOf(address);
    if (identity === undefined) return;
    if (!this.#trust.accepts({ ...address, fingerprint: identity })) return;
    this.#decrypt(address, identity, entry, exchange);
  }

  #decrypt(
    address: { readonly jid: string; readonly device: number },
    identity: string,
    entry: KeyEntry,
    exchange: ReturnType<typeof exchangeOf> | undefined,
  ): Decrypted {
    const decrypted = exchange
      ? this.#sessions.decryptExchange(address, exchange)
      : this.#sessions.decrypt(address, identity, entry.message);
    this.#trust.prove({ jid: address.jid, fingerprint: identity });
    if (!exchange) return decrypted;
    this.#own.maintain();
    if (this.#own.staleness() > 0) this.#publisher.refill();
    return decrypted;
  }
}

function exchangeOf(entry: KeyEntry): ReturnType<typeof parseKeyExchange> {
  try {
    return parseKeyExchange(LEGACY, entry.message);
  } catch (error) {
    if (!(error instanceof CryptoError)) throw error;
    throw new EnvelopeError('malformed', 'The key exchange is malformed.', { cause: error });
  }
}
