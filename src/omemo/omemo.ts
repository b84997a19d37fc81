/** XEP-0384 0.3 for one account: what the rest of the program sees of src/omemo. */
import { randomBytes } from 'node:crypto';
import { type Element, xml } from '../xmpp/xml.ts';
import type { Clock } from '../core/clock.ts';
import { Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { type Envelope, EnvelopeError } from '../jet/envelope.ts';
import type { Store } from '../store/store.ts';
import { hear } from '../xmpp/carbons.ts';
import type { Connection } from '../xmpp/connection.ts';
import { Contacts } from './contacts.ts';
import { CryptoError, fingerprint, LEGACY, parseKeyExchange } from './crypto/index.ts';
import { type Device, OwnDevice } from './device.ts';
import { omemoEnvelope, type OneEntry, type Recipient } from './envelope.ts';
import type { OmemoEvent } from './events.ts';
import { type KeyEntry, randomIv, readEncrypted, writeEncrypted } from './header.ts';
import { NS_OMEMO } from './names.ts';
import type { PepPort } from './pep-port.ts';
import { Publisher } from './publisher.ts';
import { type Decrypted, Sessions } from './sessions.ts';
import { Trust } from './trust.ts';
import type { Candidate, Pin } from './trust-rule.ts';

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
  readonly #unlisten: () => void;

  private constructor(options: OmemoOptions) {
    const { store, clock, pep, say } = options;
    const account = options.account.bare;
    this.#options = options;
    this.#account = account.toString();
    this.#own = new OwnDevice(store, clock, this.#account);
    this.#sessions = new Sessions(store, clock, this.#account, this.#own);
    const { verifiedOnly, askTrust: ask } = options;
    this.#trust = new Trust({ store, clock, account, verifiedOnly, ask, say });
    this.#contacts = new Contacts(pep, this.#sessions, this.#trust, () => ({
      account,
      id: this.#own.load()?.id,
    }));
    this.#publisher = new Publisher({ pep, store, clock, account, own: this.#own, say });
    this.#unlisten = hear(options.connection, (message, from) => {
      this.#heard(message, from);
    });
  }

  /** Starts to watch messages and our device list. */
  static open(options: OmemoOptions): Omemo {
    return new Omemo(options);
  }

  /** Stops watching; the store and the connection stay open. */
  close(): void {
    this.#unlisten();
    this.#publisher.stop();
  }

  /** Makes our device on the first run, and publishes it. @throws JetError, StanzaError */
  ensureDevice(): Promise<Device> {
    return this.#publisher.ensure();
  }

  /** Our device; undefined before it was made. */
  get device(): Device | undefined {
    return this.#own.load();
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

  /** Pins a key as verified (`jet trust`, or a recipient written with its fingerprint). @throws JetError */
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
    await this.#publisher.withdraw(new Set([device.id]));
    this.#own.remove();
    this.#options.say({ event: 'device-removed', device: device.id });
  }

  /** Takes stale devices of our own account off the list (`--prune`, `--remove`). */
  removeDevices(devices: ReadonlySet<number>): Promise<void> {
    return this.#publisher.withdraw(devices);
  }

  /** The JET-OMEMO envelope. */
  envelope(): Envelope {
    return omemoEnvelope({
      deviceId: () => this.#device().id,
      encryptFor: (to, plaintext) => this.#encryptPlain(to, plaintext),
      encryptForOne: (to, device, plaintext) => this.#encryptForOne(to, device, plaintext),
      decryptFrom: (jid, device, entry) => this.#decryptFrom(jid, device, entry),
      learn: (identityKey, tagged) => {
        this.#trust.setTagged(fingerprint(identityKey), tagged);
      },
      identity: () => this.#device().identity,
      isJet: (key) => this.#trust.isJet(fingerprint(key)),
      rememberJet: (key) => {
        this.#trust.rememberJet(fingerprint(key));
      },
    });
  }

  /**
   * Sends a message without text to a full JID, so that each of the account's devices has a session with us
   * before Jingle begins (Dino and Libervia need one).
   *
   * @param form - `unreadable`: with a payload, for a client that looks at no message without; its tag fits
   * nothing, so that the client shows nothing of it. Copies of it go to nobody.
   * @returns whether it begins a session with one of the devices
   * @throws JetError (exit 6), StanzaError
   */
  async greet(to: Jid, form: 'empty' | 'unreadable' = 'empty'): Promise<boolean> {
    const long = form === 'unreadable';
    const entries = await this.#encryptFor(to, () => randomBytes(long ? 32 : 16));
    await this.#sendEmpty(to, entries, long ? randomBytes(16) : undefined);
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
  async acknowledge(to: Jid): Promise<void> {
    const jid = to.bare.toString();
    const entries: KeyEntry[] = [];
    for (const { device, identity } of this.#sessions.repliesDue(jid)) {
      if (!this.#trust.accepts({ jid, device, fingerprint: identity })) continue;
      const step = this.#sessions.encrypt({ jid, device }, identity, randomBytes(16));
      if (step) entries.push({ device, ...step });
    }
    if (entries.length > 0) await this.#sendEmpty(to, entries);
  }

  /**
   * After our envelope was refused: new key exchanges with the trusted devices, three an hour each.
   * The initiator of a transfer calls it once a transfer and then retries with a fresh secret.
   *
   * @returns false when there is nothing to retry with. @throws StanzaError
   */
  async renew(to: Jid): Promise<boolean> {
    return (await this.#contacts.trusted(to.bare, true)).length > 0;
  }

  #device(): Device {
    const device = this.#own.load();
    if (!device) {
      throw new JetError(Exit.internal, 'no-device', 'There is no OMEMO device yet.');
    }
    return device;
  }

  /** For an envelope without sealed elements: a jet gets none, so that nobody can talk us out of them. */
  async #encryptPlain(to: Jid, plaintext: (device: Recipient) => Buffer): Promise<KeyEntry[]> {
    const trusted = await this.#contacts.trusted(to.bare);
    const plain = trusted.filter(({ fingerprint: key }) => !this.#trust.isJet(key));
    const [jet] = trusted;
    if (plain.length === 0 && jet !== undefined)
      throw new JetError(
        Exit.security,
        'jet-without-seals',
        `${jet.jid} is known as a jet, but what is online there does not say so: somebody may be between. Nothing was sent. If another program is meant to use that key now: jet trust --plain ${jet.jid} ${jet.fingerprint}`,
      );
    return this.#encryptFor(to, plaintext, plain);
  }

  async #encryptForOne(to: Jid, device: number, plaintext: Buffer): Promise<OneEntry> {
    const trusted = await this.#contacts.trusted(to.bare);
    const meant = trusted.filter((address) => address.device === device);
    const [entry] = await this.#encryptFor(to, () => plaintext, meant);
    const [address] = meant;
    if (entry === undefined || address === undefined) throw new Error('no device was encrypted to');
    return { entry, identityKey: Buffer.from(address.fingerprint, 'hex') };
  }

  /** @param devices - trusted ones, each with a session */
  async #encryptFor(
    to: Jid,
    plaintext: (device: Recipient) => Buffer,
    devices?: readonly Candidate[],
  ): Promise<KeyEntry[]> {
    const entries: KeyEntry[] = [];
    const wanted = this.#options.wantsTag?.(to);
    for (const address of devices ?? (await this.#contacts.trusted(to.bare))) {
      const tagged = wanted ?? this.#trust.isTagged(address.fingerprint);
      const { device } = address;
      const bytes = plaintext({ device, fingerprint: address.fingerprint, tagged });
      const step = this.#sessions.encrypt(address, address.fingerprint, bytes);
      if (step) entries.push({ device, ...step });
    }
    if (entries.length > 0) return entries;
    const jid = to.bare.toString();
    throw this.#trust.isFirstContact(jid)
      ? new JetError(
          Exit.security,
          'no-omemo',
          `${jid} has no OMEMO device to encrypt to${this.#options.verifiedOnly ? ' that is verified' : ''}. Start jet or an OMEMO client there, or run “jet trust ${jid} FINGERPRINT”.`,
        )
      : new JetError(
          Exit.security,
          'untrusted',
          `None of the present OMEMO devices of ${jid} is trusted. Compare a fingerprint with the owner, then run “jet trust ${jid} FINGERPRINT”.`,
        );
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
    return this.#decrypt(address, identity, entry, exchange);
  }

  #decrypt(
    address: { readonly jid: string; readonly device: number },
    identity: string,
    entry: KeyEntry,
    exchange: ReturnType<typeof exchangeOf> | undefined,
  ): Decrypted {
    if (!exchange) return this.#sessions.decrypt(address, identity, entry.message);
    const decrypted = this.#sessions.decryptExchange(address, exchange);
    this.#own.maintain();
    if (this.#own.staleness() > 0) this.#publisher.refill();
    return decrypted;
  }

  async #sendEmpty(to: Jid, entries: readonly KeyEntry[], payload?: Buffer): Promise<void> {
    const only = [
      xml('private', { xmlns: 'urn:xmpp:carbons:2' }),
      xml('no-copy', { xmlns: 'urn:xmpp:hints' }),
    ];
    await this.#options.connection.send(
      xml(
        'message',
        { to: to.toString(), type: 'chat' },
        writeEncrypted(this.#device().id, entries, randomIv(), payload),
        xml('no-store', { xmlns: 'urn:xmpp:hints' }),
        ...(payload === undefined ? [] : only),
      ),
    );
  }

  /**
   * Keeps the ratchets in step with chat and takes the sessions that messages open; their text is not
   * looked at. Only devices that are trusted already: a message pins nothing, and strangers get no answer.
   */
  #heard(message: Element, from: Jid): void {
    const encrypted = message.getChild('encrypted', NS_OMEMO);
    const own = this.#own.load();
    if (!encrypted || !own || message.attrs['type'] === 'error') return;
    const header = readEncrypted(encrypted, own.id);
    if (typeof header === 'string') return;
    const address = { jid: from.bare.toString(), device: header.sender };
    try {
      const exchange = header.entry.isKeyExchange ? exchangeOf(header.entry) : undefined;
      const identity = exchange
        ? fingerprint(exchange.identityKey)
        : this.#sessions.identityOf(address);
      if (identity === undefined) return;
      if (!this.#trust.accepts({ ...address, fingerprint: identity })) return;
      this.#decrypt(address, identity, header.entry, exchange);
    } catch (error) {
      if (error instanceof EnvelopeError || error instanceof JetError) return;
      throw error;
    }
    // A lost connection is reported by itself; what is owed stays owed.
    // To those we do not deal with, it would show that we are here.
    if (from.isFull && this.#options.connection.audience(from))
      this.acknowledge(from).catch(() => undefined);
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
