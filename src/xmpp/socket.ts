/**
 * The socket under a stream: TCP with a later STARTTLS (RFC 6120 §5) or TLS at once (XEP-0368 v1.1),
 * straight or through the user's SOCKS5 proxy. The certificate always has to match the domain.
 */
import { EventEmitter } from 'node:events';
import { connect as tcpConnect, isIP, type Socket } from 'node:net';
import { StringDecoder } from 'node:string_decoder';
import { checkServerIdentity, connect as tlsConnect, type TLSSocket } from 'node:tls';
import { within, type Clock } from '../core/clock.ts';
import { asciiHost, type Target } from './resolve.ts';

/** The user's SOCKS5 proxy. It also resolves the names. */
export interface SocksProxy {
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
}

/** How sockets are made. */
export interface SocketOptions {
  /** The domain of the address, which the certificate must be for. */
  readonly domain: string;
  readonly clock: Clock;
  /** Certificates in PEM that replace the roots. */
  readonly ca?: Buffer;
  readonly socks?: SocksProxy;
}

/** The longest wait in ms for a connection, and for a TLS handshake. */
export const CONNECT_TIMEOUT = 15_000;

/** The events and methods that \@xmpp/client wants of a socket: connect, data, error, close. */
export class StreamSocket extends EventEmitter {
  readonly #target: Target;
  readonly #options: SocketOptions;
  #raw: Socket | undefined;
  #tls: TLSSocket | undefined;
  #ended = false;

  constructor(target: Target, options: SocketOptions) {
    super();
    this.#target = target;
    this.#options = options;
  }

  /** True inside TLS with a verified certificate. */
  get secure(): boolean {
    return this.#tls?.authorized === true;
  }

  /** The TLS socket once it is verified. */
  get tls(): TLSSocket | undefined {
    return this.secure ? this.#tls : undefined;
  }

  /** The local address; undefined through a proxy. */
  get localAddress(): string | undefined {
    return this.#options.socks === undefined ? this.#raw?.localAddress : undefined;
  }

  /** True when the server is on this machine, no proxy between. */
  get loopback(): boolean {
    if (this.#options.socks !== undefined) return false;
    return /^(?:::ffff:)?127\.|^::1$/.test(this.#raw?.remoteAddress ?? '');
  }

  /** Connects; what comes of it is told by `connect` or `error`. */
  connect(): void {
    this.#connect().then(
      () => {
        if (!this.#ended) this.emit('connect');
      },
      (error: unknown) => {
        this.#fail(error as Error);
      },
    );
  }

  /**
   * Goes on inside TLS.
   *
   * @throws an error of Node, its code telling a bad certificate from a failed handshake
   */
  async startTls(alpn = false): Promise<void> {
    const raw = this.#raw;
    if (raw === undefined || this.#tls !== undefined || this.#ended)
      throw new Error('the connection is closed');
    const { domain, ca, clock } = this.#options;
    const name = asciiHost(domain);
    // From here on all that comes is TLS, or the end of the attempt: the socket itself tells nothing more.
    const secure = tlsConnect({
      socket: raw,
      host: name,
      ...(isIP(name) === 0 ? { servername: name } : {}),
      ...(ca === undefined ? {} : { ca }),
      ...(alpn ? { ALPNProtocols: ['xmpp-client'] } : {}),
      minVersion: 'TLSv1.2',
      rejectUnauthorized: true,
      checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
    });
    this.#tls = secure;
    const ready = new Promise<void>((resolve, reject) => {
      secure.once('secureConnect', resolve);
      secure.once('error', reject);
      secure.once('close', () => {
        reject(new Error('the server closed the connection during the TLS handshake'));
      });
    });
    await within(clock, CONNECT_TIMEOUT, ready, () => new Error('the TLS handshake took too long'));
    if (!this.secure) throw new Error('the certificate is not verified');
    this.#listen(secure);
  }

  write(text: string, done: (error?: Error | null) => void): void {
    const socket = this.#tls ?? this.#raw;
    if (socket?.writable !== true || this.#ended) done(new Error('the connection is closed'));
    else socket.write(text, done);
  }

  /** Ends the writing side. */
  end(): void {
    (this.#tls ?? this.#raw)?.end();
  }

  /** Closes at once; `close` follows. */
  destroy(): void {
    this.#close();
  }

  async #connect(): Promise<void> {
    const raw = await this.#open();
    this.#raw = raw;
    raw.on('error', (error) => {
      this.#fail(error);
    });
    raw.on('close', () => {
      this.#close();
    });
    if (this.#ended) {
      raw.destroy();
      return;
    }
    raw.setNoDelay(true);
    raw.setKeepAlive(true, 60_000);
    if (this.#target.tls) await this.startTls(true);
    else this.#listen(raw);
  }

  async #open(): Promise<Socket> {
    const { host, port } = this.#target;
    const { socks, clock } = this.#options;
    if (socks !== undefined) {
      const { SocksClient } = await import('./socks.ts');
      const { socket } = await SocksClient.createConnection({
        command: 'connect',
        destination: { host, port },
        timeout: CONNECT_TIMEOUT,
        proxy: {
          host: socks.host,
          port: socks.port,
          type: 5,
          ...(socks.username === undefined ? {} : { userId: socks.username }),
          ...(socks.password === undefined ? {} : { password: socks.password }),
        },
      });
      return socket;
    }
    const socket = tcpConnect({ host, port, autoSelectFamily: true });
    this.#raw = socket;
    const ready = new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
      socket.once('close', () => {
        reject(new Error('the connection is closed'));
      });
    });
    try {
      await within(clock, CONNECT_TIMEOUT, ready, () => new Error('no answer in time'));
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return socket;
  }

  #listen(socket: Socket): void {
    // A character of several bytes may be cut by the border of two chunks.
    const decoder = new StringDecoder('utf8');
    socket.on('data', (bytes: Buffer) => {
      const text = decoder.write(bytes);
      if (text !== '') this.emit('data', text);
    });
    socket.on('error', (error) => {
      this.#fail(error);
    });
    socket.on('close', () => {
      this.#close();
    });
  }

  #fail(error: Error): void {
    if (this.#ended) return;
    this.emit('error', error);
    this.#close();
  }

  #close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#tls?.on('error', () => undefined);
    this.#tls?.destroy();
    this.#raw?.on('error', () => undefined);
    this.#raw?.destroy();
    this.emit('close', false);
  }
}
