/** A session of Conversations 2.19.15 as both roles have it (docs/interop-sources.md, rows C). */
import { randomUUID } from 'node:crypto';
import type { Writable } from 'node:stream';
import { StanzaError } from '../../../src/xmpp/connection.ts';
import { xml, type Element } from '../../../src/xmpp/xml.ts';
import { TransportFailed, type Carrier } from './carrier.ts';
import { JINGLE_ERRORS, need, reasonOf, type Dialogue, type ScriptedClient } from './client.ts';
import { ConversationsInBand, IBB_TRANSPORT } from './conversations-in-band.ts';
import { ConversationsSocks } from './conversations-socks.ts';
import { S5B } from './sockets.ts';

export const CIPHER = 'urn:xmpp:ciphers:aes-128-gcm-nopadding';
export const TAG = 16;
export const STOPPED = 'User requested to stop file transfer';

/** How a session looks to its user in the end (C14). */
export type State =
  | 'success'
  | 'declined'
  | 'cancelled'
  | 'connectivity-error'
  | 'application-failure'
  | 'security-error';

/** A file of its user's. */
export interface OwnFile {
  readonly name: string;
  readonly content: Buffer;
  readonly mediaType?: string;
}

/** What its user does, and how it is set up. */
export interface Manner {
  /** Bytes after which the user stops the transfer. */
  readonly stopAfter?: number;
  /** The setting «use relays». */
  readonly relays?: boolean;
  /** It can be told in a test to know no key: as after its app data were lost. */
  readonly keyless?: boolean;
  /** The session id; random unless it was agreed on. */
  readonly sid?: string;
  /** The user declines. */
  readonly decline?: boolean;
}

/** How a file was sent or received. */
export interface Ended {
  readonly state: State;
  /** What it saved; where the key was not found, ciphertext. */
  readonly saved?: Buffer;
  /** Whether what it took for the key was right. It does not look (C12). */
  readonly tagHeld?: boolean;
  /** The words that the peer gave for the end. */
  readonly text?: string;
}

/** A transport secret. */
export interface Secret {
  readonly key: Buffer;
  readonly iv: Buffer;
}

/** What both roles have. */
export abstract class FileSession {
  protected readonly client: ScriptedClient;
  protected readonly dialogue: Dialogue;
  protected readonly manner: Manner;
  protected carrier: Carrier | undefined;
  protected content = '';
  protected abstract readonly initiator: boolean;
  #state: State | undefined;
  #resolve: (state: State) => void = () => undefined;
  /** How it ended. */
  protected readonly ended: Promise<State>;
  text: string | undefined;

  constructor(client: ScriptedClient, dialogue: Dialogue, manner: Manner) {
    this.client = client;
    this.dialogue = dialogue;
    this.manner = manner;
    this.ended = new Promise((resolve) => (this.#resolve = resolve));
    dialogue.answer = (jingle) => this.#take(jingle);
  }

  isOver(): boolean {
    return this.#state !== undefined;
  }

  /** Sends, and ends the session where the peer answers with an error (C13). */
  protected async say(action: string, ...children: (Element | undefined)[]): Promise<void> {
    try {
      await this.dialogue.send(action, ...children);
    } catch (error) {
      if (!(error instanceof StanzaError)) throw error;
      const gone = ['service-unavailable', 'recipient-unavailable', 'remote-server-not-found'];
      this.end(gone.includes(error.condition) ? 'connectivity-error' : 'application-failure');
    }
  }

  /** Without `initiator` and `responder` (C2); the creator is always the initiator (C3). */
  protected part(...inside: (Element | undefined)[]): Element {
    const attrs = { creator: 'initiator', name: this.content, senders: 'initiator' };
    return xml('content', attrs, ...inside);
  }

  /** Ends it by us: first our own state, then the transport, then the word (C14). */
  protected async terminate(condition: string, text?: string): Promise<void> {
    if (!this.end(stateOf(condition))) return;
    const words = text === undefined ? undefined : xml('text', {}, text);
    await this.say('session-terminate', xml('reason', {}, xml(condition, {}), words));
  }

  /** False when it had ended before. */
  protected end(state: State): boolean {
    if (this.#state !== undefined) return false;
    this.#state = state;
    this.carrier?.close();
    this.#resolve(state);
    return true;
  }

  /** Opens what carries the bytes. As initiator replaces it once, by in-band (C9). */
  protected async open(): Promise<Awaited<ReturnType<Carrier['connect']>> | undefined> {
    for (;;) {
      const { carrier } = this;
      if (carrier === undefined || this.isOver()) return undefined;
      try {
        return await carrier.connect();
      } catch (error) {
        if (this.isOver()) return undefined;
        if (!(error instanceof TransportFailed)) throw error;
        if (carrier !== this.carrier) continue;
        if (carrier.namespace === IBB_TRANSPORT) {
          await this.terminate('connectivity-error', 'Failed to setup IBB transport');
          return undefined;
        }
        carrier.close();
        if (this.initiator) await this.replace();
        else await this.replaced();
      }
    }
  }

  protected inBand(sid: string, blockSize: number): ConversationsInBand {
    const { connection } = this.client;
    const begins = this.initiator;
    return new ConversationsInBand(connection, this.dialogue.peer, sid, blockSize, begins);
  }

  protected socks(sid: string): Promise<ConversationsSocks> {
    const { client, dialogue } = this;
    return ConversationsSocks.prepare({
      ...{ client, peer: dialogue.peer, sid, initiator: this.initiator },
      relays: this.manner.relays === true,
      tell: (transport) => this.say('transport-info', this.part(transport)),
      failed: (text) => void this.terminate('failed-transport', text),
    });
  }

  private async replace(): Promise<void> {
    const next = this.inBand(randomUUID(), 8192);
    this.carrier = next;
    await this.say('transport-replace', this.part(next.element()));
    const accept = await Promise.race([this.dialogue.next('transport-accept'), this.ended]);
    if (typeof accept !== 'string') next.theirs(transportOf(accept));
  }

  private async replaced(): Promise<void> {
    await Promise.race([this.dialogue.next('transport-replace'), this.ended]);
  }

  async #take(jingle: Element): Promise<void> {
    const { action = '' } = jingle.attrs;
    const contents = jingle.getChildren('content');
    if (this.isOver()) throw outOfOrder();
    // A content without a transport that it knows ends the session, whatever it is about (C8).
    const known = contents.every((content) => [S5B, IBB_TRANSPORT].includes(transportNs(content)));
    if (contents.length > 0 && !known) {
      setImmediate(() => void this.terminate('failed-application'));
      return;
    }
    if (action === 'session-terminate') {
      const { condition, text } = reasonOf(jingle);
      this.text = text;
      this.end(stateOf(condition));
    } else if (action === 'transport-info') {
      if (transportNs(contents[0]) === this.carrier?.namespace)
        this.carrier.info(transportOf(jingle));
    } else if (action === 'transport-replace') {
      if (this.initiator) throw outOfOrder();
      await this.#takeReplacement(transportOf(jingle));
    }
    // Everything else is acknowledged, and nothing comes of it (C10): checksums, too (C11).
  }

  async #takeReplacement(transport: Element): Promise<void> {
    this.carrier?.close();
    const { sid = '' } = transport.attrs;
    const next =
      transport.getNS() === IBB_TRANSPORT
        ? this.inBand(sid, Number(transport.attrs['block-size']))
        : await this.socks(sid);
    next.theirs(transport);
    this.carrier = next;
    setImmediate(() => void this.say('transport-accept', this.part(next.element())));
  }
}

export function stateOf(condition: string): State {
  switch (condition) {
    case 'success':
      return 'success';
    case 'decline':
    case 'busy':
      return 'declined';
    case 'cancel':
    case 'timeout':
      return 'cancelled';
    case 'security-error':
      return 'security-error';
    case 'failed-application':
    case 'unsupported-transports':
    case 'unsupported-applications':
      return 'application-failure';
    default:
      return 'connectivity-error';
  }
}

export function transportOf(jingle: Element): Element {
  return need(need(jingle, 'content'), 'transport');
}

function transportNs(content: Element | undefined): string {
  return (
    content
      ?.getChildElements()
      .find((child) => child.getName() === 'transport')
      ?.getNS() ?? ''
  );
}

function outOfOrder(): StanzaError {
  const detail = xml('out-of-order', { xmlns: JINGLE_ERRORS });
  return new StanzaError('wait', 'unexpected-request', undefined, detail);
}

export function write(output: Writable, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    // A stream that is cut shows elsewhere: here it only must not hold the script up.
    output.write(bytes, () => resolve());
  });
}
