/**
 * What a Jingle transport method is to the rest (XEP-0166 §5): the interface that the folders of
 * src/transport implement, known here only through the registry.
 */
import type { Duplex } from 'node:stream';
import type { Element } from '@xmpp/xml';
import type { Clock } from '../core/clock.ts';
import type { Jid } from '../core/jid.ts';
import type { Connection } from '../xmpp/connection.ts';

/** How the bytes go, as shown to the user. `via` is an address or the proxy's name; empty in-band. */
export interface Route {
  readonly kind: 'direct' | 'proxy' | 'ibb';
  readonly via: string;
}

/** What the user allows this side to offer and to connect to. */
export interface RoutePolicy {
  /** Kinds that may be offered and tried. */
  readonly kinds: ReadonlySet<Route['kind']>;
  /** False: no listener, no direct candidate, no connection to any candidate of the peer's but via `socks`. */
  readonly direct: boolean;
  /** The user's own SOCKS5 proxy for outgoing connections. */
  readonly socks:
    | {
        readonly host: string;
        readonly port: number;
        readonly username?: string;
        readonly password?: string;
      }
    | undefined;
  /** Ports for the listener, inclusive; undefined: any free one. */
  readonly ports: { readonly first: number; readonly last: number } | undefined;
  /** Offer the addresses of container bridges, too; link-local ones never. */
  readonly allInterfaces: boolean;
}

/** A bytestream that both sides agreed on. */
export interface Bytestream {
  readonly route: Route;
  /** Half-open: `end()` says that no more is written; reading goes on. Honours back-pressure. */
  readonly duplex: Duplex;
  /** How many of the bytes written the other side or the kernel has taken: what progress may show. */
  taken(): number;
  /**
   * True: nothing else reads a buffer that was read from it, or that was written once its callback is
   * called, so that its memory may be freed at once.
   */
  readonly buffersAreFree?: true;
}

/** The surroundings of one content's transport. */
export interface TransportContext {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly self: Jid;
  readonly peer: Jid;
  /** Our role in the Jingle session. */
  readonly role: 'initiator' | 'responder';
  readonly policy: RoutePolicy;
  /** Sends a `<transport/>` in a transport-info of this content. */
  sendInfo(transport: Element): Promise<void>;
  /** A line for `--verbose`. */
  log(line: string): void;
}

/** One content's transport, from its offer to the bytestream. Nothing is connected to before `connect`. */
export interface Negotiation {
  readonly namespace: string;
  /** Our `<transport/>` for session-initiate, session-accept, transport-replace or transport-accept. */
  local(): Promise<Element>;
  /** The peer's `<transport/>` from its initiate, accept or replace. @throws StanzaError `bad-request` */
  remote(transport: Element): void;
  /** The peer's `<transport/>` from a transport-info; may come before the accept. @throws StanzaError */
  info(transport: Element): void;
  /** Both sides consented: opens the bytestream. @throws TransportFailed when this method cannot. */
  connect(signal: AbortSignal): Promise<Bytestream>;
  /** Frees listeners and sockets. Never rejects. */
  close(): Promise<void>;
}

/** A transport method as registered: one folder, one registration. */
export interface TransportMethod {
  /** Namespace of its `<transport/>`. */
  readonly namespace: string;
  /** What disco#info advertises for it. */
  readonly features: readonly string[];
  /** Whether the policy lets it be used at all. */
  usable(policy: RoutePolicy): boolean;
  /** Asks our own server early for what a negotiation will need; nothing of the peer. Never rejects. */
  prepare?(context: Pick<TransportContext, 'connection' | 'policy' | 'clock'>): Promise<void>;
  /** An offer of it can be answered with nothing to connect to, so that the initiator replaces it. */
  readonly refusable?: true;
  /** Starts a negotiation of a content: `sid` as the offerer chose it, undefined to choose one. */
  negotiate(context: TransportContext, sid: string | undefined): Negotiation;
}

/** This transport cannot carry the content: the initiator may replace it (XEP-0260 §2.5). */
export class TransportFailed extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'TransportFailed';
  }
}

/** The transports in the order of preference. */
export class TransportRegistry {
  readonly #methods = new Map<string, TransportMethod>();

  register(method: TransportMethod): void {
    this.#methods.set(method.namespace, method);
  }

  get(namespace: string): TransportMethod | undefined {
    return this.#methods.get(namespace);
  }

  /** All that the policy allows, preferred first. */
  usable(policy: RoutePolicy): TransportMethod[] {
    return [...this.#methods.values()].filter((method) => method.usable(policy));
  }

  get features(): string[] {
    return [...this.#methods.values()].flatMap((method) => method.features);
  }
}
