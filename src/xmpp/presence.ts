/** RFC 6121 §4: our presence, and which resources are there. */
import { makeRoom } from '../core/bounded.ts';
import type { Clock } from '../core/clock.ts';
import type { Jid } from '../core/jid.ts';
import { type Caps, capsElement, capsNode, readCaps } from './caps.ts';
import type { Connection } from './connection.ts';
import type { Disco } from './disco.ts';
import { attr, type Element, xml } from './xml.ts';

const MOST = 2000;

/** A resource that said it is available. */
export interface Resource {
  readonly jid: Jid;
  /** -128 to 127. */
  readonly priority: number;
  readonly caps: Caps | undefined;
  /** When its last presence came, on the monotonic clock. */
  readonly seen: number;
}

/** Sends our presence and tracks that of others. */
export class Presence {
  readonly #connection: Connection;
  readonly #disco: Disco;
  readonly #resources = new Map<string, Resource>();
  readonly #listeners = new Set<(jid: Jid, resource: Resource | undefined) => void>();
  #available = false;

  constructor(connection: Connection, disco: Disco, clock: Clock) {
    this.#connection = connection;
    this.#disco = disco;
    connection.onState((state) => {
      const anew = state.kind === 'online' && !state.resumed;
      if (state.kind === 'closed' || anew) this.#resources.clear();
      // A new session on the server knows nothing of our presence; a loss of it is told elsewhere.
      if (anew && this.#available) this.available().catch(() => undefined);
    });
    connection.onPresence((presence, from) => {
      const type = attr(presence, 'type');
      const key = from.toString();
      if (!from.isFull || key === connection.jid.toString()) return;
      if (type === undefined) {
        this.#resources.delete(key);
        makeRoom(this.#resources, key, MOST);
        const priority = readPriority(presence);
        const resource = { jid: from, priority, caps: readCaps(presence), seen: clock.monotonic() };
        this.#resources.set(key, resource);
        this.#tell(from, resource);
      } else if (type === 'unavailable' || type === 'error') {
        this.#resources.delete(key);
        this.#tell(from, undefined);
      }
    });
  }

  /**
   * Becomes available with priority -1, so that no chat message is ever routed to us; and again
   * whenever the server has lost our session.
   */
  available(): Promise<void> {
    this.#available = true;
    return this.#connection.send(this.#stanza());
  }

  /** Tells one address, bare or full, that we are there. */
  direct(to: Jid): Promise<void> {
    return this.#connection.send(this.#stanza(to));
  }

  /** Tells everybody, or one address, that we are gone. */
  unavailable(to?: Jid): Promise<void> {
    const address = to === undefined ? {} : { to: to.toString() };
    if (to === undefined) this.#available = false;
    return this.#connection.send(xml('presence', { type: 'unavailable', ...address }));
  }

  /** The available resources of an account. */
  of(account: Jid): Resource[] {
    return [...this.#resources.values()].filter((resource) => resource.jid.sameBare(account));
  }

  /** Hears of each resource that comes, changes or goes (undefined). Returns the removal. */
  onChange(listener: (jid: Jid, resource: Resource | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #tell(jid: Jid, resource: Resource | undefined): void {
    for (const listener of [...this.#listeners]) listener(jid, resource);
  }

  #stanza(to?: Jid): Element {
    const address = to === undefined ? {} : { to: to.toString() };
    const caps = capsElement(this.#disco.own);
    this.#disco.addNode(capsNode(caps));
    return xml('presence', address, xml('priority', {}, '-1'), caps);
  }
}

function readPriority(presence: Element): number {
  const text = presence.getChildText('priority') ?? '0';
  const value = /^[+-]?[0-9]{1,3}$/.test(text) ? Number(text) : 0;
  return Math.max(-128, Math.min(127, value));
}
