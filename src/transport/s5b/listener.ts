/**
 * A SOCKS5 server (RFC 1928) for direct candidates (XEP-0065 1.8 §5.3.2): one a process and port
 * range, which tells streams apart by their destination and lets nothing else in.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Cancel, Clock } from '../../core/clock.ts';
import { randomInt } from '../../core/bytes.ts';
import { readMessage } from './handshake.ts';

/** Connections that have not finished their handshake. */
const MAX_PENDING = 64;
/** Milliseconds for a handshake. */
const HANDSHAKE_TIME = 10_000;

/** A server that hands over a socket once it named an expected destination. */
export class Listener {
  readonly #clock: Clock;
  readonly #server: Server;
  readonly #expected = new Map<string, (socket: Socket) => void>();
  readonly #pending = new Map<Socket, Cancel>();

  private constructor(clock: Clock) {
    this.#clock = clock;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#welcome(socket),
    );
    // A failing accept (out of descriptors …) ends nothing: other candidates may still work.
    this.#server.on('error', () => undefined);
  }

  /**
   * Opens a listener on all addresses.
   *
   * @param ports - the inclusive range to choose from; undefined: any free port
   * @throws the system's error when no port of the range is free
   */
  static async open(clock: Clock, ports?: { first: number; last: number }): Promise<Listener> {
    const count = ports === undefined ? 1 : ports.last - ports.first + 1;
    const start = randomInt(0, count - 1);
    let failure: unknown;
    for (let i = 0; i < Math.min(count, 64); i++) {
      const port = ports === undefined ? 0 : ports.first + ((start + i) % count);
      for (const host of ['::', '0.0.0.0']) {
        const listener = new Listener(clock);
        try {
          await listener.#listen(host, port);
          return listener;
        } catch (error) {
          failure = error;
        }
      }
    }
    throw failure;
  }

  /** The port it listens on. */
  get port(): number {
    const address = this.#server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  }

  /** Lets connections to these destinations in. Returns the end of that. */
  expect(destinations: readonly string[], take: (socket: Socket) => void): () => void {
    for (const destination of destinations) this.#expected.set(destination, take);
    return () => {
      for (const destination of destinations)
        if (this.#expected.get(destination) === take) this.#expected.delete(destination);
    };
  }

  /** Stops listening and drops unfinished handshakes; sockets handed over live on. */
  close(): void {
    this.#server.close();
    for (const [socket, cancel] of this.#pending) {
      cancel();
      socket.destroy();
    }
    this.#pending.clear();
  }

  #listen(host: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port, backlog: MAX_PENDING }, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
  }

  #welcome(socket: Socket): void {
    socket.on('error', () => undefined);
    if (this.#pending.size >= MAX_PENDING) {
      socket.destroy();
      return;
    }
    let held = Buffer.alloc(0);
    let stage: 'greeting' | 'request' = 'greeting';
    const drop = (reply?: Buffer) => {
      settle();
      if (reply !== undefined) socket.end(reply, () => socket.destroy());
      else socket.destroy();
    };
    const hangUp = () => drop();
    const settle = () => {
      this.#pending.get(socket)?.();
      this.#pending.delete(socket);
      socket.off('readable', read);
      socket.off('close', settle);
      socket.off('end', hangUp);
    };
    const read = () => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      held = Buffer.concat([held, chunk]);
      for (;;) {
        const message = readMessage(stage, held);
        // What a message may hold is bounded by its own length bytes, so no more than that is ever held.
        if (message.kind === 'more') return;
        if (message.kind === 'refused') {
          drop(message.reply);
          return;
        }
        held = held.subarray(message.length);
        if (message.kind === 'greeting') {
          // A write of its own: some clients read exactly one reply a segment.
          socket.write(message.reply);
          stage = 'request';
          continue;
        }
        const take = this.#expected.get(message.destination);
        if (take === undefined) {
          drop(message.refusal);
          return;
        }
        settle();
        socket.write(message.reply);
        if (held.length > 0) socket.unshift(held);
        take(socket);
        return;
      }
    };
    this.#pending.set(
      socket,
      this.#clock.after(HANDSHAKE_TIME, () => drop()),
    );
    socket.on('readable', read);
    socket.on('close', settle);
    socket.on('end', hangUp);
  }
}
