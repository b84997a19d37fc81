/** XEP-0166 1.1.2, Jingle: one session, the driver of the machine in `machine.ts`. */
import { makeRoom } from '../core/bounded.ts';
import type { Clock } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { Connection } from '../xmpp/connection.ts';
import { StanzaError } from '../xmpp/connection.ts';
import { xml } from '../xmpp/xml.ts';
import type { Element } from '../xmpp/xml.ts';
import type { End, SessionHandler } from './handler.ts';
import type { Effect, Event, Failure, Role, State } from './machine.ts';
import { begin, step } from './machine.ts';
import type { Action, Condition, Content, Creator, Jingle } from './stanza.ts';
import { JINGLE_ERRORS, badRequest, contentKey, encodeJingle } from './stanza.ts';

/** How long the peer may take to acknowledge a stanza, in ms. */
export const ACK_MS = 60_000;
/** How long the farewell may take, in ms. */
export const FAREWELL_MS = 10_000;
const MAX_QUEUE = 64;
const MAX_SEEN = 128;

/** What a session needs of its owner. */
export interface Surroundings {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly log: (line: string) => void;
  readonly ended: (session: Session) => void;
}

type Part = Partial<Omit<Jingle, 'action' | 'sid'>>;

/** A session with one full JID. */
export class Session {
  readonly sid: string;
  readonly peer: Jid;
  readonly role: Role;
  readonly initiator: Jid;
  /** Resolves at once when the session ends, before the handler is told. */
  readonly ended: Promise<End>;

  readonly #around: Surroundings;
  readonly #known = new Set<string>();
  readonly #seen = new Map<string, Promise<undefined>>();
  readonly #handler: Promise<SessionHandler>;
  #state: State;
  #decide: (handler: SessionHandler | Promise<SessionHandler>) => void = () => undefined;
  #resolveEnded: (end: End) => void = () => undefined;
  #current: SessionHandler | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(
    around: Surroundings,
    identity: {
      readonly sid: string;
      readonly peer: Jid;
      readonly role: Role;
      readonly initiator: Jid;
    },
  ) {
    this.#around = around;
    this.sid = identity.sid;
    this.peer = identity.peer;
    this.role = identity.role;
    this.initiator = identity.initiator;
    this.#state = begin(identity.role);
    this.#handler = new Promise((resolve) => (this.#decide = resolve));
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
  }

  /** Consents to the offer, with our side of each content. */
  accept(contents: readonly Content[]): Promise<void> {
    return this.#send('session-accept', { contents, responder: this.#around.connection.jid });
  }

  /** Sends a session-info; none for a ping (§6.8). What the peer does not understand it ignores. */
  info(payloads: readonly Element[]): Promise<void> {
    return this.#send('session-info', { payloads });
  }

  /** Says that the user is being asked (XEP-0167's `ringing`, the one such message there is). */
  ring(): Promise<void> {
    return this.info([xml('ringing', { xmlns: 'urn:xmpp:jingle:apps:rtp:info:1' })]);
  }

  transportInfo(creator: Creator, name: string, transport: Element): Promise<void> {
    return this.#transport('transport-info', creator, name, transport);
  }

  replaceTransport(creator: Creator, name: string, transport: Element): Promise<void> {
    return this.#transport('transport-replace', creator, name, transport);
  }

  acceptTransport(creator: Creator, name: string, transport: Element): Promise<void> {
    return this.#transport('transport-accept', creator, name, transport);
  }

  rejectTransport(creator: Creator, name: string, transport: Element): Promise<void> {
    return this.#transport('transport-reject', creator, name, transport);
  }

  /** Adds or accepts contents after the start. @throws StanzaError when what is added is refused */
  content(action: 'content-add' | 'content-accept', contents: readonly Content[]): Promise<void> {
    for (const content of contents) this.#known.add(contentKey(content));
    return this.#send(action, { contents });
  }

  /**
   * Rejects or removes a content; resolves when the peer knows, or cannot be told in time. Never rejects: what
   * becomes of the other contents does not hang on it.
   */
  async dismiss(
    action: 'content-reject' | 'content-remove',
    { creator, name, senders }: Content,
    end: Omit<End, 'by'>,
  ): Promise<void> {
    const { state, effects } = step(this.#state, { type: 'send', action });
    if (effects.some((effect) => effect.type === 'misuse')) return;
    this.#state = state;
    await this.#last(action, { contents: [{ creator, name, senders }] }, end);
  }

  /** Ends the session; resolves when the peer knows, or cannot be told in time. Never rejects. */
  async terminate(reason: Condition, last: Omit<End, 'by' | 'reason'> = {}): Promise<void> {
    const end: End = { by: 'self', reason, ...last };
    await this.#perform({ type: 'send', action: 'session-terminate', reason }, end);
  }

  /** Sends the session-initiate. @throws StanzaError of the peer */
  async initiate(contents: readonly Content[]): Promise<void> {
    for (const content of contents) this.#known.add(contentKey(content));
    await this.#request('session-initiate', { contents, initiator: this.initiator });
  }

  /** Takes note of the session-initiate that began this session. */
  offered({ contents }: Jingle): void {
    for (const content of contents) this.#known.add(contentKey(content));
  }

  /** Sets who is told. A promise that rejects ends the session. */
  decide(handler: SessionHandler | Promise<SessionHandler>): void {
    this.#decide(handler);
    this.#handler.then(
      (decided) => (this.#current = decided),
      (error: unknown) => {
        this.#around.log(`session refused: ${messageOf(error)}`);
        void this.terminate('failed-application');
      },
    );
  }

  /** Ends without a word: the session-initiate is being refused. */
  drop(): void {
    void this.#perform({ type: 'peer-gone' });
  }

  /** The stream is closed. */
  lost(): void {
    void this.#perform({ type: 'failed', action: 'session-info', failure: 'lost' });
  }

  /** The peer's resource went offline. */
  peerUnavailable(): void {
    const ends = this.#current?.peerUnavailable?.() ?? !this.#current;
    if (ends) void this.#perform({ type: 'peer-gone' });
  }

  /** Takes a stanza of the peer; resolves when it may be acknowledged. @throws StanzaError */
  receive(id: string, jingle: Jingle): Promise<undefined> {
    const before = this.#seen.get(id);
    if (before) return before;
    const answer = this.#take(jingle);
    makeRoom(this.#seen, id, MAX_SEEN);
    this.#seen.set(id, answer);
    return answer;
  }

  async #take(jingle: Jingle): Promise<undefined> {
    const { action, contents } = jingle;
    const [content] = contents;
    const live = this.#state.phase !== 'ended';
    const transport = action.startsWith('transport-');
    if (live && action !== 'session-initiate') this.#check(jingle, transport);
    const key = transport && content ? contentKey(content) : undefined;
    const event: Event = { type: 'receive', action, ...(key !== undefined && { content: key }) };
    if (live && this.#waiting >= MAX_QUEUE && action !== 'session-terminate')
      throw new StanzaError('wait', 'resource-constraint', 'too many stanzas at once');
    const { state, effects } = step(this.#state, event);
    this.#state = state;
    let told: Promise<void> | undefined;
    for (const effect of effects) {
      if (effect.type === 'refuse') throw jingleError(effect.error);
      else if (effect.type === 'deliver') told = this.#enqueue((to) => this.#deliver(to, jingle));
      else if (effect.type === 'withdrawn') this.#withdrawn(effect.content);
      else if (effect.type === 'end') this.#end(endOf(jingle));
    }
    // Before the decision of a user nobody answers: the peer must not take that for silence.
    if (told && this.#current) await told;
    else told?.catch((error: unknown) => this.#failedLate(error));
    return undefined;
  }

  #check(jingle: Jingle, transport: boolean): void {
    const { action, contents, responder } = jingle;
    if (transport && contents.length !== 1) throw badRequest('one content at a time');
    if (transport && !contents[0]?.transport) throw badRequest('no transport');
    if (action === 'session-accept' && responder && !responder.equals(this.peer))
      throw badRequest('another responder');
    if (action === 'content-add') return;
    if (contents.some((content) => !this.#known.has(contentKey(content))))
      throw badRequest('unknown content');
  }

  async #deliver(to: SessionHandler, jingle: Jingle): Promise<void> {
    const { action, contents, payloads } = jingle;
    const [content] = contents;
    if (action === 'session-accept') return to.accepted(contents);
    if (action === 'session-info') {
      for (const payload of payloads) await to.info(payload, action);
    } else if (action.startsWith('content-')) await this.#content(to, jingle);
    else if (content?.transport) {
      const { creator, name, transport } = content;
      if (action === 'transport-info') await to.transportInfo(creator, name, transport);
      if (action === 'transport-replace') await to.transportReplace(creator, name, transport);
      if (action === 'transport-accept') await to.transportAccepted(creator, name, transport);
      if (action === 'transport-reject') await to.transportRejected(creator, name);
    }
  }

  async #content(to: SessionHandler, jingle: Jingle): Promise<void> {
    const { action, contents } = jingle;
    const known = CONTENT_ACTIONS.find((word) => word === action);
    if (!to.content || !known) throw jingleError('unsupported');
    if (known === 'content-add')
      for (const content of contents) this.#known.add(contentKey(content));
    await to.content(known, contents, endOf(jingle));
  }

  #enqueue(task: (handler: SessionHandler) => Promise<void> | void): Promise<void> {
    this.#waiting += 1;
    const done = this.#queue.then(async () => {
      try {
        await task(await this.#handler);
      } finally {
        this.#waiting -= 1;
      }
    });
    this.#queue = done.catch(() => undefined);
    return done;
  }

  #failedLate(error: unknown): void {
    this.#around.log(`session failed: ${messageOf(error)}`);
    void this.terminate('general-error');
  }

  #withdrawn(key: string): void {
    const cut = key.indexOf('/');
    const creator = key.slice(0, cut) === 'initiator' ? 'initiator' : 'responder';
    this.#enqueue((to) => to.transportRejected(creator, key.slice(cut + 1))).catch(
      (error: unknown) => this.#failedLate(error),
    );
  }

  #transport(action: Action, creator: Creator, name: string, transport: Element): Promise<void> {
    return this.#send(action, { contents: [{ creator, name, senders: 'both', transport }] });
  }

  async #send(action: Action, part: Part): Promise<void> {
    const [content] = part.contents ?? [];
    const key = action.startsWith('transport-') && content ? contentKey(content) : undefined;
    const { state, effects } = step(this.#state, {
      type: 'send',
      action,
      ...(key !== undefined && { content: key }),
    });
    if (effects.some((effect) => effect.type === 'misuse'))
      throw new StanzaError('cancel', 'unexpected-request', `${action} is out of order`);
    this.#state = state;
    await this.#request(action, part, key);
  }

  async #request(action: Action, part: Part, key?: string): Promise<void> {
    try {
      await this.#write(action, part, ACK_MS);
      await this.#perform({ type: 'acknowledged', action });
    } catch (error) {
      const failure = failureOf(error);
      const content = key === undefined ? {} : { content: key };
      await this.#perform({ type: 'failed', action, failure, ...content });
      if (this.#state.phase === 'ended' || action === 'content-add') throw error;
    }
  }

  #write(action: Action, part: Part, timeout: number): Promise<Element | undefined> {
    const jingle = encodeJingle({ contents: [], payloads: [], ...part, action, sid: this.sid });
    return this.#around.connection.iq(this.peer, 'set', jingle, { timeout });
  }

  async #perform(event: Event, detail?: End): Promise<void> {
    const { state, effects } = step(this.#state, event);
    this.#state = state;
    let farewell: Promise<unknown> | undefined;
    for (const effect of effects) {
      if (effect.type === 'terminate') farewell = this.#farewell(effect, detail);
      else if (effect.type === 'withdrawn') this.#withdrawn(effect.content);
      else if (effect.type === 'end') this.#end(detail ?? { by: effect.by, reason: effect.reason });
    }
    await farewell;
  }

  #farewell(effect: Effect & { type: 'terminate' }, detail: End | undefined): Promise<void> {
    return this.#last('session-terminate', {}, { ...detail, reason: effect.reason });
  }

  /** The last word about a session or a content. */
  async #last(action: Action, part: Part, end: Omit<End, 'by'>): Promise<void> {
    const { reason: condition, text, application, payloads = [] } = end;
    const reason = {
      condition,
      ...(text !== undefined && { text }),
      ...(application && { application }),
    };
    try {
      await this.#write(action, { ...part, reason, payloads }, FAREWELL_MS);
    } catch (error) {
      this.#around.log(`the peer did not hear the ${action}: ${messageOf(error)}`);
    }
  }

  #end(end: End): void {
    this.#around.ended(this);
    this.#resolveEnded(end);
    this.#enqueue((to) => to.ended(end)).catch((error: unknown) => {
      this.#around.log(`end of session: ${messageOf(error)}`);
    });
  }
}

const CONTENT_ACTIONS = [
  'content-accept',
  'content-add',
  'content-reject',
  'content-remove',
] as const;

function endOf({ reason, payloads }: Jingle): End {
  const { condition = 'general-error', text, application } = reason ?? {};
  return {
    by: 'peer',
    reason: condition,
    ...(text !== undefined && { text }),
    ...(application && { application }),
    payloads,
  };
}

/** Jingle's own errors (§10). */
export function jingleError(
  error: 'out-of-order' | 'tie-break' | 'unknown-session' | 'unsupported',
): StanzaError {
  const detail = xml(error, { xmlns: JINGLE_ERRORS });
  if (error === 'unknown-session')
    return new StanzaError('cancel', 'item-not-found', undefined, detail);
  if (error === 'tie-break') return new StanzaError('cancel', 'conflict', undefined, detail);
  if (error === 'out-of-order')
    return new StanzaError('wait', 'unexpected-request', undefined, detail);
  const unsupported = xml('unsupported-info', { xmlns: JINGLE_ERRORS });
  return new StanzaError('modify', 'feature-not-implemented', undefined, unsupported);
}

/** What an error reply, or none, means to the session. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof StanzaError)) return 'refused';
  if (error.condition === 'remote-server-timeout') return 'timeout';
  if (error.condition === 'disconnect') return 'lost';
  if (error.application && isTieBreak(error.application)) return 'tie-break';
  if (GONE.has(error.condition)) return 'gone';
  return error.condition === 'feature-not-implemented' ? 'unsupported' : 'refused';
}

const GONE = new Set(['item-not-found', 'recipient-unavailable', 'service-unavailable']);

function isTieBreak(element: Element): boolean {
  const isIt = (one: Element) => one.is('tie-break', JINGLE_ERRORS);
  return isIt(element) || element.getChildElements().some(isIt);
}
