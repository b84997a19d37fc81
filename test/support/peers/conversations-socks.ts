/** The SOCKS5 transport of Conversations 2.19.15; its facts are the rows S of docs/interop-sources.md. */
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Jid } from '../../../src/core/jid.ts';
import { xml, type Element } from '../../../src/xmpp/xml.ts';
import type { ScriptedClient } from './client.ts';
import { TransportFailed, type Carrier } from './carrier.ts';
import {
  activate,
  candidatesOf,
  connect,
  digest,
  Listener,
  localAddresses,
  ownProxy,
  S5B,
  writeCandidates,
  type Candidate,
} from './sockets.ts';

/** S3. */
const TIMEOUT_MS = 3000;

/** What it is set up with. */
export interface SocksOptions {
  readonly client: ScriptedClient;
  readonly peer: Jid;
  readonly sid: string;
  readonly initiator: boolean;
  readonly relays: boolean;
  /** Sends a transport-info with this. */
  readonly tell: (transport: Element) => Promise<void>;
  /** The peer uses what it is not connected to. */
  readonly failed: (text: string) => void;
}

interface Reached {
  readonly candidate: Candidate;
  readonly socket: Socket;
}

/** One negotiation. */
export class ConversationsSocks implements Carrier {
  readonly namespace = S5B;
  readonly #options: SocksOptions;
  readonly #listener: Listener | undefined;
  readonly #direct: readonly Candidate[];
  readonly #proxy: Reached | undefined;
  #theirs: readonly Candidate[] = [];
  #chosen: Reached | 'error' | undefined;
  #activated = false;
  #stream: Socket | undefined;
  #changed: () => void = () => undefined;

  private constructor(
    options: SocksOptions,
    listener: Listener | undefined,
    proxy: Reached | undefined,
  ) {
    this.#options = options;
    this.#listener = listener;
    this.#proxy = proxy;
    const jid = options.client.jid.toString();
    // S1.
    this.#direct = (listener === undefined ? [] : localAddresses()).map((host, i) => ({
      ...{ cid: randomUUID(), host, port: listener?.port ?? 0, jid },
      ...{ priority: 8_257_536 + i, type: 'direct' },
    }));
  }

  /** S2: its own proxy is connected to before anything is offered, and offered only if that works. */
  static async prepare(options: SocksOptions): Promise<ConversationsSocks> {
    const { client, peer, sid, initiator, relays } = options;
    const destination = digest(sid, client.jid, peer);
    const listener = relays ? undefined : await Listener.open(destination);
    const found = await ownProxy(client.connection);
    const socket =
      found &&
      (await connect(found.host, found.port, destination, TIMEOUT_MS).catch(() => undefined));
    const priority = 655_360 + (initiator ? 0 : 15);
    const candidate = found && { ...found, cid: randomUUID(), priority, type: 'proxy' };
    const proxy = candidate && socket && { candidate, socket };
    return new ConversationsSocks(options, listener, proxy);
  }

  element(): Element {
    const ours = [...this.#direct, ...(this.#proxy ? [this.#proxy.candidate] : [])];
    return this.#transport(...writeCandidates(ours));
  }

  theirs(transport: Element): void {
    this.#theirs = candidatesOf(transport);
  }

  info(transport: Element): void {
    const [said] = transport.getChildElements();
    const cid = said?.attrs['cid'];
    if (said?.name === 'candidate-error') this.#chosen = 'error';
    else if (said?.name === 'activated') this.#activated = true;
    else if (said?.name === 'candidate-used') this.#used(cid ?? '');
    // S7: that the peer's proxy failed is taken note of, and nothing comes of it.
    this.#changed();
  }

  /** S4, S5. */
  async connect(): Promise<{ input: Socket; output: Socket }> {
    const ours = await this.#reach();
    await this.#until(() => this.#chosen !== undefined);
    const theirs = this.#chosen === 'error' ? undefined : this.#chosen;
    const mine = this.#better(ours, theirs);
    const nominated = mine ? ours : theirs;
    if (nominated === undefined) throw new TransportFailed('no candidate');
    this.#stream = nominated.socket;
    if (nominated.candidate.type !== 'direct') {
      if (mine) await this.#until(() => this.#activated);
      else await this.#activate(nominated.candidate);
    }
    return { input: nominated.socket, output: nominated.socket };
  }

  close(): void {
    this.#listener?.close();
    this.#stream?.destroySoon();
    if (this.#proxy && this.#proxy.socket !== this.#stream) this.#proxy.socket.destroy();
  }

  #used(cid: string): void {
    if (this.#proxy?.candidate.cid === cid) {
      this.#chosen = this.#proxy;
      return;
    }
    const candidate = this.#direct.find((one) => one.cid === cid);
    const socket = candidate && this.#listener?.at(candidate.host);
    // S6.
    if (candidate && socket) this.#chosen = { candidate, socket };
    else this.#options.failed(`Peer is not connected to our candidate ${cid}`);
  }

  /** S3: one after another, the best first. */
  async #reach(): Promise<Reached | undefined> {
    const { client, peer, sid, relays } = this.#options;
    const destination = digest(sid, peer, client.jid);
    for (const candidate of relays ? [] : this.#theirs) {
      const chosen = this.#chosen;
      if (
        chosen !== undefined &&
        chosen !== 'error' &&
        chosen.candidate.priority > candidate.priority
      )
        break;
      const { host, port, cid } = candidate;
      const socket = await connect(host, port, destination, TIMEOUT_MS).catch(() => undefined);
      if (socket === undefined) continue;
      await this.#tell('candidate-used', cid);
      return { candidate, socket };
    }
    await this.#tell('candidate-error');
    return undefined;
  }

  #better(ours: Reached | undefined, theirs: Reached | undefined): boolean {
    if (ours === undefined || theirs === undefined) return ours !== undefined;
    const difference = ours.candidate.priority - theirs.candidate.priority;
    return difference === 0 ? this.#options.initiator : difference > 0;
  }

  /** S7: where that fails it waits for ever. */
  async #activate({ jid, cid }: Candidate): Promise<void> {
    const { client, peer, sid } = this.#options;
    await activate(client.connection, jid, sid, peer).catch(() => new Promise(() => undefined));
    await this.#tell('activated', cid);
  }

  #tell(name: string, cid?: string): Promise<void> {
    return this.#options.tell(this.#transport(xml(name, cid === undefined ? {} : { cid })));
  }

  #transport(...inside: Element[]): Element {
    return xml('transport', { xmlns: S5B, sid: this.#options.sid }, ...inside);
  }

  async #until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => (this.#changed = resolve));
  }
}
