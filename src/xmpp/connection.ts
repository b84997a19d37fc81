/** What the rest of the program sees of an XMPP stream (RFC 6120). The implementation is in `connect.ts`. */
import type { Element } from '@xmpp/xml';
import type { Jid } from '../core/jid.ts';

/** A request that came in (RFC 6120 §8.2.3), its sender prepared. */
export interface IncomingIq {
  readonly from: Jid;
  readonly type: 'get' | 'set';
  readonly id: string;
  readonly payload: Element;
}

/**
 * Answers a request: the payload of the result, undefined for an empty one. A StanzaError thrown is
 * the error sent back; anything else thrown becomes `internal-server-error`.
 */
export type IqHandler = (iq: IncomingIq) => Promise<Element | undefined> | Element | undefined;

/** online → lost (reconnecting, stanzas queued when the stream can be resumed) → online or closed. */
export type ConnectionState =
  | { readonly kind: 'online'; readonly resumed: boolean }
  | { readonly kind: 'lost'; readonly reason: string }
  | { readonly kind: 'closed'; readonly reason: string };

/** An authenticated, bound stream over verified TLS. */
export interface Connection {
  /** Our full address as the server bound it. */
  readonly jid: Jid;
  /** True when the server itself was reached over a loopback address. */
  readonly loopback: boolean;
  /** The largest stanza in bytes that the server states to take (XEP-0478), if it does. */
  readonly maxStanza: number | undefined;
  /** The local address of the stream's socket; undefined through a proxy of the user. */
  readonly localAddress: string | undefined;

  /**
   * Sends a request and gives the child of the result, if there is one. Only a reply from `to` counts.
   *
   * @param to - the addressee, or null for our own account at the server
   * @param options - `timeout` in ms (default 20,000)
   * @throws StanzaError when the reply is an error; condition `remote-server-timeout` when there is
   * none in time, `disconnect` (not an RFC 6120 condition) when the stream is lost.
   */
  iq(
    to: Jid | null,
    type: 'get' | 'set',
    payload: Element,
    options?: { readonly timeout?: number; readonly signal?: AbortSignal },
  ): Promise<Element | undefined>;

  /** Writes a message or presence; resolves when the socket took it. */
  send(stanza: Element): Promise<void>;

  /** Registers the one handler for requests whose payload has this namespace (and name). Returns its removal. */
  onIq(namespace: string, name: string | undefined, handler: IqHandler): () => void;
  /** `from` is our bare address when the server left it out. Returns the removal. */
  onMessage(listener: (message: Element, from: Jid) => void): () => void;
  onPresence(listener: (presence: Element, from: Jid) => void): () => void;
  onState(listener: (state: ConnectionState) => void): () => void;

  /**
   * Who besides our own account and server gets answers at all; to everybody else every request is
   * `service-unavailable`, as from a resource that is not there. Default: nobody.
   */
  audience: (from: Jid) => boolean;

  /** Ends the stream: unavailable, closing tag, socket. Never rejects; bounded in time. */
  close(): Promise<void>;
}

/** An error stanza (RFC 6120 §8.3), received or to be sent. */
export class StanzaError extends Error {
  readonly type: 'auth' | 'cancel' | 'continue' | 'modify' | 'wait';
  readonly condition: string;
  readonly text: string | undefined;
  /** The application-specific condition, if any. */
  readonly application: Element | undefined;

  constructor(type: StanzaError['type'], condition: string, text?: string, application?: Element) {
    super(text === undefined ? condition : `${condition}: ${text}`);
    this.name = 'StanzaError';
    this.type = type;
    this.condition = condition;
    this.text = text;
    this.application = application;
  }
}
