/** Accounts on a real server as the tests use them: homes of `jet`, and plain clients beside them. */
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Element } from '@xmpp/xml';
import { randomId } from '../../src/core/bytes.ts';
import { systemClock } from '../../src/core/clock.ts';
import { connect } from '../../src/xmpp/connect.ts';
import type { Connection } from '../../src/xmpp/connection.ts';
import { xml } from '../../src/xmpp/xml.ts';
import { address } from './address.ts';
import { jetHome, type JetHome, type JetProcess } from './jet.ts';
import { startProsody, type Prosody, type ProsodyOptions } from './prosody.ts';

/** The password of every account of these tests. */
export const PASSWORD = 'secret';

/** A plain client: what it heard, oldest first, and a way to wait for more. */
export class Client {
  readonly connection: Connection;
  readonly presences: Element[] = [];
  readonly messages: Element[] = [];
  readonly #looks = new Set<() => void>();

  constructor(connection: Connection) {
    this.connection = connection;
    const note = (list: Element[]) => (stanza: Element) => {
      list.push(stanza);
      for (const look of [...this.#looks]) look();
    };
    connection.onPresence(note(this.presences));
    connection.onMessage(note(this.messages));
  }

  /** Logs in as an account, and is available with priority 0 when `available`. */
  static async open(server: Prosody, name: string, available = true): Promise<Client> {
    const client = new Client(
      await connect({
        jid: address(`${name}@${server.domain}/chat.${randomId()}`),
        password: () => PASSWORD,
        server: { host: server.address, port: server.port, tls: false },
        ca: await readFile(server.caFile),
        clock: systemClock,
      }),
    );
    if (available) await client.connection.send(xml('presence'));
    return client;
  }

  /** Says something to a bare or full address. */
  chat(to: string, body: string): Promise<void> {
    const text = xml('body', {}, body);
    return this.connection.send(xml('message', { to, type: 'chat' }, text));
  }

  /** Resolves when a chat message with this text came. */
  async heard(body: string): Promise<void> {
    await this.#until(() => this.messages.some((message) => message.getChildText('body') === body));
  }

  /** The full address of the `nth` jet that was seen to become available, from 0. */
  async jet(account: string, nth = 0): Promise<string> {
    const seen = () => [
      ...new Set(
        this.presences
          .filter((presence) => presence.attrs['type'] === undefined)
          .map((presence) => presence.attrs['from'] ?? '')
          .filter((from) => from.startsWith(`${account}/jet.`)),
      ),
    ];
    await this.#until(() => seen().length > nth);
    return seen()[nth] ?? '';
  }

  #until(found: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!found()) return;
        this.#looks.delete(look);
        resolve();
      };
      this.#looks.add(look);
      look();
    });
  }
}

/** A server of its own with accounts on it, and homes of them. */
export interface Town {
  readonly server: Prosody;
  readonly alice: JetHome;
  readonly bob: JetHome;
  /** One more home of an account. */
  readonly home: (name: string) => Promise<JetHome>;
  remove(): Promise<void>;
}

/**
 * Starts a server with alice and bob, and whoever else is named.
 *
 * @param friends - whether alice and bob are contacts of each other
 */
export async function makeTown(
  options: ProsodyOptions,
  friends: boolean,
  ...others: readonly string[]
): Promise<Town> {
  const server = await startProsody({ proxy65: false, ...options });
  for (const name of ['alice', 'bob', ...others]) await server.addAccount(name, PASSWORD);
  if (friends) await server.befriend('alice', 'bob');
  const homes: JetHome[] = [];
  const home = async (name: string) => {
    const made = await jetHome(server, name, PASSWORD);
    homes.push(made);
    return made;
  };
  return {
    ...{ server, home, alice: await home('alice'), bob: await home('bob') },
    remove: async () => {
      await server.stop();
      for (const made of homes) await made.remove();
    },
  };
}

/** Starts `jet receive`; resolves when it waits. */
export async function receive(home: JetHome, ...args: string[]): Promise<JetProcess> {
  const process = home.start(['receive', '--json', ...args]);
  await process.said(/"event":"waiting"/);
  return process;
}

/** Writes a file of random bytes into a home; gives its path. */
export async function randomFile(home: JetHome, name: string, size = 20_000): Promise<string> {
  const path = join(home.home, name);
  await writeFile(path, randomBytes(size));
  return path;
}

/** Ends a process that waits, as a service manager does. */
export async function terminate(process: JetProcess): Promise<number | null> {
  process.child.kill('SIGTERM');
  return (await process.ended).status;
}
