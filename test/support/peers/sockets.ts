/** SOCKS5 bytestreams with plain sockets (XEP-0065), as the scripted counterparts use them. */
import { createHash, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Jid } from '../../../src/core/jid.ts';
import type { Connection } from '../../../src/xmpp/connection.ts';
import { xml, type Element } from '../../../src/xmpp/xml.ts';
import { address } from '../address.ts';

export const S5B = 'urn:xmpp:jingle:transports:s5b:1';
const BYTESTREAMS = 'http://jabber.org/protocol/bytestreams';
const DISCO_ITEMS = 'http://jabber.org/protocol/disco#items';

/** A candidate as it stands in a `<transport/>`. */
export interface Candidate {
  readonly cid: string;
  readonly host: string;
  readonly port: number;
  readonly jid: string;
  readonly priority: number;
  readonly type: string;
}

/** XEP-0260 §2.2. */
export function digest(sid: string, offerer: Jid, other: Jid): string {
  const text = sid + offerer.toString() + other.toString();
  return createHash('sha1').update(text).digest('hex');
}

/** The addresses of this machine that are neither loopback nor link-local; loopback where there is no other. */
export function localAddresses(): string[] {
  const found = Object.values(networkInterfaces())
    .flatMap((infos) => infos ?? [])
    .filter(({ internal, address: at }) => !internal && !/^(?:fe80|169\.254\.)/i.test(at))
    .map(({ address: at }) => at);
  return found.length > 0 ? found : ['127.0.0.1'];
}

/** Reads what a peer offers, the best first. */
export function candidatesOf(transport: Element): Candidate[] {
  return transport
    .getChildren('candidate')
    .map(({ attrs: { cid = '', host = '', port, jid = '', priority, type = '' } }) => ({
      ...{ cid, host, jid, type, port: Number(port), priority: Number(priority) },
    }))
    .sort((a, b) => b.priority - a.priority);
}

/** Writes ours. */
export function writeCandidates(candidates: readonly Candidate[]): Element[] {
  return candidates.map(({ port, priority, ...rest }) =>
    xml('candidate', { ...rest, port: String(port), priority: String(priority) }),
  );
}

/** Takes connections that name one destination; each is kept under the local address that it came to. */
export class Listener {
  readonly port: number;
  readonly #server: Server;
  readonly #open = new Map<string, Socket>();

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  static async open(destination: string): Promise<Listener> {
    const server = createServer({ allowHalfOpen: true });
    server.listen(0);
    await once(server, 'listening');
    const at = server.address();
    const made = new Listener(server, typeof at === 'object' && at !== null ? at.port : 0);
    server.on(
      'connection',
      (socket) => void made.#greet(socket, destination).catch(() => socket.destroy()),
    );
    return made;
  }

  /** The connection that came to this address of ours. */
  at(host: string): Socket | undefined {
    return this.#open.get(host);
  }

  close(except?: Socket): void {
    this.#server.close();
    for (const socket of this.#open.values()) if (socket !== except) socket.destroy();
  }

  async #greet(socket: Socket, destination: string): Promise<void> {
    socket.on('error', () => undefined);
    const [, methods = 0] = await read(socket, 2);
    await read(socket, methods);
    socket.write(Buffer.from([5, 0]));
    const [, , , , length = 0] = await read(socket, 5);
    const name = await read(socket, length);
    const port = await read(socket, 2);
    const right = name.toString() === destination;
    const head = Buffer.from([5, right ? 0 : 4, 0, 3, length]);
    // Known before the answer: who has that may say at once that it uses this connection.
    const local = (socket.localAddress ?? '').replace('::ffff:', '');
    if (right) this.#open.set(local, socket);
    socket.write(Buffer.concat([head, name, port]));
    if (!right) socket.destroy();
  }
}

/** Connects to a streamhost and names the destination. @throws when it does not take that */
export async function connect(
  host: string,
  port: number,
  destination: string,
  timeout: number,
): Promise<Socket> {
  const socket = connectTcp({ host, port, allowHalfOpen: true });
  socket.on('error', () => undefined);
  const timer = setTimeout(() => socket.destroy(), timeout);
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(timeout) });
    socket.write(Buffer.from([5, 1, 0]));
    await read(socket, 2);
    const name = Buffer.from(destination);
    socket.write(Buffer.concat([Buffer.from([5, 1, 0, 3, name.length]), name, Buffer.alloc(2)]));
    const [, status, , , length = 0] = await read(socket, 5);
    await read(socket, length + 2);
    if (status !== 0) throw new Error('not taken');
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** The proxy of our server, as the server names it; undefined where it has none. */
export async function ownProxy(
  connection: Connection,
): Promise<{ jid: string; host: string; port: number } | undefined> {
  const server = address(connection.jid.domain);
  const items = await connection.iq(server, 'get', xml('query', { xmlns: DISCO_ITEMS }));
  const jid = items?.getChildren('item')[0]?.attrs['jid'];
  if (jid === undefined) return undefined;
  const answer = await connection.iq(address(jid), 'get', xml('query', { xmlns: BYTESTREAMS }));
  const { host = '', port } = answer?.getChild('streamhost')?.attrs ?? {};
  return { jid, host, port: Number(port) };
}

/** Asks a proxy to join the two connections. @throws StanzaError */
export async function activate(
  connection: Connection,
  proxy: string,
  sid: string,
  peer: Jid,
): Promise<void> {
  const target = xml('activate', {}, peer.toString());
  await connection.iq(address(proxy), 'set', xml('query', { xmlns: BYTESTREAMS, sid }, target));
}

/** Reads exactly so many bytes. @throws when the stream ends before */
export async function read(socket: Socket, length: number): Promise<Buffer> {
  while (length > 0) {
    const got = socket.read(length) as Buffer | null;
    if (got !== null) {
      if (got.length === length) return got;
      throw new Error('the stream ended');
    }
    if (socket.readableEnded || socket.destroyed) throw new Error('the stream ended');
    await new Promise<void>((resolve) => {
      const go = () => {
        for (const event of ['readable', 'end', 'close']) socket.off(event, go);
        resolve();
      };
      for (const event of ['readable', 'end', 'close']) socket.on(event, go);
    });
  }
  return Buffer.alloc(0);
}

/** A name for something, as random as it has to be. */
export function anyId(): string {
  return randomInt(2 ** 47).toString(36);
}
