/**
 * The connection as the rest of the program sees it: it outlives streams (XEP-0198 v1.6.3), counts and
 * repeats stanzas, keeps the stream alive (XEP-0199 v2.0.1) and reconnects.
 */
import type { Element } from '@xmpp/xml';
import { randomId, randomInt } from '../core/bytes.ts';
import { sleep, type Cancel } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import { Jid } from '../core/jid.ts';
import { StanzaError, type Connection, type ConnectionState } from './connection.ts';
import { NS_SM, isFinal, type Established, type Login } from './establish.ts';
import { establishThrough, type Gate } from './gate.ts';
import { acknowledge, openLedger, received, sent, type Ledger } from './ledger.ts';
import { Requests } from './requests.ts';
import { Responder } from './responder.ts';
import { disconnected } from './stanza.ts';
import { StreamError, type Stream } from './stream.ts';
import { attr, uint, xml } from './xml.ts';

const NS_PING = 'urn:xmpp:ping';
/** Silence in ms after which the server is asked for a sign of life, and the wait for it. */
const SILENCE = 60_000;
const TICK = 30_000;
/**
 * After so many stanzas, and after so many ms, the server is asked what it took: seldom, for to its answer we say nothing,
 * and a server that sends by Nagle's rule (RFC 9293 §3.7.4) holds the next stanza back until our system acknowledges that
 * after 40 ms.
 */
const ASK_EVERY = 50;
const ASK_AFTER = 3_000;
const MOST_UNACKNOWLEDGED = 512;
/** The longest loss in ms that a session outlives when the server states no limit. */
const LONGEST_LOSS = 300_000;
const SLOWEST_RETRY = 60_000;
/** How often another session may take the place of ours within this many ms, before we leave it to it. */
const MOST_EVICTIONS = 3;
const EVICTIONS_WITHIN = 600_000;
/** Stream errors after which a reconnect would be a war or in vain. */
const FINAL_CONDITIONS = new Set([
  'conflict',
  'not-authorized',
  'host-unknown',
  'host-gone',
  'invalid-from',
  'unsupported-version',
]);

/** The wait in ms before attempt `n` (from 0): doubled each time to a minute, half of it by lot. */
export function backOff(n: number, random = randomInt): number {
  const full = Math.min(SLOWEST_RETRY, 1000 * 2 ** Math.min(n, 16));
  return full / 2 + random(0, full / 2);
}

type Listener = (stanza: Element, from: Jid) => void;

/** See {@link Connection}. */
export class Session implements Connection {
  readonly #login: Login;
  readonly #gate: Gate | undefined;
  readonly #requests: Requests;
  readonly #responder: Responder;
  readonly #messages = new Set<Listener>();
  readonly #presences = new Set<Listener>();
  readonly #states = new Set<(state: ConnectionState) => void>();
  readonly #ending = new AbortController();
  #phase: ConnectionState['kind'] = 'online';
  #stream: Stream;
  #jid: Jid;
  #maxStanza: number | undefined;
  #ledger: Ledger | undefined;
  #longestLoss = LONGEST_LOSS;
  #lostAt = 0;
  #heard = 0;
  #probed = false;
  /** When we were evicted, on the monotonic clock. */
  #evictions: number[] = [];
  #askTimer: Cancel | undefined;
  #aliveTimer: Cancel | undefined;
  audience: (from: Jid) => boolean = () => false;

  constructor(login: Login, established: Established, gate?: Gate) {
    this.#login = login;
    this.#gate = gate;
    this.#jid = established.jid;
    this.#stream = established.stream;
    this.#requests = new Requests(login.clock);
    this.#responder = new Responder({
      jid: () => this.#jid,
      audience: (from) => this.audience(from),
      send: (stanza) => this.send(stanza),
    });
    this.#responder.on(NS_PING, 'ping', () => undefined);
    this.#adopt(established);
  }

  get jid(): Jid {
    return this.#jid;
  }

  get loopback(): boolean {
    return this.#stream.socket.loopback;
  }

  get maxStanza(): number | undefined {
    return this.#maxStanza;
  }

  get localAddress(): string | undefined {
    return this.#stream.socket.localAddress;
  }

  iq(
    to: Jid | null,
    type: 'get' | 'set',
    payload: Element,
    options: { readonly timeout?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Element | undefined> {
    const id = randomId();
    const iq = xml('iq', { type, id, to: to?.toString() }, payload);
    const reply = this.#requests.add(id, to, options);
    this.send(iq).catch((error: unknown) => this.#requests.fail(id, error as Error));
    return reply;
  }

  async send(stanza: Element): Promise<void> {
    const ledger = this.#ledger;
    if (this.#phase === 'closed' || (this.#phase === 'lost' && ledger === undefined))
      throw disconnected();
    if (ledger === undefined) return this.#stream.send(stanza);
    if (ledger.unacknowledged.length >= MOST_UNACKNOWLEDGED)
      throw new StanzaError('wait', 'resource-constraint', 'the server acknowledges nothing');
    if (this.#phase === 'lost')
      return new Promise((resolve, reject) => {
        const settle = (error?: Error) => {
          if (error === undefined) resolve();
          else reject(error);
        };
        this.#ledger = sent(ledger, { stanza, settle });
      });
    this.#ledger = sent(ledger, { stanza });
    try {
      await this.#stream.send(stanza);
    } catch (error) {
      // It is in the ledger: the session that goes on repeats it.
      if (ledger.id === '') throw error;
    }
    this.#askSoon();
  }

  onIq(...args: Parameters<Connection['onIq']>): () => void {
    return this.#responder.on(...args);
  }

  onMessage(listener: Listener): () => void {
    return subscribe(this.#messages, listener);
  }

  onPresence(listener: Listener): () => void {
    return subscribe(this.#presences, listener);
  }

  onState(listener: (state: ConnectionState) => void): () => void {
    return subscribe(this.#states, listener);
  }

  async close(): Promise<void> {
    if (this.#phase === 'closed') return;
    const online = this.#phase === 'online';
    this.#end('closed by us');
    try {
      if (!online) return;
      const gone = xml('presence', { type: 'unavailable' });
      this.#ledger = this.#ledger && sent(this.#ledger, { stanza: gone });
      this.#stream.send(gone).catch(() => undefined);
      if (this.#ledger !== undefined)
        this.#stream
          .send(xml('a', { xmlns: NS_SM, h: this.#ledger.inbound }))
          .catch(() => undefined);
    } finally {
      if (online) await this.#stream.close();
      this.#gate?.leave();
    }
  }

  #adopt(established: Established): void {
    const { stream, management } = established;
    this.#stream = stream;
    this.#jid = established.jid;
    this.#maxStanza = established.maxStanza;
    if (established.resumed === undefined) {
      this.#ledger = management === undefined ? undefined : openLedger(management.id);
      this.#longestLoss = management?.max === undefined ? LONGEST_LOSS : management.max * 1000;
    }
    this.#phase = 'online';
    this.#heard = this.#login.clock.monotonic();
    this.#probed = false;
    this.#keepAlive();
    stream.listen(
      (element) => {
        if (stream === this.#stream) this.#take(element);
      },
      (reason) => {
        if (stream === this.#stream) this.#lose(reason);
      },
    );
  }

  #take(element: Element): void {
    this.#heard = this.#login.clock.monotonic();
    this.#probed = false;
    if (element.getNS() === NS_SM) {
      this.#manage(element);
      return;
    }
    const name = element.getName();
    if (name !== 'iq' && name !== 'message' && name !== 'presence') return;
    if (this.#ledger !== undefined) this.#ledger = received(this.#ledger);
    const text = attr(element, 'from');
    const from = text === undefined ? undefined : Jid.parse(text);
    if (text !== undefined && from === undefined) return;
    if (name === 'iq') {
      const type = attr(element, 'type');
      if (type === 'result' || type === 'error') this.#requests.settle(element, from, this.#jid);
      else this.#responder.take(element, from);
      return;
    }
    const listeners = name === 'message' ? this.#messages : this.#presences;
    for (const listener of listeners) this.#guard(() => listener(element, from ?? this.#jid.bare));
  }

  #manage(element: Element): void {
    const ledger = this.#ledger;
    if (ledger === undefined) return;
    if (element.is('r', NS_SM)) {
      this.#stream.send(xml('a', { xmlns: NS_SM, h: ledger.inbound })).catch(() => undefined);
    } else if (element.is('a', NS_SM)) {
      const h = uint(attr(element, 'h'), 0xffff_ffff);
      const next = h === undefined ? undefined : acknowledge(ledger, h);
      if (next === undefined)
        this.#stream.destroy(new Error('the server acknowledges what we never sent'));
      else this.#ledger = next;
    }
  }

  #askSoon(): void {
    const waiting = this.#ledger?.unacknowledged.length ?? 0;
    if (waiting > 0 && waiting % ASK_EVERY === 0) this.#ask();
    else
      this.#askTimer ??= this.#login.clock.after(ASK_AFTER, () => {
        if ((this.#ledger?.unacknowledged.length ?? 0) > 0) this.#ask();
      });
  }

  #ask(): void {
    this.#askTimer?.();
    this.#askTimer = undefined;
    if (this.#phase === 'online')
      this.#stream.send(xml('r', { xmlns: NS_SM })).catch(() => undefined);
  }

  #keepAlive(): void {
    this.#aliveTimer?.();
    this.#aliveTimer = this.#login.clock.after(TICK, () => {
      if (this.#phase !== 'online') return;
      if (this.#login.clock.monotonic() - this.#heard >= SILENCE) {
        if (this.#probed) {
          this.#stream.destroy(new Error('the server is silent'));
          return;
        }
        this.#probed = true;
        if (this.#ledger !== undefined) this.#ask();
        else this.iq(null, 'get', xml('ping', { xmlns: NS_PING })).catch(() => undefined);
      }
      this.#keepAlive();
    });
  }

  #lose(reason: Error): void {
    if (this.#phase !== 'online') return;
    this.#stopTimers();
    const evicted = reason instanceof StreamError && this.#evicted(reason.condition);
    const final = reason instanceof StreamError && FINAL_CONDITIONS.has(reason.condition);
    if (final && !evicted) {
      this.#end(reason.message);
      this.#gate?.leave();
      return;
    }
    this.#phase = 'lost';
    this.#lostAt = this.#login.clock.monotonic();
    if (evicted || this.#ledger === undefined || this.#ledger.id === '') this.#abandon();
    if (evicted) this.#gate?.refused(reason.message);
    this.#tell({ kind: 'lost', reason: reason.message });
    void this.#reconnect();
  }

  /**
   * True when the server took our session away for another one, and we may queue for one again: not for
   * ever, for the other one may do the same.
   */
  #evicted(condition: string): boolean {
    if (condition !== 'conflict' || this.#gate === undefined) return false;
    const now = this.#login.clock.monotonic();
    this.#evictions = this.#evictions.filter((at) => now - at < EVICTIONS_WITHIN);
    this.#evictions.push(now);
    return this.#evictions.length <= MOST_EVICTIONS;
  }

  async #reconnect(): Promise<void> {
    const { signal } = this.#ending;
    for (let attempt = 0; ; attempt += 1) {
      try {
        await sleep(this.#login.clock, backOff(attempt), signal);
        const elapsed = this.#login.clock.monotonic() - this.#lostAt;
        if (elapsed > this.#longestLoss) this.#abandon();
        const ledger = this.#ledger;
        const established = await establishThrough(
          this.#gate,
          { ...this.#login, signal },
          ledger && { id: ledger.id, inbound: ledger.inbound, jid: this.#jid },
        );
        if (signal.aborted) {
          established.stream.destroy(new Error('the connection is closed'));
          return;
        }
        this.#goOn(established);
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.#login.log?.(`! ${messageOf(error)}`);
        if (isFinal(error)) {
          this.#end(messageOf(error));
          this.#gate?.leave();
          return;
        }
      }
    }
  }

  #goOn(established: Established): void {
    const { resumed, stream } = established;
    const ledger = this.#ledger;
    if (resumed === undefined) {
      this.#abandon();
      this.#adopt(established);
    } else {
      const rest = ledger && acknowledge(ledger, resumed);
      if (rest === undefined) {
        stream.destroy(new Error('the server acknowledges what we never sent'));
        throw new Error('the server acknowledges what we never sent');
      }
      // Set before a stanza goes out: what is sent from now on has to queue behind these.
      this.#ledger = {
        ...rest,
        unacknowledged: rest.unacknowledged.map(({ stanza }) => ({ stanza })),
      };
      for (const { stanza } of rest.unacknowledged) stream.send(stanza).catch(() => undefined);
      for (const { settle } of ledger?.unacknowledged ?? []) settle?.();
      this.#adopt(established);
      if (rest.unacknowledged.length > 0) this.#ask();
    }
    // The new stream may be lost already.
    if (this.#isOnline()) this.#tell({ kind: 'online', resumed: resumed !== undefined });
  }

  #isOnline(): boolean {
    return this.#phase === 'online';
  }

  /** Nothing of the old session goes on: whoever waits is told. */
  #abandon(): void {
    const waiting = this.#ledger?.unacknowledged ?? [];
    this.#ledger = undefined;
    for (const { settle } of waiting) settle?.(disconnected());
    this.#requests.failAll();
  }

  #end(reason: string): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    this.#stopTimers();
    this.#ending.abort(new Error(reason));
    const ledger = this.#ledger;
    this.#abandon();
    // Counting goes on until the stream is closed: the server acknowledges what came before.
    this.#ledger = ledger;
    this.#tell({ kind: 'closed', reason });
  }

  #stopTimers(): void {
    this.#askTimer?.();
    this.#askTimer = undefined;
    this.#aliveTimer?.();
  }

  #tell(state: ConnectionState): void {
    for (const listener of [...this.#states]) this.#guard(() => listener(state));
  }

  /** A listener that throws must not take the stream with it. */
  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#login.log?.(`! a listener failed: ${messageOf(error)}`);
    }
  }
}

function subscribe<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}
