/** OMEMO messages outside of Jingle: empty ones that open sessions and turn ratchets, and chat that is heard. */
import { randomBytes } from 'node:crypto';
import { JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { EnvelopeError } from '../jet/envelope.ts';
import { hear } from '../xmpp/carbons.ts';
import type { Connection } from '../xmpp/connection.ts';
import { type Element, xml } from '../xmpp/xml.ts';
import type { OwnDevice } from './device.ts';
import { type Header, type KeyEntry, randomIv, readEncrypted, writeEncrypted } from './header.ts';
import { NS_OMEMO } from './names.ts';
import type { Sessions } from './sessions.ts';
import type { Trust } from './trust.ts';

/** What messages need of the account. */
export interface MessagesOptions {
  readonly connection: Connection;
  readonly own: OwnDevice;
  readonly sessions: Sessions;
  readonly trust: Trust;
  /** Decrypts for its effect on the ratchet, where the device is trusted already. @throws EnvelopeError, JetError */
  readonly decrypt: (from: Jid, header: Header) => void;
  /** Runs ratchet steps; false when the state was an older one. */
  readonly step: (body: () => void) => Promise<boolean>;
}

/** The messages of one account. */
export class Messages {
  readonly #options: MessagesOptions;
  readonly #unlisten: () => void;
  #listening = false;

  constructor(options: MessagesOptions) {
    this.#options = options;
    this.#unlisten = hear(options.connection, (message, from) => {
      if (this.#listening) this.#heard(message, from);
    });
  }

  /** Begins to take messages: not before our state is known to be the newest one. */
  listen(): void {
    this.#listening = true;
  }

  /** Stops for good. */
  stop(): void {
    this.#unlisten();
  }

  /**
   * Sends a message that carries nothing but these keys, to be kept by no server.
   *
   * @param payload - bytes that nobody can read; of such a message no copy goes to anybody
   */
  async send(to: Jid, entries: readonly KeyEntry[], payload?: Buffer): Promise<void> {
    const { connection, own } = this.#options;
    const device = own.load();
    if (!device || entries.length === 0) return;
    await connection.send(
      xml(
        'message',
        { to: to.toString(), type: 'chat' },
        writeEncrypted(device.id, entries, randomIv(), payload),
        xml('no-store', { xmlns: 'urn:xmpp:hints' }),
        payload && xml('private', { xmlns: 'urn:xmpp:carbons:2' }),
        payload && xml('no-copy', { xmlns: 'urn:xmpp:hints' }),
      ),
    );
  }

  /** Sends the empty message that is owed after a key exchange received or in a long chain, if any. */
  async acknowledge(to: Jid): Promise<void> {
    const { sessions, trust, step } = this.#options;
    const jid = to.bare.toString();
    const due = sessions
      .repliesDue(jid)
      .filter(({ device, identity }) => trust.accepts({ jid, device, fingerprint: identity }));
    if (due.length === 0) return;
    const entries: KeyEntry[] = [];
    await step(() => {
      for (const { device, identity } of due) {
        const sealed = sessions.encrypt({ jid, device }, identity, randomBytes(16));
        if (sealed) entries.push({ device, ...sealed });
      }
    });
    await this.send(to, entries);
  }

  /**
   * Keeps the ratchets in step with chat and takes the sessions that messages open; their text is not
   * looked at. Only devices that are trusted already: a message pins nothing, and strangers get no answer.
   */
  #heard(message: Element, from: Jid): void {
    const encrypted = message.getChild('encrypted', NS_OMEMO);
    const own = this.#options.own.load();
    if (!encrypted || !own || message.attrs['type'] === 'error') return;
    const header = readEncrypted(encrypted, own.id);
    if (typeof header === 'string') return;
    try {
      this.#options.decrypt(from.bare, header);
    } catch (error) {
      // Chat that does not decrypt leads to nothing: else whoever sends it has us begin sessions.
      if (error instanceof EnvelopeError || error instanceof JetError) return;
      throw error;
    }
    // A lost connection is reported by itself; what is owed stays owed.
    // To those we do not deal with, it would show that we are here.
    if (from.isFull && this.#options.connection.audience(from))
      this.acknowledge(from).catch(() => undefined);
  }
}
