/** XEP-0166 1.1.2, Jingle: all sessions of a connection; finds the one that a stanza belongs to. */
import { randomId } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import type { Jid } from '../core/jid.ts';
import type { Connection, IncomingIq } from '../xmpp/connection.ts';
import { StanzaError } from '../xmpp/connection.ts';
import { attr } from '../xmpp/xml.ts';
import type { Element } from '../xmpp/xml.ts';
import { hashFeatures } from './hashes.ts';
import { fileFeatures } from './file-description.ts';
import type { Surroundings } from './session.ts';
import { Session, jingleError } from './session.ts';
import type { SessionHandler } from './handler.ts';
import type { Content, Jingle } from './stanza.ts';
import { JINGLE, badRequest, decodeJingle, sessionFeatures } from './stanza.ts';

/** Most live sessions of the whole program. */
export const MAX_SESSIONS = 256;
/** Most live sessions with one full JID. */
export const MAX_SESSIONS_PER_PEER = 64;
const REMEMBERED = 1024;
/** Longer than any server keeps a stanza for a stream that it may still resume. */
const REMEMBER_MS = 15 * 60_000;

/** What disco#info advertises for this folder. */
export const jingleFeatures: readonly string[] = [
  ...sessionFeatures,
  ...fileFeatures,
  ...hashFeatures,
];

/** A session-initiate that arrived. */
export interface IncomingSession {
  /** Its handler may be decided later; what arrives before is queued. */
  readonly session: Session;
  /** In the order of the stanza. */
  readonly contents: readonly Content[];
  readonly jingle: Jingle;
}

/**
 * Decides about a session-initiate: checks policy, then gives the handler. A StanzaError thrown at
 * once is the answer to the stanza; a promise is acknowledged at once, its rejection terminates.
 */
export type InitiateHandler = (
  incoming: IncomingSession,
) => SessionHandler | Promise<SessionHandler>;

/** The Jingle sessions of a connection. */
export class Sessions {
  readonly #around: Surroundings;
  readonly #live = new Map<string, Session>();
  readonly #ended = new Map<string, { readonly session: Session; readonly until: number }>();
  readonly #removals: (() => void)[];
  #onInitiate: InitiateHandler | undefined;

  constructor(options: {
    readonly connection: Connection;
    readonly clock: Clock;
    readonly log: (line: string) => void;
  }) {
    const { connection } = options;
    this.#around = { ...options, ended: (session) => this.#forget(session) };
    this.#removals = [
      connection.onIq(JINGLE, 'jingle', (iq) => this.#receive(iq)),
      connection.onPresence((presence, from) => this.#presence(presence, from)),
      connection.onState((state) => {
        if (state.kind === 'closed') this.#all((session) => session.lost());
      }),
    ];
  }

  /** How many sessions are live. */
  get size(): number {
    return this.#live.size;
  }

  /** Sets the one who decides about sessions of others; without one they are refused. */
  onInitiate(handler: InitiateHandler): void {
    this.#onInitiate = handler;
  }

  /**
   * Starts a session; resolves when the peer has acknowledged it, which is no consent.
   *
   * @param contents - made once the session has its id, for transports speak of it
   * @param handler - or what makes it, given the session before its first stanza leaves
   * @throws StanzaError of the peer; `resource-constraint` when too many sessions are live
   */
  async initiate(
    to: Jid,
    contents: (session: Session) => Promise<readonly Content[]> | readonly Content[],
    handler: SessionHandler | ((session: Session) => SessionHandler),
    sid = randomId(),
  ): Promise<Session> {
    if (!to.isFull) throw new TypeError('a session needs a full address');
    const key = keyOf(to, sid);
    if (this.#live.has(key) || this.#ended.has(key))
      throw new StanzaError('cancel', 'conflict', 'session id in use');
    this.#bound(to);
    const initiator = this.#around.connection.jid;
    const session = new Session(this.#around, { sid, peer: to, role: 'initiator', initiator });
    this.#live.set(key, session);
    session.decide(typeof handler === 'function' ? handler(session) : handler);
    let made: readonly Content[];
    try {
      made = await contents(session);
    } catch (error) {
      session.drop();
      throw error;
    }
    await session.initiate(made);
    return session;
  }

  /** Ends every session and stops listening. Never rejects. */
  async close(): Promise<void> {
    for (const remove of this.#removals) remove();
    await Promise.all([...this.#live.values()].map((session) => session.terminate('gone')));
  }

  #receive({ from, type, id, payload }: IncomingIq): Promise<undefined> {
    if (type !== 'set') throw badRequest('jingle is set, not got');
    if (!from.isFull) throw badRequest('a session needs a full address');
    const jingle = decodeJingle(payload);
    const key = keyOf(from, jingle.sid);
    const known = this.#live.get(key) ?? this.#ended.get(key)?.session;
    if (known) return known.receive(id, jingle);
    if (jingle.action !== 'session-initiate') throw jingleError('unknown-session');
    return this.#initiated(from, jingle, key);
  }

  #initiated(from: Jid, jingle: Jingle, key: string): Promise<undefined> {
    // Who acts is known from the stream alone; the attribute is a claim.
    if (jingle.initiator && !jingle.initiator.equals(from)) throw badRequest('another initiator');
    if (!this.#onInitiate) throw new StanzaError('cancel', 'service-unavailable');
    this.#bound(from);
    const session = new Session(this.#around, {
      sid: jingle.sid,
      peer: from,
      role: 'responder',
      initiator: from,
    });
    session.offered(jingle);
    this.#live.set(key, session);
    try {
      const decision = this.#onInitiate({ session, contents: jingle.contents, jingle });
      session.decide(decision);
    } catch (error) {
      session.drop();
      throw error;
    }
    return Promise.resolve(undefined);
  }

  #presence(presence: Element, from: Jid): void {
    if (attr(presence, 'type') !== 'unavailable') return;
    this.#all((session) => {
      if (session.peer.equals(from) || (!from.isFull && session.peer.sameBare(from)))
        session.peerUnavailable();
    });
  }

  #all(action: (session: Session) => void): void {
    for (const session of [...this.#live.values()]) action(session);
  }

  #bound(peer: Jid): void {
    let ofPeer = 0;
    for (const session of this.#live.values()) if (session.peer.equals(peer)) ofPeer += 1;
    if (this.#live.size >= MAX_SESSIONS || ofPeer >= MAX_SESSIONS_PER_PEER)
      throw new StanzaError('wait', 'resource-constraint', 'too many sessions');
  }

  /** Remembers what has ended: late stanzas are unknown, a repeated offer starts nothing. */
  #forget(session: Session): void {
    const key = keyOf(session.peer, session.sid);
    this.#live.delete(key);
    const now = this.#around.clock.monotonic();
    this.#ended.set(key, { session, until: now + REMEMBER_MS });
    for (const [old, { until }] of this.#ended) {
      if (until > now && this.#ended.size <= REMEMBERED) break;
      this.#ended.delete(old);
    }
  }
}

function keyOf(peer: Jid, sid: string): string {
  return `${peer.toString()}\n${sid}`;
}
