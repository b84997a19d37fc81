/**
 * XEP-0166 1.1.2, Jingle: the contents of one session (§7.2). Each begins and ends by itself, and is to the
 * transfer of its file what a session with one content is.
 */
import type { Cancel, Clock } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { StanzaError } from '../xmpp/connection.ts';
import { attr, type Element } from '../xmpp/xml.ts';
import type { ContentAction, End, SessionHandler } from './handler.ts';
import type { Role } from './machine.ts';
import { jingleError, type Session } from './session.ts';
import { badRequest, contentKey, type Condition, type Content, type Creator } from './stanza.ts';

/** A session as the transfer of one content has it: all of one, or its part of one with several. */
export type ContentSession = Pick<
  Session,
  | 'sid'
  | 'peer'
  | 'role'
  | 'accept'
  | 'info'
  | 'transportInfo'
  | 'replaceTransport'
  | 'acceptTransport'
  | 'rejectTransport'
  | 'terminate'
>;

/** Puts a content together, once it is known in which session it is. */
export type Composes = (session: ContentSession) => Promise<readonly Content[]>;

/** Most contents of a session at the same time: more are refused. */
export const MOST_AT_ONCE = 16;
/** Most contents of a session in all: what is offered after them has the next session. */
export const MOST_IN_ALL = 1000;
/** Milliseconds that a session lasts for which its initiator has announced more contents, without any. */
export const IDLE_MS = 60_000;

/** What the contents of a session need beside it. */
export interface ContentsOptions {
  readonly clock: Clock;
  readonly log: (line: string) => void;
  /**
   * Of the responder: decides about what the session begins with, or a content that is added; who takes it is told
   * of it. Undefined once it was refused.
   */
  readonly offered?: (
    contents: readonly Content[],
    session: ContentSession,
  ) => Promise<SessionHandler | undefined>;
}

/** The contents of a session, as its handler. The initiator alone adds some. */
export class Contents implements SessionHandler {
  /** Resolves when the first content was accepted: true, or when nothing can be added any more. */
  readonly accepting: Promise<boolean>;
  readonly #session: Session;
  readonly #options: ContentsOptions;
  readonly #lanes = new Map<string, Lane>();
  /** Those that have not ended, also before they have a name. */
  readonly #live = new Set<Lane>();
  #phase: 'pending' | 'active' | 'ended' = 'pending';
  #count = 0;
  /** Whether more contents are to be expected. */
  #stays = false;
  #idle: Cancel = () => undefined;
  #resolveAccepting: (active: boolean) => void = () => undefined;

  constructor(session: Session, options: ContentsOptions) {
    this.#session = session;
    this.#options = options;
    this.accepting = new Promise((resolve) => (this.#resolveAccepting = resolve));
  }

  /** Whether a content for this full address may be added, now or once the first is accepted. */
  takesMore(of: Jid): boolean {
    return (
      this.#session.peer.equals(of) &&
      this.#stays &&
      this.#phase !== 'ended' &&
      this.#count < MOST_IN_ALL
    );
  }

  /** More contents are to come: the end of one is not that of the session. */
  stay(): void {
    this.#stays = true;
  }

  /** No more contents are to come: with the last one the session ends. Never rejects. */
  async close(): Promise<void> {
    this.#stays = false;
    await this.#endIdle();
  }

  /**
   * Of the initiator: puts the first content together.
   *
   * @param handler - is told what becomes of it
   */
  async compose(composes: Composes, handler: SessionHandler): Promise<readonly Content[]> {
    const lane = this.#lane(true, handler);
    const contents = await composes(lane);
    this.#name(lane, contents);
    return contents;
  }

  /**
   * Of the initiator: adds a content to a session that was accepted; resolves when the peer has acknowledged it.
   *
   * @throws StanzaError when it refuses it; what `composes` rejects with
   */
  async add(composes: Composes, handler: SessionHandler): Promise<void> {
    const lane = this.#lane(false, handler);
    try {
      const contents = await composes(lane);
      if (lane.over) throw new Error('it ended before it was offered');
      this.#name(lane, contents);
      await this.#session.content('content-add', contents);
    } catch (error) {
      if (lane.over) throw error;
      this.#drop(lane);
      if (error instanceof StanzaError)
        await handler.ended({ by: 'peer', reason: 'general-error' });
      throw error;
    }
  }

  /** Of the responder: takes what the session began with. @returns false when it is over by that */
  async begin(contents: readonly Content[]): Promise<boolean> {
    const lane = this.#lane(true);
    this.#name(lane, contents);
    lane.handler = await this.#options.offered?.(contents, lane);
    return lane.handler !== undefined;
  }

  async accepted(contents: readonly Content[]): Promise<void> {
    this.#phase = 'active';
    this.#resolveAccepting(true);
    for (const lane of this.#live) if (lane.first) await lane.handler?.accepted(contents);
  }

  transportInfo(creator: Creator, name: string, transport: Element): Promise<void> | void {
    return this.#of(creator, name)?.transportInfo(creator, name, transport);
  }

  transportReplace(creator: Creator, name: string, transport: Element): Promise<void> | void {
    return this.#of(creator, name)?.transportReplace(creator, name, transport);
  }

  transportAccepted(creator: Creator, name: string, transport: Element): Promise<void> | void {
    return this.#of(creator, name)?.transportAccepted(creator, name, transport);
  }

  transportRejected(creator: Creator, name: string): Promise<void> | void {
    return this.#of(creator, name)?.transportRejected(creator, name);
  }

  /** What names a content is for that one; all else is for the only one, where there was never another. */
  info(payload: Element, action: 'session-info'): Promise<void> | void {
    const [only, ...others] = this.#lanes.values();
    if (others.length === 0)
      return only?.over === false ? only.handler?.info(payload, action) : undefined;
    const name = attr(payload, 'name');
    const creator = attr(payload, 'creator') === 'responder' ? 'responder' : 'initiator';
    if (name === undefined) throw jingleError('unsupported');
    return this.#of(creator, name)?.info(payload, action);
  }

  async content(
    action: ContentAction,
    contents: readonly Content[],
    end: Omit<End, 'by'>,
  ): Promise<void> {
    if (action === 'content-add') return this.#added(contents);
    for (const content of contents) {
      const lane = this.#lanes.get(contentKey(content));
      if (lane === undefined || lane.over) continue;
      const ours = this.#session.role === 'initiator';
      if (action === 'content-remove') await this.#ended(lane, end);
      else if (!ours || lane.first || lane.accepted) throw jingleError('out-of-order');
      else if (action === 'content-reject') await this.#ended(lane, end);
      else {
        lane.accepted = true;
        await lane.handler?.accepted([content]);
      }
    }
  }

  /** Those whose bytestream is alive go on: it tells by itself. */
  peerUnavailable(): boolean {
    const gone = [...this.#live].filter(
      ({ handler }) => handler === undefined || handler.peerUnavailable?.() === true,
    );
    if (gone.length === this.#live.size) return true;
    for (const lane of gone) this.#tell(this.#drop(lane), { by: 'gone', reason: 'gone' });
    return false;
  }

  ended(end: End): void {
    this.#phase = 'ended';
    this.#idle();
    this.#resolveAccepting(false);
    for (const lane of [...this.#live]) this.#tell(this.#drop(lane), end);
  }

  /** This side ends a content; resolves as `Session.terminate`. */
  async end(lane: Lane, reason: Condition, last: Omit<End, 'by' | 'reason'> = {}): Promise<void> {
    if (lane.over) return;
    this.#drop(lane);
    const { content } = lane;
    if (content === undefined && !lane.first) return this.#endIdle();
    const alone = this.#live.size === 0 && !this.#stays;
    if (content === undefined || this.#phase !== 'active' || alone)
      return this.#session.terminate(reason, last);
    const rejects = this.#session.role === 'responder' && !lane.accepted;
    const action = rejects ? 'content-reject' : 'content-remove';
    await this.#session.dismiss(action, content, { reason, ...last });
    await this.#endIdle();
  }

  /** The responder has accepted a content. */
  accept(lane: Lane, contents: readonly Content[]): Promise<void> {
    lane.accepted = true;
    if (!lane.first) return this.#session.content('content-accept', contents);
    this.#phase = 'active';
    return this.#session.accept(contents);
  }

  async #added(contents: readonly Content[]): Promise<void> {
    const { offered } = this.#options;
    if (offered === undefined || !this.#stays) throw jingleError('unsupported');
    if (contents.some(({ creator }) => creator !== 'initiator'))
      throw badRequest('another creator');
    if (contents.some((content) => this.#lanes.has(contentKey(content))))
      throw badRequest('a content of that name was there before');
    if (this.#live.size + contents.length > MOST_AT_ONCE || this.#count >= MOST_IN_ALL)
      throw new StanzaError('wait', 'resource-constraint', 'too many contents');
    for (const content of contents) {
      const lane = this.#lane(false);
      this.#name(lane, [content]);
      lane.handler = await offered([content], lane);
    }
  }

  async #ended(lane: Lane, end: Omit<End, 'by'>): Promise<void> {
    const handler = this.#drop(lane);
    try {
      await handler?.ended({ by: 'peer', ...end });
    } finally {
      // The peer waits for the answer to its stanza.
      void this.#endIdle();
    }
  }

  #tell(handler: SessionHandler | undefined, end: End): void {
    Promise.resolve(handler?.ended(end)).catch((error: unknown) =>
      this.#options.log(`end of a content: ${messageOf(error)}`),
    );
  }

  /** A session without contents ends: at once, or when those that were announced do not come. */
  async #endIdle(): Promise<void> {
    if (this.#live.size > 0 || this.#phase === 'ended') return;
    if (!this.#stays) await this.#session.terminate('success');
    else if (this.#session.role === 'responder') {
      this.#idle();
      this.#idle = this.#options.clock.after(IDLE_MS, () => {
        void this.#session.terminate('timeout');
      });
    }
  }

  #lane(first: boolean, handler?: SessionHandler): Lane {
    this.#idle();
    const lane = new Lane(this, this.#session, first, handler);
    this.#live.add(lane);
    this.#count += 1;
    return lane;
  }

  #name(lane: Lane, [content]: readonly Content[]): void {
    if (content === undefined) return;
    const { creator, name } = content;
    lane.content = { creator, name, senders: content.senders };
    this.#lanes.set(contentKey(content), lane);
  }

  /** Its name stays known, whoever was told of it does not: a session may have had very many. */
  #drop(lane: Lane): SessionHandler | undefined {
    const { handler } = lane;
    lane.over = true;
    lane.handler = undefined;
    this.#live.delete(lane);
    return handler;
  }

  /** Who is told of a content; of one that has ended nobody: what still comes for it is late. */
  #of(creator: Creator, name: string): SessionHandler | undefined {
    const lane = this.#lanes.get(contentKey({ creator, name }));
    return lane?.over === false ? lane.handler : undefined;
  }
}

/** One content. */
class Lane implements ContentSession {
  readonly first: boolean;
  handler: SessionHandler | undefined;
  content: Content | undefined;
  accepted = false;
  over = false;
  readonly #all: Contents;
  readonly #session: Session;

  constructor(all: Contents, session: Session, first: boolean, handler?: SessionHandler) {
    this.#all = all;
    this.#session = session;
    this.first = first;
    this.handler = handler;
  }

  get sid(): string {
    return this.#session.sid;
  }

  get peer(): Jid {
    return this.#session.peer;
  }

  get role(): Role {
    return this.#session.role;
  }

  accept: ContentSession['accept'] = (contents) => this.#all.accept(this, contents);

  info: ContentSession['info'] = (payloads) => this.#session.info(payloads);

  transportInfo: ContentSession['transportInfo'] = (...args) =>
    this.#session.transportInfo(...args);

  replaceTransport: ContentSession['replaceTransport'] = (...args) =>
    this.#session.replaceTransport(...args);

  acceptTransport: ContentSession['acceptTransport'] = (...args) =>
    this.#session.acceptTransport(...args);

  rejectTransport: ContentSession['rejectTransport'] = (...args) =>
    this.#session.rejectTransport(...args);

  terminate: ContentSession['terminate'] = (reason, last) => this.#all.end(this, reason, last);
}
