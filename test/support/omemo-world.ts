/** Accounts with OMEMO around one personal-eventing server in memory. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Element } from '../../src/xmpp/xml.ts';
import { type Clock, systemClock } from '../../src/core/clock.ts';
import { Jid } from '../../src/core/jid.ts';
import type { TransportSecret } from '../../src/jet/envelope.ts';
import { readBundle, writeBundle } from '../../src/omemo/bundle.ts';
import { LEGACY, parseKeyExchange, peekHeader } from '../../src/omemo/crypto/index.ts';
import type { OmemoEvent } from '../../src/omemo/events.ts';
import { Omemo, type OmemoOptions } from '../../src/omemo/omemo.ts';
import type { PepPort } from '../../src/omemo/pep-port.ts';
import { omemoSchema } from '../../src/omemo/schema.ts';
import { locksSchema } from '../../src/store/locks.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import type { Connection } from '../../src/xmpp/connection.ts';

export function jid(text: string): Jid {
  const parsed = Jid.parse(text);
  if (!parsed) throw new Error(`no JID: ${text}`);
  return parsed;
}

/** One user on one machine. */
export interface Party {
  readonly omemo: Omemo;
  readonly store: Store;
  readonly jid: Jid;
  readonly said: OmemoEvent[];
  readonly sent: Element[];
}

/** A fresh secret of a file. */
export const freshSecret = (): TransportSecret => ({ key: randomBytes(16), iv: randomBytes(12) });

/** Seals a secret for another party, which opens it; gives the envelope. */
export async function carry(from: Party, to: Party, secret = freshSecret()): Promise<Element> {
  const envelope = await from.omemo.envelope().seal(secret, to.jid);
  await receive(to, envelope, from.jid, secret);
  return envelope;
}

/** Opens an envelope, which must hold the secret. */
export async function receive(
  by: Party,
  envelope: Element,
  from: Jid,
  secret: TransportSecret,
): Promise<void> {
  const opened = await by.omemo.envelope().open(envelope, from, 16);
  if (!opened.secret.key.equals(secret.key)) throw new Error('another secret was opened');
}

/** What message key an envelope was made with, for its first device: no two may be the same. */
export function messageKeyOf(envelope: Element): string {
  const key = envelope.getChild('header')?.getChild('key');
  const bytes = Buffer.from(key?.getText() ?? '', 'base64');
  const exchange = key?.attrs['prekey'] === 'true';
  const message = exchange ? parseKeyExchange(LEGACY, bytes).message : bytes;
  const { ratchetKey, n } = peekHeader(LEGACY, message);
  return `${ratchetKey.toString('hex')} ${n}`;
}

/** Whether the first key of an envelope begins a session. */
export function isKeyExchange(envelope: Element): boolean {
  return envelope.getChild('header')?.getChild('key')?.attrs['prekey'] === 'true';
}

/** The server: PEP nodes as `account node`, open to be read and forged by the test. */
export class World {
  readonly nodes = new Map<string, Element>();
  readonly parties: Party[] = [];
  /** Whom all parties deal with. */
  audience: (from: Jid) => boolean = () => true;
  /** Full addresses that messages do not reach. */
  readonly deaf = new Set<string>();
  readonly #listeners = new Set<(account: string, node: string) => void>();
  readonly #inboxes = new Map<string, Set<(message: Element, from: Jid) => void>>();
  readonly #created = new Set<string>();
  readonly #folders: string[] = [];

  /** A process of an account; with `store`, one more on the same home. */
  party(address: string, options: Partial<OmemoOptions> = {}): Party {
    const me = jid(address);
    const folder = mkdtempSync(join(tmpdir(), 'jet-omemo-'));
    this.#folders.push(folder);
    const store = options.store ?? openStore(join(folder, 'state.db'), [locksSchema, omemoSchema]);
    const said: OmemoEvent[] = [];
    const sent: Element[] = [];
    const clock: Clock = options.clock ?? systemClock;
    const omemo = Omemo.open({
      connection: this.#connection(me, sent),
      pep: this.pep(me),
      store,
      clock,
      account: me.bare,
      verifiedOnly: false,
      say: (event) => said.push(event),
      ...options,
    });
    const party = { omemo, store, jid: me, said, sent };
    this.parties.push(party);
    return party;
  }

  /** A copy of a party's state as it is at this moment, in a file of its own. */
  backup(party: Party): Store {
    const folder = mkdtempSync(join(tmpdir(), 'jet-omemo-'));
    this.#folders.push(folder);
    const file = join(folder, 'state.db');
    party.store.run('VACUUM INTO ?', file);
    return openStore(file, [locksSchema, omemoSchema]);
  }

  /** What a server makes appear under a node. */
  set(account: string, node: string, payload: Element): void {
    this.nodes.set(`${account} ${node}`, payload);
    for (const listener of [...this.#listeners]) listener(account, node);
  }

  get(account: string, node: string): Element | undefined {
    return this.nodes.get(`${account} ${node}`);
  }

  /** Delivers a message to a full address, as from whoever the test says. */
  inject(to: Jid, message: Element, from: Jid): void {
    for (const listener of this.#inboxes.get(to.toString()) ?? []) listener(message, from);
  }

  close(): void {
    for (const party of this.parties) party.omemo.close();
    for (const store of new Set(this.parties.map((party) => party.store))) store.close();
    for (const folder of this.#folders) rmSync(folder, { recursive: true });
  }

  pep(me: Jid): PepPort {
    const own = me.bare.toString();
    return {
      publish: (node, _item, payload) => {
        this.set(own, node, payload);
        return Promise.resolve();
      },
      create: (node) => {
        const created = !this.#created.has(`${own} ${node}`);
        this.#created.add(`${own} ${node}`);
        return Promise.resolve(created);
      },
      fetch: (of, node) =>
        Promise.resolve(of ? this.#shown(of.bare.toString(), node) : this.get(own, node)),
      deleteNode: (node) => {
        this.nodes.delete(`${own} ${node}`);
        this.#created.delete(`${own} ${node}`);
        return Promise.resolve();
      },
      onItem: (node, listener) => {
        const notify = (account: string, changed: string) => {
          if (changed === node) listener(this.get(account, node), jid(account));
        };
        this.#listeners.add(notify);
        return () => this.#listeners.delete(notify);
      },
    };
  }

  /**
   * What others see of a node. Prekeys that were used are gone from a bundle, as after the refill that
   * comes a moment later: chance would choose one of them again now and then.
   */
  #shown(account: string, node: string): Element | undefined {
    const there = this.get(account, node);
    const bundle = readBundle(there);
    if (!bundle) return there;
    const owners = this.parties.filter(
      ({ omemo }) => omemo.device?.identity.pub.equals(bundle.identityKey) === true,
    );
    const left = owners.map(({ store }) => ({
      next: Number(store.get('SELECT next_prekey AS id FROM omemo_device')?.['id']),
      ids: new Set(store.all('SELECT id FROM omemo_prekey').map(({ id }) => Number(id))),
    }));
    const preKeys = bundle.preKeys.filter(({ id }) =>
      left.every(({ next, ids }) => id >= next || ids.has(id)),
    );
    return writeBundle({ ...bundle, preKeys });
  }

  #connection(me: Jid, sent: Element[]): Connection {
    const inbox = new Set<(message: Element, from: Jid) => void>();
    this.#inboxes.set(me.toString(), inbox);
    const never = () => () => undefined;
    return {
      jid: me,
      loopback: true,
      maxStanza: undefined,
      localAddress: undefined,
      iq: () => Promise.resolve(undefined),
      send: (stanza) => {
        sent.push(stanza);
        const to = stanza.attrs['to'] ?? '';
        if (this.deaf.has(to)) return Promise.resolve();
        for (const listener of this.#inboxes.get(to) ?? []) {
          listener(stanza, me);
        }
        return Promise.resolve();
      },
      onIq: never,
      onMessage: (listener) => {
        inbox.add(listener);
        return () => inbox.delete(listener);
      },
      onPresence: never,
      onState: never,
      audience: (from) => this.audience(from),
      close: () => Promise.resolve(),
    };
  }
}
