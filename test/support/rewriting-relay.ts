/**
 * The hostile server of the tests: it stands between `jet` and a real server with a certificate that the
 * client believes, reads every stanza, and changes, drops, repeats and forges what it likes.
 */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { StreamParser } from '../../src/xmpp/parser.ts';
import type { Element } from '../../src/xmpp/xml.ts';
import type { Prosody } from './prosody.ts';

const SASL = 'urn:ietf:params:xml:ns:xmpp-sasl';
const BIND = 'urn:ietf:params:xml:ns:xmpp-bind';

/** `up`: from a client to its server. */
export type Direction = 'up' | 'down';

/** On whose stream a stanza passes, and which way. */
export interface Way {
  /** The full address that the server gave the client. */
  readonly jid: string;
  /** The name of its account. */
  readonly account: string;
  readonly direction: Direction;
}

/** What goes on in place of a stanza: itself, others, or nothing. May change the element that it is given. */
export type Rewrite = (stanza: Element, way: Way) => Element | readonly Element[];

/** A relay for any number of clients of one server. */
export class RewritingRelay {
  /** For `JET_SERVER`. */
  readonly at: string;
  /** Asked about every stanza of a bound stream. */
  rewrite: Rewrite = (stanza) => stanza;
  /** All that came, before it was changed, in the order of coming. */
  seen = '';
  readonly #listener: Server;
  readonly #streams: Set<Passing>;

  private constructor(listener: Server, streams: Set<Passing>) {
    this.#listener = listener;
    this.#streams = streams;
    this.at = `tls://127.0.0.1:${(listener.address() as AddressInfo).port}`;
  }

  /** Makes a certificate for the server's domain with the authority of the tests, and listens. */
  static async start(server: Prosody): Promise<RewritingRelay> {
    const streams = new Set<Passing>();
    const ca = await readFile(server.caFile);
    const listener = createServer({
      ...(await certificate(server)),
      ALPNProtocols: ['xmpp-client'],
    });
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject);
      listener.listen(0, '127.0.0.1', resolve);
    });
    const relay = new RewritingRelay(listener, streams);
    listener.on('secureConnection', (near) => {
      const far = connect({
        ...{ host: '127.0.0.1', port: server.directTlsPort, servername: server.domain },
        ...{ ca, ALPNProtocols: ['xmpp-client'] },
      });
      const passing = new Passing(relay, near, far);
      streams.add(passing);
      near.on('close', () => streams.delete(passing));
    });
    return relay;
  }

  /** Says something itself: `down` as the server to the client, `up` as the client to the server. */
  forge(account: string, direction: Direction, stanza: Element): void {
    const passing = [...this.#streams].findLast((one) => one.account === account);
    if (passing === undefined) throw new Error(`${account} is not online`);
    passing.write(direction, stanza.toString());
  }

  /** The full addresses of an account's clients, in the order in which they came. */
  online(account: string): string[] {
    return [...this.#streams].filter((one) => one.account === account).map(({ jid }) => jid);
  }

  /** Honest again, with nothing seen. */
  reset(): void {
    this.rewrite = (stanza) => stanza;
    this.seen = '';
  }

  async stop(): Promise<void> {
    for (const passing of [...this.#streams]) passing.destroy();
    await new Promise((resolve) => void this.#listener.close(resolve));
  }
}

/** One client's stream. */
class Passing {
  readonly #relay: RewritingRelay;
  readonly #sockets: Record<Direction, TLSSocket>;
  readonly #parsers = new Map<Direction, StreamParser>();
  #jid = '';

  constructor(relay: RewritingRelay, near: TLSSocket, far: TLSSocket) {
    this.#relay = relay;
    this.#sockets = { up: far, down: near };
    this.#read('up', near);
    this.#read('down', far);
  }

  get jid(): string {
    return this.#jid;
  }

  get account(): string {
    return this.#jid.split('@')[0] ?? '';
  }

  write(direction: Direction, text: string): void {
    const socket = this.#sockets[direction];
    if (socket.writable) socket.write(text);
  }

  destroy(): void {
    this.#sockets.up.destroy();
    this.#sockets.down.destroy();
  }

  #read(direction: Direction, from: TLSSocket): void {
    const decoder = new StringDecoder('utf8');
    from.on('data', (data: Buffer) => {
      const parser = this.#parsers.get(direction) ?? this.#parser(direction);
      this.#parsers.set(direction, parser);
      parser.write(decoder.write(data));
    });
    from.on('error', () => this.destroy());
    from.on('close', () => this.destroy());
  }

  #parser(direction: Direction): StreamParser {
    const parser = new StreamParser();
    parser.on('start', (root: Element) => {
      this.write(direction, `<?xml version='1.0'?>${root.toString().replace(/\/>$/, '>')}`);
    });
    parser.on('element', (element: Element) => this.#pass(direction, element));
    parser.on('end', () => this.write(direction, '</stream:stream>'));
    parser.on('error', () => this.destroy());
    return parser;
  }

  #pass(direction: Direction, element: Element): void {
    this.#relay.seen += `${element.toString()}\n`;
    if (this.#jid === '') {
      this.#login(direction, element);
      this.write(direction, element.toString());
      return;
    }
    const way = { jid: this.#jid, account: this.account, direction };
    const rewritten = this.#relay.rewrite(element, way);
    for (const one of Array.isArray(rewritten) ? (rewritten as Element[]) : [rewritten as Element])
      this.write(direction, one.toString());
  }

  /** Follows the login as far as the stream begins anew by it, and to the address that is bound. */
  #login(direction: Direction, element: Element): void {
    // What the client says next begins a new stream, and so does the answer.
    if (element.is('success', SASL)) this.#parsers.clear();
    const bound = element.getChild('bind', BIND)?.getChildText('jid');
    if (direction === 'down' && typeof bound === 'string') this.#jid = bound;
  }
}

async function certificate(server: Prosody): Promise<{ key: Buffer; cert: Buffer }> {
  const run = promisify(execFile);
  const at = (name: string) => join(server.folder, name);
  await writeFile(at('relay.ext'), `subjectAltName=DNS:${server.domain}\n`);
  await run('openssl', [
    ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', at('relay.key'), '-out', at('relay.csr'), '-subj', `/CN=${server.domain}`],
  ]);
  await run('openssl', [
    ...['x509', '-req', '-in', at('relay.csr'), '-CA', at('ca.crt'), '-CAkey', at('ca.key')],
    ...['-CAcreateserial', '-days', '30', '-out', at('relay.crt'), '-extfile', at('relay.ext')],
  ]);
  return { key: await readFile(at('relay.key')), cert: await readFile(at('relay.crt')) };
}
