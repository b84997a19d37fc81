/**
 * One XML stream (RFC 6120 §4) over \@xmpp/client, which opens, frames and restarts it. Everything that
 * the library would do on its own (log in, follow redirections, reconnect, answer) is taken out: the
 * elements go to us alone, since it would send credentials over a stream that is not secure.
 */
import { client, jid as libraryJid, type Client } from '@xmpp/client';
import type { Element } from '@xmpp/xml';
import { within } from '../core/clock.ts';
import { StreamParser } from './parser.ts';
import type { Target } from './resolve.ts';
import { StreamSocket, type SocketOptions } from './socket.ts';
import { redacted } from './xml.ts';

const NS_STREAMS = 'http://etherx.jabber.org/streams';
const SERVICE = 'jet://stream';
/** The longest wait in ms for one step of the negotiation. */
export const STEP_TIMEOUT = 20_000;
const CLOSE_TIMEOUT = 1_000;
/** More elements than this before anybody reads them is an attack. */
const MOST_UNREAD = 256;

/** The server ended the stream with an error (RFC 6120 §4.9). */
export class StreamError extends Error {
  override readonly name = 'StreamError';
  readonly condition: string;
  /** Where `see-other-host` points to. */
  readonly otherHost: string | undefined;

  constructor(condition: string, otherHost?: string) {
    super(`the server ended the stream: ${condition}`);
    this.condition = condition;
    this.otherHost = otherHost;
  }
}

/** Options of a stream; `log` gets lines without secrets. */
export interface StreamOptions extends SocketOptions {
  /** Our bare address, told to the server only inside TLS; undefined to register. */
  readonly account?: string;
  readonly log?: (line: string) => void;
}

/** One stream, from the connected socket to its end. */
export class Stream {
  readonly target: Target;
  readonly socket: StreamSocket;
  readonly #options: StreamOptions;
  readonly #entity: Client;
  readonly #unread: Element[] = [];
  #wake: (() => void) | undefined;
  #failure: Error | undefined;
  #closing = false;
  #onElement: ((element: Element) => void) | undefined;
  #onLost: ((reason: Error) => void) | undefined;

  /** Connects the socket; rejects with what Node says. */
  static async connect(target: Target, options: StreamOptions): Promise<Stream> {
    const stream = new Stream(target, options);
    await stream.#entity.connect(SERVICE);
    return stream;
  }

  private constructor(target: Target, options: StreamOptions) {
    this.target = target;
    this.#options = options;
    const socket = new StreamSocket(target, options);
    this.socket = socket;
    const entity = client({ domain: options.domain, service: SERVICE, timeout: STEP_TIMEOUT });
    this.#entity = entity;
    entity.reconnect.stop();
    entity.removeAllListeners('send');
    entity._onElement = (element) => this.#take(element);
    entity.transports = [transport(entity, socket)];
    if (options.account !== undefined) entity.jid = libraryJid(options.account);
    entity.on('error', (error: unknown) => {
      this.#fail(error instanceof Error ? error : new Error('the stream failed'));
    });
    entity.on('close', () => {
      this.#fail(new Error('the server closed the stream'), this.#closing);
    });
    entity.on('disconnect', () => {
      // Also ends what the library still waits for, and its timers.
      entity.emit('error', new Error('the connection was lost'));
    });
  }

  /** Opens the stream and gives the features (RFC 6120 §4.3.2). */
  async open(): Promise<Element> {
    await this.#entity.open({ domain: this.#options.domain, lang: 'en' });
    return this.#features();
  }

  /** Opens the stream anew on the same socket, after TLS and after SASL. */
  async restart(): Promise<Element> {
    this.#refuseUnread();
    await this.#entity.restart();
    return this.#features();
  }

  /** Goes on inside TLS; nothing that was sent in the clear after `proceed` survives. */
  async startTls(): Promise<void> {
    this.#refuseUnread();
    await this.socket.startTls();
  }

  /** The next element during the negotiation. */
  async next(): Promise<Element> {
    const arrival = async () => {
      for (;;) {
        const element = this.#unread.shift();
        if (element !== undefined) return element;
        if (this.#failure !== undefined) throw this.#failure;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    };
    return within(this.#options.clock, STEP_TIMEOUT, arrival(), () => {
      const late = new Error('the server does not answer');
      this.destroy(late);
      return late;
    });
  }

  /** The next element that matches; stanzas before it are dropped, at most 64 of them. */
  async nextMatching(matches: (element: Element) => boolean): Promise<Element> {
    for (let dropped = 0; dropped < 64; dropped += 1) {
      const element = await this.next();
      if (matches(element)) return element;
    }
    throw new Error('the answer of the server is missing');
  }

  /** From here on elements go to a listener, those not yet read first; `onLost` is called once. */
  listen(onElement: (element: Element) => void, onLost: (reason: Error) => void): void {
    this.#onElement = onElement;
    this.#onLost = onLost;
    for (const element of this.#unread.splice(0)) onElement(element);
    if (this.#failure !== undefined) onLost(this.#failure);
  }

  /** Resolves when the socket took it. */
  async send(element: Element): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    // The last word was said (RFC 6120 §4.4): to a server more of it is XML that is not well-formed.
    if (this.#closing) throw new Error('the stream is closed');
    this.#options.log?.(`> ${redacted(element)}`);
    await this.#entity.send(element);
  }

  /** Closes the stream in order, within a second. Never rejects. */
  async close(): Promise<void> {
    this.#onLost = undefined;
    this.#closing = true;
    if (this.#failure === undefined) {
      const closed = new Promise<void>((resolve) => {
        this.socket.once('close', resolve);
        this.#entity.once('close', resolve);
      });
      const polite = this.#entity.write(this.#entity.footer()).then(() => closed);
      await within(this.#options.clock, CLOSE_TIMEOUT, polite, () => new Error('late')).catch(
        () => undefined,
      );
    }
    this.#fail(new Error('the stream is closed'), true);
  }

  /** Drops the connection. */
  destroy(reason: Error): void {
    this.#fail(reason);
  }

  async #features(): Promise<Element> {
    const element = await this.next();
    if (!element.is('features', NS_STREAMS)) throw new Error('the server sent no features');
    return element;
  }

  #take(element: Element): void {
    this.#options.log?.(`< ${redacted(element)}`);
    if (element.is('error', NS_STREAMS)) this.#fail(streamError(element));
    else if (this.#onElement !== undefined) this.#onElement(element);
    else if (this.#unread.length >= MOST_UNREAD) this.#fail(new Error('the server floods us'));
    else {
      this.#unread.push(element);
      this.#wake?.();
    }
  }

  #refuseUnread(): void {
    if (this.#unread.length === 0) return;
    const error = new Error('the server sent more than it may before the stream is secure');
    this.destroy(error);
    throw error;
  }

  #fail(error: Error, expected = false): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    if (!expected) this.#options.log?.(`! ${error.message}`);
    this.#wake?.();
    this.socket.destroy();
    this.#onLost?.(error);
  }
}

function streamError(element: Element): StreamError {
  const condition = element.getChildElements().find((child) => child.getName() !== 'text');
  const name = (condition?.getName() ?? 'undefined-condition').slice(0, 64);
  const host = name === 'see-other-host' ? condition?.text().trim().slice(0, 300) : undefined;
  return new StreamError(name, host);
}

/** The library's TCP transport with our socket and parser in it. */
function transport(entity: Client, socket: StreamSocket): Client['transports'][number] {
  const Tcp = entity.transports.find(({ prototype }) => {
    try {
      return prototype.socketParameters('xmpp://localhost:5222') !== undefined;
    } catch {
      return false;
    }
  });
  if (Tcp === undefined) throw new Error('the XMPP library has no TCP transport');
  class Ours extends Tcp {}
  Object.assign(Ours.prototype, {
    socketParameters: () => ({}),
    // Called with `new`, which gives the object that a function returns.
    Socket: function ours() {
      return socket;
    },
    Parser: StreamParser,
  });
  return Ours;
}
