/**
 * Performs the table of `machine.ts` for one content of a Jingle session: opens its transport,
 * replaces it where it fails (XEP-0260 §2.5), keeps every state's bound in time.
 */
import type { Element } from '@xmpp/xml';
import type { Cancel, Clock } from '../core/clock.ts';
import { asError, Exit, JetError, messageOf } from '../core/errors.ts';
import { SealedError } from '../jet/sealed.ts';
import { decodeFileError } from '../jingle/file-description.ts';
import type { End, SessionHandler } from '../jingle/handler.ts';
import type { ContentSession } from '../jingle/contents.ts';
import type { Content, Creator } from '../jingle/stanza.ts';
import {
  TransportFailed,
  type Bytestream,
  type Negotiation,
  type RoutePolicy,
  type TransportContext,
  type TransportMethod,
  type TransportRegistry,
} from '../jingle/transport.ts';
import { StanzaError, type Connection } from '../xmpp/connection.ts';
import {
  begin,
  BOUNDS,
  step,
  type Certainty,
  type ChecksumDue,
  type Effect,
  type Event,
  type Landing,
  type Part,
  type Receipt,
  type SessionEnd,
  type State,
} from './machine.ts';
import { farewellOf, type Farewell } from './outcome.ts';
import type { Records } from './journal/recorder.ts';
import { sealedFailure } from './sealed.ts';

/** What every transfer of an account shares. */
export interface Surroundings {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly transports: TransportRegistry;
  readonly policy: RoutePolicy;
  /** The journal. */
  readonly records: Records;
  /** A line for `--verbose`. */
  readonly log: (line: string) => void;
}

/** What the bytes are: the part that differs between sending and receiving. */
export interface Side {
  /** Our session-accept's content; only for the side that is offered something. */
  accepted?(transport: Element): Content;
  /** Reads the peer's session-accept before anything is connected to. @throws JetError, SealedError */
  consented?(content: Content): Promise<void> | void;
  /** A bytestream is there: moves all the bytes; tells whether a checksum is to come. */
  stream(bytestream: Bytestream, signal: AbortSignal): Promise<ChecksumDue>;
  /** The session-info that carries the digest. */
  checksum?(): Element;
  /** Reads a session-info: which of the things waited for it was, if any. @throws StanzaError, SealedError */
  info(payload: Element): 'checksum' | Receipt | undefined;
  /** What proves to the peer that the file has landed; only between two jets. */
  receipt?(): Element | undefined;
  /** What the peer's `<success/>` is worth. @throws JetError when a receipt is owed; SealedError */
  certainty?(payloads: readonly Element[]): Certainty;
  /** Bytes that have moved so far: what shows that the stream lives. */
  readonly moved: number;
  /** Of the side that sends: whether all its bytes are out. */
  readonly whole?: boolean;
  /** Compares hashes, moves the part to its name; `continues` when more of the file is to come. @throws JetError */
  land?(): Promise<Landing>;
  /** Milliseconds that a large file, read again as a whole, or many files, add to the wait for the proof. */
  readonly patience?: number;
  /** The peer is a jet: while it is waited for it says whether it is still there. */
  readonly asked?: boolean;
  /** Frees what it holds. Never rejects. */
  finish(outcome: SessionEnd): Promise<void>;
}

/** Milliseconds without a byte after which the peer is asked for a sign of life. */
const STALL_MS = 60_000;
/** Milliseconds between two such questions while the peer lands the file. */
const ASK_MS = 20_000;
/** How often in a row, before it is the end: a client may be there and take nothing any more. */
const MOST_STALLS = 2;

/** Milliseconds that the peer has to acknowledge an end that is no success. */
const IMPATIENT_MS = 2_000;

function stalled(): JetError {
  const seconds = (STALL_MS * MOST_STALLS) / 1000;
  return new JetError(
    Exit.transport,
    'stalled',
    `not a byte moved for ${seconds} seconds: the other side has given up without a word, or the network hangs. Try again.`,
  );
}

/** The content that a transfer is about. */
export interface ContentId {
  readonly creator: Creator;
  readonly name: string;
}

/** One file's way through one session. */
export class Transfer implements SessionHandler {
  /** Resolves with how it ended, after everything is freed. */
  readonly done: Promise<SessionEnd>;
  readonly #around: Surroundings;
  readonly #part: Part;
  readonly #content: ContentId;
  readonly #side: Side;
  readonly #abort = new AbortController();
  readonly #untried: TransportMethod[];
  #resolve: (outcome: SessionEnd) => void = () => undefined;
  #state: State;
  #answered = false;
  #session: ContentSession | undefined;
  #negotiation: Negotiation | undefined;
  #connecting: AbortController | undefined;
  #replacement: Element | undefined;
  #bound: Cancel = () => undefined;
  #stall: Cancel = () => undefined;
  #farewell: Promise<void> = Promise.resolve();

  constructor(around: Surroundings, part: Part, content: ContentId, side: Side) {
    this.#around = around;
    this.#part = part;
    this.#content = content;
    this.#side = side;
    this.#state = begin(part);
    this.#untried = around.transports.usable(around.policy);
    this.done = new Promise((resolve) => (this.#resolve = resolve));
  }

  /** How it ends is settled; `done` may still wait for the peer to acknowledge that. */
  get isOver(): boolean {
    return this.#state.at === 'ended';
  }

  /** The peer ended the offer because of its encryption, without having accepted it. */
  get refusedUnread(): boolean {
    if (this.#answered || this.#state.at !== 'ended') return false;
    const { outcome } = this.#state;
    if (outcome.kind !== 'failed' || outcome.fault.by !== 'peer') return false;
    return outcome.fault.reason === 'security-error';
  }

  /** Our `<transport/>` of the session-initiate: the first method that the policy allows. */
  async offerTransport(session: ContentSession): Promise<Element> {
    this.#session = session;
    const method = this.#untried.shift();
    if (method === undefined) throw new TransportFailed('no transport is allowed');
    this.#negotiation = this.#negotiate(method, undefined, session);
    return this.#negotiation.local();
  }

  /** Takes the `<transport/>` of a session-initiate. @throws StanzaError; false for an unusable one */
  takeTransport(session: ContentSession, transport: Element): boolean {
    this.#session = session;
    const refusable = this.#around.transports.get(transport.getNS() ?? '')?.refusable === true;
    const negotiation = this.#method(transport, session, refusable);
    if (negotiation === undefined) return false;
    negotiation.remote(transport);
    this.#negotiation = negotiation;
    return true;
  }

  /** The answer to an offer. */
  decide(accept: boolean): void {
    this.#dispatch({ on: 'decided', accept });
  }

  /** Ends it because of an error of this side. */
  fail(error: Error): void {
    this.#dispatch({ on: 'fault', error });
  }

  /** The time for an answer to the offer is over. */
  unanswered(): void {
    this.#dispatch({ on: 'unanswered' });
  }

  /** Ends it by the user's wish. */
  cancel(): void {
    this.#dispatch({ on: 'cancel' });
  }

  async accepted(contents: readonly Content[]): Promise<void> {
    const content = contents.find(({ name }) => name === this.#content.name);
    try {
      if (content !== undefined) await this.#side.consented?.(content);
    } catch (error) {
      this.#refused(error);
      return;
    }
    if (this.#state.at === 'ended') return;
    this.#takeAnswer(content?.transport);
    this.#answered = true;
    this.#dispatch({ on: 'accepted' });
  }

  transportInfo(_creator: Creator, name: string, transport: Element): void {
    if (name !== this.#content.name || this.#negotiation === undefined) {
      throw new StanzaError('modify', 'bad-request');
    }
    // What belongs to a transport that was replaced is late, not wrong.
    if (transport.getNS() === this.#negotiation.namespace) this.#negotiation.info(transport);
  }

  transportReplace(_creator: Creator, _name: string, transport: Element): void {
    this.#replacement = transport;
    const session = this.#session;
    const method = this.#around.transports.get(transport.getNS() ?? '');
    const usable = session !== undefined && method?.usable(this.#around.policy) === true;
    this.#dispatch({ on: 'replace-offered', usable });
  }

  transportAccepted(_creator: Creator, _name: string, transport: Element): void {
    this.#takeAnswer(transport);
    this.#dispatch({ on: 'replace-accepted' });
  }

  transportRejected(): void {
    this.#dispatch({ on: 'replace-rejected' });
  }

  info(payload: Element): void {
    this.#heeding(() => {
      const heard = this.#side.info(payload);
      if (heard === 'checksum') this.#dispatch({ on: heard });
      else if (heard !== undefined) this.#dispatch({ on: 'receipt', proves: heard });
    });
  }

  /** A bytestream outlives the word of a server that its owner is offline: it tells itself. */
  peerUnavailable(): boolean {
    return !['streaming', 'overtaken', 'landing'].includes(this.#state.at);
  }

  ended(end: End): void {
    if (end.by === 'gone') this.#dispatch({ on: 'peer-gone' });
    else if (end.by === 'peer' && end.reason === 'success') this.#succeeded(end.payloads ?? []);
    // Also when the session gave up on its own: nothing else would come any more.
    else {
      const reason = decodeFileError(end.application) ?? end.reason;
      this.#dispatch({ on: 'peer-ended', reason });
    }
  }

  #succeeded(payloads: readonly Element[]): void {
    this.#heeding(() => {
      const certainty = this.#side.certainty?.(payloads) ?? 'delivered';
      this.#dispatch({ on: 'peer-success', certainty, whole: this.#side.whole === true });
    });
  }

  /** Runs what reads sealed elements: one that does not hold ends the transfer. */
  #heeding(read: () => void): void {
    try {
      read();
    } catch (error) {
      this.#refused(error);
    }
  }

  /** @throws a StanzaError: it is the answer to the stanza */
  #refused(error: unknown): void {
    if (error instanceof StanzaError) throw error;
    const failure = error instanceof SealedError ? sealedFailure(error) : asError(error);
    this.#dispatch({ on: 'fault', error: failure });
  }

  #dispatch(event: Event): void {
    const { state, effects } = step(this.#part, this.#state, event);
    if (state !== this.#state) {
      this.#state = state;
      this.#bound();
      const bound = BOUNDS[state.at];
      this.#bound =
        bound === undefined
          ? () => undefined
          : this.#around.clock.after(bound + this.#patience, () =>
              this.#dispatch({ on: 'silence' }),
            );
      if (state.at === 'confirming' && this.#side.asked === true) this.#ask();
    }
    for (const effect of effects) this.#perform(effect);
  }

  get #patience(): number {
    const proves = this.#state.at === 'confirming' || this.#state.at === 'proving';
    return proves ? (this.#side.patience ?? 0) : 0;
  }

  #perform(effect: Effect): void {
    switch (effect.do) {
      case 'accept':
        this.#attempt(this.#accept());
        return;
      case 'connect':
        this.#connect();
        return;
      case 'replace':
        this.#attempt(this.#replace());
        return;
      case 'accept-replace':
        this.#attempt(this.#acceptReplace());
        return;
      case 'reject-replace':
        this.#attempt(this.#rejectReplace());
        return;
      case 'send-checksum':
        this.#attempt(this.#sendChecksum());
        return;
      case 'land':
        this.#side.land?.().then(
          (as) => this.#dispatch({ on: 'landed', as }),
          (error: unknown) => this.#dispatch({ on: 'proof-failed', error: asError(error) }),
        );
        return;
      case 'stream':
        return;
      case 'terminate':
        this.#farewell = this.#terminate(effect.reason);
        return;
      case 'finish':
        void this.#finish(effect.outcome);
    }
  }

  /** What a stanza of ours that fails means: a session that is over tells itself. */
  #attempt(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#around.log(`transfer: ${messageOf(error)}`);
      if (!(error instanceof StanzaError)) this.#dispatch({ on: 'fault', error: asError(error) });
    });
  }

  async #accept(): Promise<void> {
    if (!this.#session || !this.#negotiation) return;
    const content = this.#side.accepted?.(await this.#negotiation.local());
    if (content !== undefined) await this.#session.accept([content]);
  }

  #connect(): void {
    const negotiation = this.#negotiation;
    if (negotiation === undefined) return;
    const connecting = new AbortController();
    this.#connecting = connecting;
    negotiation.connect(connecting.signal).then(
      (bytestream) => {
        if (negotiation === this.#negotiation && !connecting.signal.aborted) {
          this.#dispatch({ on: 'connected' });
          if (this.#state.at === 'streaming') this.#stream(bytestream);
        } else bytestream.duplex.destroy();
      },
      (error: unknown) => {
        this.#around.log(`${negotiation.namespace}: ${messageOf(error)}`);
        if (negotiation !== this.#negotiation || connecting.signal.aborted) return;
        this.#dispatch({ on: 'unconnected', another: this.#untried.length > 0 });
      },
    );
  }

  #stream(bytestream: Bytestream): void {
    this.#watch();
    this.#side.stream(bytestream, this.#abort.signal).then(
      (checksum) => this.#dispatch({ on: 'streamed', checksum }),
      (error: unknown) => this.#streamFailed(asError(error)),
    );
  }

  /**
   * A network that is cut, or a peer that was killed in-band, says nothing. An empty session-info
   * (XEP-0166 §6.8) must be acknowledged: a peer that is gone ends the session by that.
   */
  #watch(stalls = 0): void {
    const before = this.#side.moved;
    this.#stall = this.#around.clock.after(STALL_MS, () => {
      if (this.#state.at !== 'streaming') return;
      const again = this.#side.moved === before ? stalls + 1 : 0;
      if (again >= MOST_STALLS) {
        this.fail(stalled());
        return;
      }
      if (again > 0) this.#attempt(this.#session?.info([]) ?? Promise.resolve());
      this.#watch(again);
    });
  }

  /** As `#watch`, while the peer lands the file: that may take long, and it does not if the peer was killed. */
  #ask(): void {
    this.#stall();
    this.#stall = this.#around.clock.after(ASK_MS, () => {
      if (this.#state.at !== 'confirming') return;
      this.#attempt(this.#session?.info([]) ?? Promise.resolve());
      this.#ask();
    });
  }

  #streamFailed(error: Error): void {
    // A broken stream may have its reason at the peer, who is about to say it; all else is our own.
    const broken = 'code' in error && error.code === 'stream-ended';
    this.#dispatch({ on: broken ? 'stream-failed' : 'proof-failed', error });
  }

  async #replace(): Promise<void> {
    const method = this.#untried.shift();
    if (method === undefined || this.#session === undefined) return;
    await this.#drop();
    this.#negotiation = this.#negotiate(method, undefined, this.#session);
    const transport = await this.#negotiation.local();
    await this.#session.replaceTransport(this.#content.creator, this.#content.name, transport);
  }

  async #acceptReplace(): Promise<void> {
    const transport = this.#replacement;
    if (transport === undefined || this.#session === undefined) return;
    // Taken over before anything is awaited: `connect` follows at once.
    const before = this.#negotiation;
    this.#connecting?.abort();
    this.#negotiation = this.#method(transport, this.#session);
    this.#negotiation?.remote(transport);
    void before?.close();
    const ours = await this.#negotiation?.local();
    if (ours === undefined) return;
    await this.#session.acceptTransport(this.#content.creator, this.#content.name, ours);
  }

  async #rejectReplace(): Promise<void> {
    if (this.#replacement === undefined || this.#session === undefined) return;
    const { creator, name } = this.#content;
    await this.#session.rejectTransport(creator, name, this.#replacement);
  }

  async #sendChecksum(): Promise<void> {
    const checksum = this.#side.checksum?.();
    if (checksum !== undefined) await this.#session?.info([checksum]);
  }

  #terminate(reason: (Effect & { do: 'terminate' })['reason']): Promise<void> {
    const state = this.#state;
    const fault =
      state.at === 'ended' && state.outcome.kind === 'failed' ? state.outcome.fault : undefined;
    const farewell: Farewell =
      reason !== 'by-error'
        ? { reason }
        : fault?.by === 'self'
          ? farewellOf(fault.error)
          : { reason: 'general-error' };
    const receipt = reason === 'success' ? this.#side.receipt?.() : undefined;
    if (this.#session === undefined) return Promise.resolve();
    if (receipt === undefined) return this.#session.terminate(farewell.reason, farewell);
    // Twice, so that neither a lost stanza nor a server that drops one of them leaves the sender in doubt.
    this.#attempt(this.#session.info([receipt]));
    return this.#session.terminate(farewell.reason, { ...farewell, payloads: [receipt] });
  }

  async #finish(outcome: SessionEnd): Promise<void> {
    this.#bound();
    this.#stall();
    // What went wrong is told to a peer that may be gone: what goes on after it is not held up for long.
    const wrong = outcome.kind === 'cancelled' || outcome.kind === 'failed';
    await (wrong ? this.#shortly(this.#farewell) : this.#farewell);
    this.#abort.abort(new Error('the transfer is over'));
    await this.#drop();
    await this.#side.finish(outcome);
    this.#resolve(outcome);
  }

  /** Waits for the peer's word, but not as long as it may take. */
  #shortly(farewell: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#around.clock.after(IMPATIENT_MS, resolve);
      void farewell.finally(() => {
        cancel();
        resolve();
      });
    });
  }

  /**
   * Takes the peer's answer to our transport. One that cannot be used is the end: few peers look at what
   * their answer is answered with, so that each side would wait for the other. @throws StanzaError
   */
  #takeAnswer(transport: Element | undefined): void {
    const negotiation = this.#negotiation;
    try {
      if (negotiation === undefined || transport?.getNS() !== negotiation.namespace)
        throw new StanzaError('modify', 'bad-request', 'another transport than was offered');
      negotiation.remote(transport);
    } catch (error) {
      const message =
        'the other side answered in a form that cannot be used. Try again, or with another --route.';
      const options = { cause: error };
      this.#dispatch({
        on: 'fault',
        error: new JetError(Exit.transport, 'bad-answer', message, options),
      });
      throw error;
    }
  }

  async #drop(): Promise<void> {
    this.#connecting?.abort();
    await this.#negotiation?.close();
    this.#negotiation = undefined;
  }

  /** @param refusable - also when the policy rules it out: another may come in its place */
  #method(transport: Element, session: ContentSession, refusable = false): Negotiation | undefined {
    const method = this.#around.transports.get(transport.getNS() ?? '');
    if (method === undefined || !(refusable || method.usable(this.#around.policy)))
      return undefined;
    const sid = transport.attrs['sid'] as unknown;
    if (typeof sid !== 'string' || sid === '' || sid.length > 256) {
      throw new StanzaError('modify', 'bad-request', 'no stream id');
    }
    return this.#negotiate(method, sid, session);
  }

  #negotiate(
    method: TransportMethod,
    sid: string | undefined,
    session: ContentSession,
  ): Negotiation {
    const { creator, name } = this.#content;
    const context: TransportContext = {
      connection: this.#around.connection,
      clock: this.#around.clock,
      self: this.#around.connection.jid,
      peer: session.peer,
      role: session.role,
      policy: this.#around.policy,
      sendInfo: (transport) => session.transportInfo(creator, name, transport),
      log: this.#around.log,
    };
    return method.negotiate(context, sid);
  }
}
