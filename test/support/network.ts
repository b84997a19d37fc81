/**
 * Connections in memory, joined by a server that routes as RFC 6121 says: full addresses, presence
 * (broadcast, directed, probed, unavailable at the end), iq with error replies, and copies of messages
 * as XEP-0280 says. Every stanza is
 * written out and parsed again on its way, so that nothing is shared but text.
 */
import xml, { type Element, Parser } from '@xmpp/xml';
import { randomId } from '../../src/core/bytes.ts';
import type { Clock } from '../../src/core/clock.ts';
import { Jid } from '../../src/core/jid.ts';
import {
  type Connection,
  type ConnectionState,
  type IqHandler,
  StanzaError,
} from '../../src/xmpp/connection.ts';

const STANZAS = 'urn:ietf:params:xml:ns:xmpp-stanzas';
const CARBONS = 'urn:xmpp:carbons:2';

/** A request to a bare address or a server. */
export interface ServerIq {
  readonly from: Jid;
  readonly to: Jid;
  readonly type: 'get' | 'set';
  readonly payload: Element;
}

/** A connection whose fate the test decides. */
export interface TestConnection extends Connection {
  /** What the server states; settable. */
  maxStanza: number | undefined;
  /** Every stanza that the server delivered here, oldest first. */
  readonly received: readonly Element[];
  /** Goes silent without the server noticing: what is sent here vanishes, presence stays. */
  freeze(): void;
  /** The server notices the end of the stream. */
  drop(reason?: string): void;
}

/** The server in the middle. */
export interface Network {
  /** Binds a full address. */
  connect(jid: Jid | string): TestConnection;
  /** Makes a mutual subscription of two accounts. */
  befriend(a: string, b: string): void;
  /** Answers requests to bare addresses and servers by the namespace of the payload. */
  serve(
    namespace: string,
    handler: (iq: ServerIq) => Promise<Element | undefined> | Element | undefined,
  ): void;
  /** Delivers a stanza as it is to the connection with this full address. */
  inject(to: Jid | string, stanza: Element): void;
  /** What passes the server; `drop` makes it vanish. */
  tap(listener: (stanza: Element) => 'drop' | undefined): void;
}

/** Writes a stanza out and parses it, as a stream does. */
export function reparse(stanza: Element): Element {
  return parseXml(stanza.toString());
}

/** Parses one element from its text. */
export function parseXml(text: string): Element {
  const parser = new Parser();
  let result: Element | undefined;
  parser.on('element', (element: Element) => {
    result = element;
  });
  parser.write(`<stream xmlns='jabber:client'>${text}</stream>`);
  if (result === undefined) throw new Error('not an element');
  return result;
}

/** Makes a network without connections. */
export function createNetwork({ clock }: { readonly clock: Clock }): Network {
  const server = new Server(clock);
  return server;
}

class Server implements Network {
  readonly clock: Clock;
  readonly ends = new Map<string, End>();
  readonly #friends = new Map<string, Set<string>>();
  readonly #handlers = new Map<string, Parameters<Network['serve']>[1]>();
  readonly #taps: ((stanza: Element) => 'drop' | undefined)[] = [];

  constructor(clock: Clock) {
    this.clock = clock;
  }

  connect(address: Jid | string): TestConnection {
    const jid = parse(address);
    const end = new End(this, jid);
    this.ends.get(jid.toString())?.drop('conflict');
    this.ends.set(jid.toString(), end);
    return end;
  }

  befriend(a: string, b: string): void {
    for (const [x, y] of [
      [a, b],
      [b, a],
    ] as const) {
      const set = this.#friends.get(x) ?? new Set();
      set.add(y);
      this.#friends.set(x, set);
    }
  }

  serve(namespace: string, handler: Parameters<Network['serve']>[1]): void {
    this.#handlers.set(namespace, handler);
  }

  inject(to: Jid | string, stanza: Element): void {
    this.ends.get(parse(to).toString())?.deliver(reparse(stanza));
  }

  tap(listener: (stanza: Element) => 'drop' | undefined): void {
    this.#taps.push(listener);
  }

  /** Takes a stanza from one of the connections. */
  route(original: Element, sender: End): void {
    const stanza = reparse(original);
    stanza.attrs['from'] = sender.jid.toString();
    if (this.#taps.some((tap) => tap(stanza) === 'drop')) return;
    if (stanza.name === 'presence') this.#presence(stanza, sender);
    else if (stanza.name === 'iq') this.#iq(stanza, sender);
    else this.#message(stanza, sender);
  }

  /** The end of a stream as its peers see it. */
  gone(end: End): void {
    if (this.ends.get(end.jid.toString()) === end) this.ends.delete(end.jid.toString());
    this.#broadcast(xml('presence', { from: end.jid.toString(), type: 'unavailable' }), end);
  }

  #resources(account: Jid): End[] {
    return [...this.ends.values()].filter((end) => end.jid.sameBare(account));
  }

  #forward(stanza: Element, to: Jid): void {
    const copy = reparse(stanza);
    copy.attrs['to'] = to.toString();
    this.ends.get(to.toString())?.deliver(copy);
  }

  #presence(stanza: Element, sender: End): void {
    const { to: address, type } = stanza.attrs;
    if (address === undefined) {
      const first = sender.presence === undefined && type === undefined;
      sender.presence = type === undefined ? stanza : undefined;
      this.#broadcast(stanza, sender);
      if (first) this.#probe(sender);
      return;
    }
    const to = parse(address);
    if (type === undefined) sender.directed.add(address);
    else if (type === 'unavailable') sender.directed.delete(address);
    else stanza.attrs['from'] = sender.jid.bare.toString();
    const targets = to.isFull
      ? [to]
      : this.#resources(to)
          .filter((end) => end.presence !== undefined)
          .map((end) => end.jid);
    for (const target of targets) this.#forward(stanza, target);
  }

  #broadcast(stanza: Element, sender: End): void {
    const accounts = [sender.jid.bare.toString()];
    accounts.push(...(this.#friends.get(sender.jid.bare.toString()) ?? []));
    const targets = new Map<string, Jid>();
    for (const account of accounts)
      for (const end of this.#resources(parse(account)))
        if (end.presence !== undefined || end === sender) targets.set(end.jid.toString(), end.jid);
    if (stanza.attrs['type'] === 'unavailable') {
      for (const text of sender.directed)
        for (const end of this.#resources(parse(text)))
          if (end.jid.toString() === text || parse(text).resource === '')
            targets.set(end.jid.toString(), end.jid);
      sender.directed.clear();
    }
    for (const target of targets.values()) this.#forward(stanza, target);
  }

  #probe(asker: End): void {
    const accounts = [asker.jid.bare.toString()];
    accounts.push(...(this.#friends.get(asker.jid.bare.toString()) ?? []));
    for (const account of accounts)
      for (const end of this.#resources(parse(account)))
        if (end !== asker && end.presence !== undefined) this.#forward(end.presence, asker.jid);
  }

  #message(stanza: Element, sender: End): void {
    const to = parse(stanza.attrs['to'] ?? sender.jid.bare);
    const targets = to.isFull
      ? this.ends.has(to.toString())
        ? [to]
        : []
      : this.#resources(to)
          .filter((end) => end.priority >= 0)
          .map((end) => end.jid);
    for (const target of targets) this.#forward(stanza, target);
    const copies = this.#resources(to).filter(
      (end) => end.copies && !targets.some((target) => target.equals(end.jid)),
    );
    stanza.attrs['xmlns'] = 'jabber:client';
    for (const { jid } of copies) {
      const forwarded = xml('forwarded', { xmlns: 'urn:xmpp:forward:0' }, reparse(stanza));
      const copy = xml('received', { xmlns: CARBONS }, forwarded);
      this.#forward(xml('message', { from: to.bare.toString(), type: 'chat' }, copy), jid);
    }
    if (targets.length + copies.length === 0 && stanza.attrs['type'] !== 'error')
      sender.deliver(reparse(failure(stanza, to, unavailable())));
  }

  #iq(stanza: Element, sender: End): void {
    const { to: address, type } = stanza.attrs;
    const to = address === undefined ? sender.jid.bare : parse(address);
    if (to.isFull) {
      if (this.ends.has(to.toString())) this.#forward(stanza, to);
      else if (type === 'get' || type === 'set')
        sender.deliver(reparse(failure(stanza, to, unavailable())));
      return;
    }
    if (type !== 'get' && type !== 'set') return;
    void this.#answer(stanza, to, type, sender, address);
  }

  async #answer(
    stanza: Element,
    to: Jid,
    type: 'get' | 'set',
    sender: End,
    address: string | undefined,
  ): Promise<void> {
    const payload = stanza.getChildElements()[0];
    let reply: Element;
    const copies = payload?.is('enable', CARBONS) === true && address === undefined;
    if (copies) sender.copies = true;
    try {
      const handler = copies ? () => undefined : this.#handlers.get(payload?.getNS() ?? '');
      if (handler === undefined || payload === undefined) throw unavailable();
      reply = result(stanza, to, await handler({ from: sender.jid, to, type, payload }));
    } catch (error) {
      reply = failure(stanza, to, asStanzaError(error));
    }
    if (address === undefined) delete reply.attrs['from'];
    sender.deliver(reparse(reply));
  }
}

class End implements TestConnection {
  readonly jid: Jid;
  readonly loopback = true;
  maxStanza: number | undefined = undefined;
  readonly localAddress = '127.0.0.1';
  readonly received: Element[] = [];
  readonly directed = new Set<string>();
  presence: Element | undefined;
  copies = false;
  audience: (from: Jid) => boolean = () => false;
  readonly #server: Server;
  readonly #waiting = new Map<string, (reply: Element) => void>();
  readonly #failing = new Set<(error: StanzaError) => void>();
  readonly #handlers = new Map<string, IqHandler>();
  readonly #message = new Set<(message: Element, from: Jid) => void>();
  readonly #presence = new Set<(presence: Element, from: Jid) => void>();
  readonly #state = new Set<(state: ConnectionState) => void>();
  #alive = true;
  #frozen = false;

  constructor(server: Server, jid: Jid) {
    this.#server = server;
    this.jid = jid;
  }

  get priority(): number {
    if (this.presence === undefined) return -129;
    return Number(this.presence.getChildText('priority') ?? '0');
  }

  iq(
    to: Jid | null,
    type: 'get' | 'set',
    payload: Element,
    options: { readonly timeout?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Element | undefined> {
    const { timeout = 20_000, signal } = options;
    const id = randomId();
    const key = `${id} ${(to ?? this.jid.bare).toString()}`;
    return new Promise((resolve, reject) => {
      if (!this.#alive) {
        reject(new StanzaError('cancel', 'disconnect'));
        return;
      }
      const end = () => {
        cancel();
        this.#waiting.delete(key);
        this.#failing.delete(fail);
        signal?.removeEventListener('abort', abort);
      };
      const fail = (error: Error) => {
        end();
        reject(error);
      };
      const abort = () => {
        fail(signal?.reason as Error);
      };
      const cancel = this.#server.clock.after(timeout, () => {
        fail(new StanzaError('wait', 'remote-server-timeout'));
      });
      this.#failing.add(fail);
      if (signal?.aborted) {
        abort();
        return;
      }
      signal?.addEventListener('abort', abort, { once: true });
      this.#waiting.set(key, (reply) => {
        if (reply.attrs['type'] === 'error') fail(readError(reply));
        else {
          end();
          resolve(reply.getChildElements()[0]);
        }
      });
      const address = to === null ? {} : { to: to.toString() };
      this.#out(xml('iq', { type, id, ...address }, payload));
    });
  }

  send(stanza: Element): Promise<void> {
    if (!this.#alive) return Promise.reject(new StanzaError('cancel', 'disconnect'));
    this.#out(stanza);
    return Promise.resolve();
  }

  onIq(namespace: string, name: string | undefined, handler: IqHandler): () => void {
    const key = `${namespace} ${name ?? ''}`;
    if (this.#handlers.has(key)) throw new Error(`${key} has a handler`);
    this.#handlers.set(key, handler);
    return () => {
      this.#handlers.delete(key);
    };
  }

  onMessage(listener: (message: Element, from: Jid) => void): () => void {
    return listen(this.#message, listener);
  }

  onPresence(listener: (presence: Element, from: Jid) => void): () => void {
    return listen(this.#presence, listener);
  }

  onState(listener: (state: ConnectionState) => void): () => void {
    return listen(this.#state, listener);
  }

  close(): Promise<void> {
    this.drop('closed');
    return Promise.resolve();
  }

  freeze(): void {
    this.#frozen = true;
  }

  drop(reason = 'stream lost'): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#server.gone(this);
    for (const fail of [...this.#failing]) fail(new StanzaError('cancel', 'disconnect'));
    for (const listener of [...this.#state]) listener({ kind: 'closed', reason });
  }

  /** Takes a stanza from the server, in order, never within the sender's own turn. */
  deliver(stanza: Element): void {
    queueMicrotask(() => {
      if (!this.#alive || this.#frozen) return;
      this.received.push(stanza);
      const from = Jid.parse(stanza.attrs['from'] ?? this.jid.bare.toString());
      if (from === undefined) return;
      if (stanza.name === 'iq') void this.#request(stanza, from);
      else
        for (const listener of [...(stanza.name === 'message' ? this.#message : this.#presence)])
          listener(stanza, from);
    });
  }

  async #request(stanza: Element, from: Jid): Promise<void> {
    const { type, id } = stanza.attrs;
    if (id === undefined) return;
    if (type !== 'get' && type !== 'set') {
      this.#waiting.get(`${id} ${from.toString()}`)?.(stanza);
      return;
    }
    const payload = stanza.getChildElements()[0];
    let reply: Element;
    try {
      const ours = from.sameBare(this.jid) || from.toString() === this.jid.domain;
      if ((!ours && !this.audience(from)) || payload === undefined) throw unavailable();
      const namespace = payload.getNS() ?? '';
      const handler =
        this.#handlers.get(`${namespace} ${payload.name}`) ?? this.#handlers.get(`${namespace} `);
      if (handler === undefined) throw unavailable();
      reply = result(stanza, this.jid, await handler({ from, type, id, payload }));
    } catch (error) {
      reply = failure(stanza, this.jid, asStanzaError(error));
    }
    if (this.#alive) this.#out(reply);
  }

  #out(stanza: Element): void {
    const text = reparse(stanza);
    queueMicrotask(() => {
      if (this.#alive && !this.#frozen) this.#server.route(text, this);
    });
  }
}

function parse(address: Jid | string): Jid {
  const jid = typeof address === 'string' ? Jid.parse(address) : address;
  if (jid === undefined) throw new Error(`not an address: ${String(address)}`);
  return jid;
}

function listen<T>(set: Set<T>, listener: T): () => void {
  set.add(listener);
  return () => {
    set.delete(listener);
  };
}

function unavailable(): StanzaError {
  return new StanzaError('cancel', 'service-unavailable');
}

function asStanzaError(error: unknown): StanzaError {
  return error instanceof StanzaError ? error : new StanzaError('cancel', 'internal-server-error');
}

function ends(request: Element, from: Jid): Record<string, string> {
  return {
    from: from.toString(),
    to: request.attrs['from'] ?? '',
    ...(request.attrs['id'] === undefined ? {} : { id: request.attrs['id'] }),
  };
}

function result(request: Element, from: Jid, payload: Element | undefined): Element {
  return xml('iq', { type: 'result', ...ends(request, from) }, payload);
}

function failure(request: Element, from: Jid, error: StanzaError): Element {
  return xml(
    request.name,
    { type: 'error', ...ends(request, from) },
    xml(
      'error',
      { type: error.type },
      xml(error.condition, { xmlns: STANZAS }),
      error.text === undefined ? undefined : xml('text', { xmlns: STANZAS }, error.text),
      error.application,
    ),
  );
}

function readError(reply: Element): StanzaError {
  const error = reply.getChild('error');
  const children = error?.getChildElements() ?? [];
  const condition = children.find((child) => child.getNS() === STANZAS && child.name !== 'text');
  const application = children.find((child) => child.getNS() !== STANZAS);
  const type = error?.attrs['type'] as StanzaError['type'] | undefined;
  return new StanzaError(
    type ?? 'cancel',
    condition?.name ?? 'undefined-condition',
    error?.getChildText('text', STANZAS) ?? undefined,
    application,
  );
}
