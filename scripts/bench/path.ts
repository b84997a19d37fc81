/** The way between two ends: loopback itself, or a relay of ours that adds a delay and limits the rate. */
import { fileURLToPath } from 'node:url';
import { Running } from './processes.ts';

const RELAY = fileURLToPath(new URL('./relay.mjs', import.meta.url));

/** How a path behaves. */
export interface PathOptions {
  /** Milliseconds, both ways together. */
  readonly rtt: number;
  /** Bytes a second, each way. */
  readonly rate?: number | undefined;
}

type Route = { readonly host: string; readonly port: number } | { socks: true; near: number[] };

/** Ports that lead to others. */
export class Path {
  readonly rtt: number;
  readonly #options: PathOptions;
  readonly #relays = new Set<Running>();
  readonly #known = new Map<string, Promise<number>>();

  constructor(options: PathOptions) {
    this.rtt = options.rtt;
    this.#options = options;
  }

  /** Whether anything stands between the ends. */
  get plain(): boolean {
    return this.#options.rtt === 0 && this.#options.rate === undefined;
  }

  /** A port that leads to `port` through the path. */
  through(port: number): Promise<number> {
    return this.plain ? Promise.resolve(port) : this.#open({ host: '127.0.0.1', port });
  }

  /** The port of a SOCKS5 server; what goes to the near ports is not delayed. */
  socks(...near: number[]): Promise<number> {
    return this.#open({ socks: true, near });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#relays].map((relay) => relay.stop()));
  }

  #open(route: Route): Promise<number> {
    const key = JSON.stringify(route);
    const open = async () => {
      const { rtt, rate } = this.#options;
      const argument = JSON.stringify({ delay: rtt / 2, rate, routes: [route] });
      const relay = new Running([process.execPath, RELAY, argument], { serves: true });
      this.#relays.add(relay);
      const [, port] = await relay.said(/"ports":\[(\d+)\]/);
      return Number(port);
    };
    const port = this.#known.get(key) ?? open();
    this.#known.set(key, port);
    return port;
  }
}
