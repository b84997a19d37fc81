/** Drives one content's XEP-0260 1.0 negotiation: the table of `machine.ts` with sockets and stanzas. */
import type { Socket } from 'node:net';
import type { Element } from '@xmpp/xml';
import { randomId } from '../../core/bytes.ts';
import type { Cancel } from '../../core/clock.ts';
import { messageOf } from '../../core/errors.ts';
import { Jid } from '../../core/jid.ts';
import {
  TransportFailed,
  type Bytestream,
  type Negotiation,
  type TransportContext,
} from '../../jingle/transport.ts';
import { StanzaError } from '../../xmpp/connection.ts';
import { kindOf, plainAddress, worthTrying } from './candidates.ts';
import { dial, race, type Dialling, type Race } from './connector.ts';
import { destination, destinations } from './dstaddr.ts';
import { ourCandidates, without } from './gather.ts';
import type { Listener } from './listener.ts';
import {
  begin,
  canWin,
  step,
  type Candidate,
  type Effect,
  type Event,
  type State,
} from './machine.ts';
import type { Proxies } from './proxies.ts';
import { activate } from './proxy.ts';
import {
  readInfo,
  readOffer,
  S5B,
  writeInfo,
  writeOffer,
  type Info,
  type Offer,
} from './stanza.ts';

/** Milliseconds for the whole negotiation: peers that try one address after another need most of it. */
export const NEGOTIATION_TIME = 60_000;
/** Milliseconds that a closed stream may take to get rid of what was written. */
const LINGER_TIME = 2_000;
/** Sockets that the peer may have open to our listener in one negotiation. */
const MAX_ACCEPTED = 16;

/** Lends the shared listener of the process. */
export type ListenerLease = () => Promise<{
  readonly listener: Listener;
  readonly release: () => void;
}>;

/** One SOCKS5 negotiation. */
export class SocksNegotiation implements Negotiation {
  readonly namespace = S5B;
  readonly #context: TransportContext;
  readonly #lease: ListenerLease;
  readonly #known: Proxies;
  readonly #ended = new AbortController();
  readonly #accepted: Socket[] = [];
  readonly #cleanup: (() => void)[] = [];
  readonly #dialling: Dialling;
  readonly #sid: string;
  #state: State;
  #offer: Promise<Offer> | undefined;
  #mine: readonly Candidate[] = [];
  /** Our own server's. */
  #proxies: readonly Candidate[] = [];
  #theirs: Offer | undefined;
  #race: Race | undefined;
  #reached: { candidate: Candidate; socket: Socket } | undefined;
  #proxied: Socket | undefined;
  #stream: Socket | undefined;
  /** Stanzas leave in the order in which the table asks for them. */
  #sending: Promise<void> = Promise.resolve();
  #settle: { open(stream: Bytestream): void; fail(error: Error): void } | undefined;
  #cancelTimeout: Cancel | undefined;

  constructor(
    context: TransportContext,
    sid: string | undefined,
    lease: ListenerLease,
    known: Proxies,
  ) {
    this.#context = context;
    this.#lease = lease;
    this.#known = known;
    this.#sid = sid ?? randomId();
    this.#state = begin(context.role);
    this.#dialling = {
      clock: context.clock,
      socks: context.policy.socks,
      loopback: context.connection.loopback,
    };
  }

  async local(): Promise<Element> {
    this.#offer ??= this.#gather();
    return writeOffer(await this.#offer);
  }

  remote(transport: Element): void {
    const offer = readOffer(transport);
    if (offer.sid !== this.#sid) throw new StanzaError('modify', 'bad-request', 'another sid');
    if (this.#theirs !== undefined) throw new StanzaError('wait', 'unexpected-request');
    this.#theirs = offer;
  }

  info(transport: Element): void {
    this.#apply(this.#eventOf(readInfo(transport, this.#sid)));
  }

  connect(signal: AbortSignal): Promise<Bytestream> {
    return new Promise((resolve, reject) => {
      const { clock, policy } = this.#context;
      const abort = () => {
        reject(signal.reason as Error);
        fail(signal.reason as Error);
      };
      const done = () => {
        this.#settle = undefined;
        this.#cancelTimeout?.();
        signal.removeEventListener('abort', abort);
      };
      const fail = (error: Error) => {
        done();
        this.#release();
        // What is still to be said ('candidate-error' …) goes before the replacement that follows.
        void this.#sending.then(() => reject(error));
      };
      const open = (stream: Bytestream) => {
        done();
        this.#release();
        resolve(stream);
      };
      const theirs = this.#theirs;
      const over = this.#ended.signal.aborted || this.#state.kind !== 'trying';
      if (theirs === undefined || this.#offer === undefined || over) {
        reject(new TransportFailed('the negotiation is not complete or over'));
        return;
      }
      if (signal.aborted) {
        reject(signal.reason as Error);
        return;
      }
      this.#settle = { open, fail };
      signal.addEventListener('abort', abort, { once: true });
      this.#cancelTimeout = clock.after(NEGOTIATION_TIME, () => this.#apply({ kind: 'timeout' }));
      const start = () => {
        if (!this.#ended.signal.aborted) this.#start(theirs);
      };
      // Where nothing direct is allowed our own proxies must be known first: nothing else is tried.
      if (policy.direct) start();
      else void this.#offer.then(start, start);
    });
  }

  async close(): Promise<void> {
    this.#settle?.fail(new TransportFailed('closed'));
    this.#release();
    this.#hangUp();
    await this.#sending;
  }

  /** Our candidates: the listener's addresses and our server's proxies, as the policy allows. */
  async #gather(): Promise<Offer> {
    const { policy, role, self, peer } = this.#context;
    const port = policy.direct && policy.kinds.has('direct') ? await this.#listen() : undefined;
    const repeated = role === 'responder' ? (this.#theirs?.candidates ?? []) : [];
    const ours = await ourCandidates(this.#context, port, this.#known);
    this.#proxies = ours.filter((candidate) => kindOf(candidate) === 'proxy');
    this.#mine = without(ours, repeated);
    return { sid: this.#sid, dstaddr: destination(this.#sid, self, peer), candidates: this.#mine };
  }

  async #listen(): Promise<number | undefined> {
    const { self, peer } = this.#context;
    try {
      const { listener, release } = await this.#lease();
      const forget = listener.expect(destinations(this.#sid, self, peer), (socket) => {
        if (this.#ended.signal.aborted || this.#accepted.length >= MAX_ACCEPTED) socket.destroy();
        else this.#accepted.push(socket);
      });
      const giveBack = () => {
        forget();
        release();
      };
      if (this.#ended.signal.aborted) giveBack();
      else this.#cleanup.push(giveBack);
      return listener.port;
    } catch (error) {
      this.#context.log(`no listener: ${messageOf(error)}`);
      return undefined;
    }
  }

  #start(theirs: Offer): void {
    const { policy, connection, self, peer } = this.#context;
    const orders = destinations(this.#sid, peer, self);
    const stated = theirs.dstaddr?.toLowerCase();
    const target = stated !== undefined && orders.includes(stated) ? stated : orders[0];
    const { loopback } = connection;
    const candidates = worthTrying(theirs.candidates, policy, loopback, this.#proxies).filter(
      (candidate) => canWin(this.#state, candidate),
    );
    this.#race = race(this.#dialling, candidates, target, this.#ended.signal, (line) =>
      this.#context.log(line),
    );
    void this.#race.winner.then((reached) => {
      if (reached === undefined) {
        this.#apply({ kind: 'exhausted' });
        return;
      }
      if (this.#ended.signal.aborted) {
        reached.socket.destroy();
        return;
      }
      this.#reached = reached;
      this.#apply({ kind: 'reached', candidate: reached.candidate });
    });
  }

  #eventOf(info: Info): Event {
    switch (info.kind) {
      case 'candidate-used': {
        const candidate = this.#mine.find(({ cid }) => cid === info.cid);
        if (candidate === undefined)
          throw new StanzaError('cancel', 'item-not-found', 'no such candidate');
        return { kind: 'peer-used', candidate };
      }
      case 'activated':
        return { kind: 'peer-activated', cid: info.cid };
      case 'candidate-error':
        return { kind: 'peer-error' };
      case 'proxy-error':
        return { kind: 'peer-proxy-error' };
    }
  }

  #apply(event: Event): void {
    if (this.#ended.signal.aborted) return;
    const { state, effects } = step(this.#state, event);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
    if (event.kind === 'peer-used') this.#race?.narrow((candidate) => canWin(state, candidate));
  }

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'send-used':
        this.#send({ kind: 'candidate-used', cid: effect.cid });
        return;
      case 'send-error':
        this.#send({ kind: 'candidate-error' });
        return;
      case 'send-activated':
        this.#send({ kind: 'activated', cid: effect.cid });
        return;
      case 'send-proxy-error':
        this.#send({ kind: 'proxy-error' });
        return;
      case 'activate':
        void this.#activate(effect.candidate).then(
          () => this.#apply({ kind: 'proxy-activated' }),
          (error: unknown) => {
            this.#context.log(`proxy ${effect.candidate.jid}: ${messageOf(error)}`);
            this.#apply({ kind: 'proxy-refused' });
          },
        );
        return;
      case 'open':
        this.#open(effect.candidate, effect.offeredBy);
        return;
      case 'fail':
        this.#fail(effect.reason);
        return;
    }
  }

  async #activate(candidate: Candidate): Promise<void> {
    const { connection, self, peer } = this.#context;
    const proxy = Jid.parse(candidate.jid);
    if (proxy === undefined) throw new Error('no proxy');
    const target = destination(this.#sid, self, peer);
    this.#proxied = await dial(this.#dialling, candidate, target, this.#ended.signal);
    await activate(connection, proxy, this.#sid, peer);
  }

  #open(candidate: Candidate, offeredBy: 'self' | 'peer'): void {
    const kind = kindOf(candidate);
    const socket =
      offeredBy === 'peer'
        ? this.#reached?.socket
        : kind === 'proxy'
          ? this.#proxied
          : this.#pick(candidate);
    if (socket === undefined || socket.destroyed) {
      this.#fail('the nominated connection is gone');
      return;
    }
    this.#stream = socket;
    const handshake = socket.bytesWritten;
    const from = socket.remoteAddress ?? '';
    const address = offeredBy === 'peer' ? candidate.host : (plainAddress(from) ?? from);
    const via = kind === 'proxy' ? candidate.jid : address;
    this.#settle?.open({
      route: { kind, via },
      duplex: socket,
      buffersAreFree: true,
      taken: () => Math.max(0, socket.bytesWritten - socket.writableLength - handshake),
    });
  }

  /** Nobody reached anything, our proxies included, or what was reached is of no use. */
  #fail(reason: string): void {
    const { connection, clock } = this.#context;
    if (this.#proxies.length > 0) this.#known.doubt(connection, clock);
    this.#settle?.fail(new TransportFailed(reason));
  }

  /** Ends the stream after what was written, so that the peer sees an end and not a reset. */
  #hangUp(): void {
    const stream = this.#stream;
    if (stream === undefined || stream.destroyed) return;
    const cancel = this.#context.clock.after(LINGER_TIME, () => stream.destroy());
    stream.once('close', cancel);
    stream.destroySoon();
  }

  /** Of the connections that the peer opened, the one to the address it named, else the latest. */
  #pick(candidate: Candidate): Socket | undefined {
    const alive = this.#accepted.filter((socket) => !socket.destroyed && !socket.readableEnded);
    const named = alive.filter(
      ({ localAddress }) =>
        localAddress !== undefined && plainAddress(localAddress) === plainAddress(candidate.host),
    );
    return named.at(-1) ?? alive.at(-1);
  }

  #send(info: Info): void {
    const context = this.#context;
    this.#sending = this.#sending
      .then(() => context.sendInfo(writeInfo(this.#sid, info)))
      .catch((error: unknown) => context.log(`${info.kind} was not taken: ${messageOf(error)}`));
  }

  /** Ends what is not the stream: attempts, the listener's share, sockets that were not nominated. */
  #release(): void {
    this.#ended.abort(new TransportFailed('ended'));
    for (const action of this.#cleanup.splice(0)) action();
    for (const socket of [...this.#accepted, this.#reached?.socket, this.#proxied])
      if (socket !== this.#stream) socket?.destroy();
  }
}
