/** RFC 6121 §2 and §3: the roster and its subscriptions. */
import { Jid } from '../core/jid.ts';
import { type Connection, StanzaError } from './connection.ts';
import { attr, type Element, xml } from './xml.ts';

const ROSTER = 'jabber:iq:roster';
const MOST = 10_000;
const STATES = ['none', 'to', 'from', 'both'] as const;

/** A contact. */
export interface Contact {
  readonly jid: Jid;
  readonly name: string;
  readonly subscription: (typeof STATES)[number];
  /** True while our request waits for an answer. */
  readonly asked: boolean;
}

/** Our roster, kept up to date by pushes from our own account only. */
export class Roster {
  readonly #connection: Connection;
  readonly #contacts = new Map<string, Contact>();

  constructor(connection: Connection) {
    this.#connection = connection;
    connection.onIq(ROSTER, 'query', ({ from, type, payload }) => {
      if (from.toString() !== connection.jid.bare.toString() || type !== 'set')
        throw new StanzaError('cancel', 'service-unavailable');
      const [item, second] = payload.getChildren('item', ROSTER);
      if (item === undefined || second !== undefined)
        throw new StanzaError('modify', 'bad-request');
      this.#take(item);
      return undefined;
    });
    connection.onPresence((presence, from) => {
      // Whom we asked ourselves may see us in turn (RFC 6121 §3.1.3); others wait for the user's word.
      const contact = this.get(from);
      if (attr(presence, 'type') !== 'subscribe' || contact === undefined) return;
      if (!contact.asked && !this.sees(from)) return;
      const to = from.bare.toString();
      // A lost stream brings the question again.
      connection.send(xml('presence', { to, type: 'subscribed' })).catch(() => undefined);
    });
    connection.onState((state) => {
      // Changes are pushed only to a session that asked for the roster; without them the old one stands.
      if (state.kind === 'online' && !state.resumed) this.load().catch(() => undefined);
    });
  }

  /** Fetches the roster; the server pushes its changes from then on. */
  async load(): Promise<readonly Contact[]> {
    const reply = await this.#connection.iq(null, 'get', xml('query', { xmlns: ROSTER }));
    this.#contacts.clear();
    for (const item of reply?.getChildren('item', ROSTER).slice(0, MOST) ?? []) this.#take(item);
    return this.contacts;
  }

  get contacts(): readonly Contact[] {
    return [...this.#contacts.values()];
  }

  get(jid: Jid): Contact | undefined {
    return this.#contacts.get(jid.bare.toString());
  }

  /** True when we see the contact's presence. */
  sees(jid: Jid): boolean {
    const state = this.get(jid)?.subscription;
    return state === 'to' || state === 'both';
  }

  /** Adds a contact and asks to see its presence; it may see ours as soon as it asks and we are available. */
  async add(jid: Jid, name = ''): Promise<void> {
    const item = { jid: jid.bare.toString(), ...(name === '' ? {} : { name }) };
    await this.#connection.iq(null, 'set', xml('query', { xmlns: ROSTER }, xml('item', item)));
    // No approval ahead of a request (RFC 6121 §3.4): Prosody 0.12 lets such a contact in without
    // telling it, and it would wait for ever. Its request is answered when it comes.
    await this.#connection.send(xml('presence', { to: item.jid, type: 'subscribe' }));
    await this.load();
  }

  /** Removes a contact and both subscriptions. */
  async remove(jid: Jid): Promise<void> {
    const item = xml('item', { jid: jid.bare.toString(), subscription: 'remove' });
    await this.#connection.iq(null, 'set', xml('query', { xmlns: ROSTER }, item));
  }

  #take(item: Element): void {
    const jid = Jid.parse(attr(item, 'jid') ?? '');
    if (jid === undefined) return;
    const state = attr(item, 'subscription') ?? 'none';
    const key = jid.bare.toString();
    const subscription = STATES.find((known) => known === state);
    if (state === 'remove') this.#contacts.delete(key);
    else if (subscription !== undefined && (this.#contacts.size < MOST || this.#contacts.has(key)))
      this.#contacts.set(key, {
        jid: jid.bare,
        name: (attr(item, 'name') ?? '').slice(0, 1024),
        subscription,
        asked: attr(item, 'ask') === 'subscribe',
      });
  }
}
