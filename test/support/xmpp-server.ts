/**
 * A small server: TLS, SCRAM as a server computes it (RFC 5802, RFC 7677) with channel bindings taken
 * from its own end of the connection, and a session. For what Prosody does not offer, and for servers
 * that do wrong.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes, X509Certificate } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { createServer, type SecureVersion, type TLSSocket } from 'node:tls';
import type { Element } from '@xmpp/xml';
import { StreamParser } from '../../src/xmpp/parser.ts';
import type { Certificate } from './certificate.ts';

const SASL = 'urn:ietf:params:xml:ns:xmpp-sasl';
const ITERATIONS = 4096;

/** What a server is like. */
export interface ServerOptions {
  readonly certificate: Certificate;
  readonly password: string;
  /** What it says in its features; what it truly has is in `has`. */
  readonly mechanisms: readonly string[];
  /** Mechanisms that it has, where somebody on the way took some out of what it says. */
  readonly has?: readonly string[];
  /** The bindings that it says it knows (XEP-0440); by default it says nothing. */
  readonly bindingTypes?: readonly string[] | undefined;
  /** The hash of its certificate's signature; default sha256. */
  readonly certificateHash?: string;
  /** It knows no password: its signature is made up. */
  readonly lies?: boolean;
  /** The signature comes in a challenge of its own (RFC 6120 §6.3.10). */
  readonly asksForEnd?: boolean;
  readonly maxVersion?: SecureVersion;
  /** Further features after login, as XML. */
  readonly features?: string;
  /** The answer to a request to bind: an error condition in place of an address. */
  readonly bindError?: string;
  /** The failure in place of a success. */
  readonly failure?: string;
  /** Answers what comes after the session began, beside requests of sessions. */
  readonly answer?: (stanza: Element) => string | undefined;
}

/** One login as the server saw it. */
export interface Login {
  readonly mechanism: string;
  /** The GS2 header: `n,,`, `y,,` or `p=TYPE,,`. */
  readonly header: string;
}

/** A listening server. */
export interface XmppServer {
  readonly port: number;
  readonly logins: readonly Login[];
  /** All elements that it got, oldest first. */
  readonly heard: readonly Element[];
  /** All that it got inside TLS, as text. */
  readonly text: string;
  /** Open connections. */
  readonly sockets: ReadonlySet<TLSSocket>;
  stop(): Promise<void>;
}

/** Listens on loopback; every byte is inside TLS. */
export async function startXmppServer(options: ServerOptions): Promise<XmppServer> {
  const logins: Login[] = [];
  const heard: Element[] = [];
  const sockets = new Set<TLSSocket>();
  let all = '';
  const { certificate, maxVersion } = options;
  const tls = { ...certificate, ...(maxVersion && { maxVersion }) };
  const server = createServer(tls, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    const peer = new Peer(socket, options, logins);
    let parser = fresh();
    function fresh(): StreamParser {
      const made = new StreamParser();
      made.on('element', (element: Element) => {
        heard.push(element);
        peer.take(element);
      });
      made.on('error', () => socket.destroy());
      return made;
    }
    socket.on('data', (bytes: Buffer) => {
      const text = bytes.toString();
      all += text;
      if (text.includes('<stream:stream')) {
        parser = fresh();
        peer.open();
      }
      parser.write(text);
      if (text.includes('</stream:stream>')) socket.end('</stream:stream>');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    logins,
    heard,
    get text() {
      return all;
    },
    sockets,
    stop: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => void server.close(() => resolve()));
    },
  };
}

const base64 = (data: string | Buffer) => Buffer.from(data).toString('base64');

class Peer {
  readonly #socket: TLSSocket;
  readonly #options: ServerOptions;
  readonly #logins: Login[];
  #scram: Scram | undefined;
  #ready = false;
  #proven = false;

  constructor(socket: TLSSocket, options: ServerOptions, logins: Login[]) {
    this.#socket = socket;
    this.#options = options;
    this.#logins = logins;
  }

  open(): void {
    const { mechanisms, bindingTypes, features } = this.#options;
    const names = mechanisms.map((name) => `<mechanism>${name}</mechanism>`).join('');
    const types = bindingTypes?.map((type) => `<channel-binding type='${type}'/>`).join('');
    const bindings =
      types === undefined
        ? ''
        : `<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>${types}</sasl-channel-binding>`;
    const offer = this.#ready
      ? `<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>${features ?? ''}`
      : `<mechanisms xmlns='${SASL}'>${names}</mechanisms>${bindings}`;
    this.#say(
      `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' id='s'><stream:features>${offer}</stream:features>`,
    );
  }

  take(element: Element): void {
    if (element.is('auth', SASL)) this.#begin(element);
    else if (element.is('response', SASL)) this.#go(element);
    else if (element.getName() === 'iq') this.#request(element);
    else this.#say(this.#options.answer?.(element) ?? '');
  }

  #begin(element: Element): void {
    const mechanism = element.attrs['mechanism'] ?? '';
    const first = Buffer.from(element.text(), 'base64').toString();
    const header = /^[^,]*,[^,]*,/.exec(first)?.[0] ?? '';
    this.#logins.push({ mechanism, header });
    const { failure, mechanisms, has = mechanisms } = this.#options;
    const bound = mechanism.endsWith('-PLUS');
    const downgraded = header.startsWith('y') && has.some((name) => name.endsWith('-PLUS'));
    if (failure !== undefined) this.#fail(failure);
    else if (!has.includes(mechanism) || bound !== header.startsWith('p=') || downgraded)
      this.#fail('not-authorized');
    else {
      this.#scram = new Scram(this.#socket, this.#options, mechanism, header, first);
      this.#say(`<challenge xmlns='${SASL}'>${base64(this.#scram.serverFirst)}</challenge>`);
    }
  }

  #go(element: Element): void {
    const { asksForEnd } = this.#options;
    if (this.#proven) {
      this.#ready = true;
      this.#say(`<success xmlns='${SASL}'/>`);
      return;
    }
    const end = this.#scram?.finish(Buffer.from(element.text(), 'base64').toString());
    if (end === undefined) {
      this.#fail('not-authorized');
      return;
    }
    this.#proven = true;
    this.#ready = asksForEnd !== true;
    const name = this.#ready ? 'success' : 'challenge';
    this.#say(`<${name} xmlns='${SASL}'>${base64(end)}</${name}>`);
  }

  #request(element: Element): void {
    const id = element.attrs['id'] ?? '';
    const bind = element.getChild('bind', 'urn:ietf:params:xml:ns:xmpp-bind');
    const { bindError } = this.#options;
    if (bind === undefined) {
      this.#say(this.#options.answer?.(element) ?? `<iq type='result' id='${id}'/>`);
    } else if (bindError !== undefined) {
      this.#say(
        `<iq type='error' id='${id}'><error type='wait'><${bindError} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`,
      );
    } else {
      const jid = `romeo@home.example/${bind.getChildText('resource') ?? ''}`;
      this.#say(
        `<iq type='result' id='${id}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>${jid}</jid></bind></iq>`,
      );
    }
  }

  #fail(condition: string): void {
    this.#say(`<failure xmlns='${SASL}'><${condition}/></failure>`);
  }

  #say(text: string): void {
    if (text !== '' && this.#socket.writable) this.#socket.write(text);
  }
}

/** One exchange, from what the server stores of the password. */
class Scram {
  readonly serverFirst: string;
  readonly #options: ServerOptions;
  readonly #hash: string;
  readonly #bare: string;
  readonly #nonce: string;
  readonly #channel: Buffer;
  readonly #storedKey: Buffer;
  readonly #serverKey: Buffer;

  constructor(
    socket: TLSSocket,
    options: ServerOptions,
    mechanism: string,
    header: string,
    first: string,
  ) {
    this.#options = options;
    this.#hash = mechanism.includes('SHA-256') ? 'sha256' : 'sha1';
    this.#bare = first.slice(header.length);
    const theirs = /(?:^|,)r=([^,]*)/.exec(this.#bare)?.[1] ?? '';
    this.#nonce = theirs + base64(randomBytes(18));
    const salt = randomBytes(16);
    const length = this.#hash === 'sha256' ? 32 : 20;
    const salted = pbkdf2Sync(options.password, salt, ITERATIONS, length, this.#hash);
    this.#storedKey = this.#digest(this.#hmac(salted, 'Client Key'));
    this.#serverKey = this.#hmac(salted, 'Server Key');
    this.#channel = Buffer.concat([Buffer.from(header), this.#binding(socket, header)]);
    this.serverFirst = `r=${this.#nonce},s=${base64(salt)},i=${ITERATIONS}`;
  }

  /** The end of the exchange; undefined when the client is refused. */
  finish(final: string): string | undefined {
    const [, without = '', channel = '', nonce = '', proofText = ''] =
      /^(c=([^,]*),r=([^,]*)),p=(.*)$/.exec(final) ?? [];
    const message = `${this.#bare},${this.serverFirst},${without}`;
    const proof = Buffer.from(proofText, 'base64');
    const signature = this.#hmac(this.#storedKey, message);
    const clientKey = Buffer.from(signature.map((byte, at) => byte ^ (proof[at] ?? 0)));
    const known =
      nonce === this.#nonce &&
      this.#channel.equals(Buffer.from(channel, 'base64')) &&
      this.#digest(clientKey).equals(this.#storedKey);
    if (this.#options.lies === true) return `v=${base64(randomBytes(signature.length))}`;
    return known ? `v=${base64(this.#hmac(this.#serverKey, message))}` : undefined;
  }

  /** From this end: the exporter of its own TLS, the hash of its own certificate. */
  #binding(socket: TLSSocket, header: string): Buffer {
    if (header === 'p=tls-exporter,,')
      return socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0));
    if (header === 'p=tls-server-end-point,,') {
      const { raw } = new X509Certificate(this.#options.certificate.cert);
      const hash = this.#options.certificateHash ?? 'sha256';
      return createHash(hash).update(raw).digest();
    }
    return Buffer.alloc(0);
  }

  #hmac(key: Buffer, text: string): Buffer {
    return createHmac(this.#hash, key).update(text).digest();
  }

  #digest(data: Buffer): Buffer {
    return createHash(this.#hash).update(data).digest();
  }
}
