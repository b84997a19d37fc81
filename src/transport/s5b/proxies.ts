/**
 * The proxies of our own server as they are known: looked up once, and remembered for a while by every
 * process of the account.
 */
import { within, type Clock } from '../../core/clock.ts';
import { Jid } from '../../core/jid.ts';
import type { Schema, Store } from '../../store/store.ts';
import type { Connection } from '../../xmpp/connection.ts';
import { discover, type Proxy } from './proxy.ts';
import { isHost, readPort } from './stanza.ts';

/** Milliseconds for a whole search. */
const SEARCH_TIME = 12_000;
/** Milliseconds after which the server is asked again while what is known is used. */
const FRESH = 3_600_000;
/** Milliseconds after which another process does not use it any more. */
const LIFETIME = 24 * 3_600_000;
/** Milliseconds within which the server would only say the same again. */
const RECENT = 60_000;

/** What the server said, and when: in milliseconds since 1970. */
interface Known {
  readonly proxies: readonly Proxy[];
  readonly since: number;
}

/** The tables of SOCKS5 bytestreams. */
export const s5bSchema: Schema = {
  name: 's5b',
  steps: [
    `CREATE TABLE s5b_proxy (
       account TEXT NOT NULL,
       rank INTEGER NOT NULL,
       jid TEXT NOT NULL,
       host TEXT NOT NULL,
       port INTEGER NOT NULL,
       since INTEGER NOT NULL,
       PRIMARY KEY (account, rank))`,
  ],
};

/** Knows the proxies of the servers of its connections. */
export class Proxies {
  readonly #store: Store | undefined;
  readonly #known = new WeakMap<Connection, Known>();
  readonly #searches = new WeakMap<Connection, Promise<readonly Proxy[]>>();

  /** @param store - where other processes find them; without one they are known here alone */
  constructor(store?: Store) {
    this.#store = store;
  }

  /**
   * The proxies of our server: at once where they are known, and asked for anew meanwhile when that was long
   * ago. Never rejects.
   */
  find(connection: Connection, clock: Clock): Promise<readonly Proxy[]> {
    const known = this.#known.get(connection) ?? this.#recall(connection, clock);
    if (known === undefined) return this.#search(connection, clock);
    if (!isWithin(FRESH, known, clock)) void this.#search(connection, clock);
    return Promise.resolve(known.proxies);
  }

  /**
   * A negotiation failed that had them: they may be others by now. They are forgotten and looked up again, so
   * that the next one need not wait. Unless that was a moment ago: who cannot reach them now would make us ask
   * for each file.
   */
  doubt(connection: Connection, clock: Clock): void {
    const known = this.#known.get(connection);
    if (known === undefined || isWithin(RECENT, known, clock)) return;
    this.#known.delete(connection);
    unlessStoreFails(() =>
      this.#store?.run('DELETE FROM s5b_proxy WHERE account = ?', accountOf(connection)),
    );
    void this.#search(connection, clock);
  }

  /** One search at a time. What is known stays so where it finds none: it may have met a bad moment. */
  #search(connection: Connection, clock: Clock): Promise<readonly Proxy[]> {
    const under = this.#searches.get(connection);
    if (under !== undefined) return under;
    const late = () => new Error('late');
    const search = within(clock, SEARCH_TIME, discover(connection, clock), late)
      .catch((): readonly Proxy[] => [])
      .then((proxies) => {
        this.#searches.delete(connection);
        if (proxies.length > 0) this.#remember(connection, { proxies, since: clock.now() });
        return proxies;
      });
    this.#searches.set(connection, search);
    return search;
  }

  #remember(connection: Connection, known: Known): void {
    this.#known.set(connection, known);
    const store = this.#store;
    const account = accountOf(connection);
    unlessStoreFails(() =>
      // A power cut may take it: it is asked for again.
      store?.lightly(() =>
        store.transaction(() => {
          store.run('DELETE FROM s5b_proxy WHERE account = ?', account);
          for (const [rank, { jid, host, port }] of known.proxies.entries())
            store.run(
              'INSERT INTO s5b_proxy (account, rank, jid, host, port, since) VALUES (?, ?, ?, ?, ?, ?)',
              ...[account, rank, jid.toString(), host, port, known.since],
            );
        }),
      ),
    );
  }

  /** What this or another process of the account was told, unless it is too old. */
  #recall(connection: Connection, clock: Clock): Known | undefined {
    const sql = 'SELECT jid, host, port, since FROM s5b_proxy WHERE account = ? ORDER BY rank';
    const rows = unlessStoreFails(() => this.#store?.all(sql, accountOf(connection))) ?? [];
    const proxies = rows.flatMap(({ jid, host, port }): Proxy[] => {
      const [owner, at] = [Jid.parse(String(jid)), readPort(String(port))];
      if (owner === undefined || at === undefined || !isHost(String(host))) return [];
      return [{ jid: owner, host: String(host), port: at }];
    });
    const known = { proxies, since: Number(rows[0]?.['since']) };
    if (proxies.length === 0 || !isWithin(LIFETIME, known, clock)) return undefined;
    this.#known.set(connection, known);
    return known;
  }
}

/** A clock that was set back makes nothing young again. */
function isWithin(ms: number, { since }: Known, clock: Clock): boolean {
  const age = clock.now() - since;
  return age >= 0 && age < ms;
}

function accountOf({ jid }: Connection): string {
  return jid.bare.toString();
}

/** Without a memory a transfer goes on all the same. */
function unlessStoreFails<T>(access: () => T): T | undefined {
  try {
    return access();
  } catch {
    return undefined;
  }
}
