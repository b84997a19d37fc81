import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { randomId } from '../../src/core/bytes.ts';
import { FILE_TRANSFER } from '../../src/jingle/file-description.ts';
import { decodeInitiation, encodeInitiation } from '../../src/jingle/message-initiation.ts';
import { connect } from '../../src/xmpp/connect.ts';
import type { Connection } from '../../src/xmpp/connection.ts';
import { type Element, xml } from '../../src/xmpp/xml.ts';
import { jetHome, type JetHome } from '../support/jet.ts';
import { linesOf, midway } from '../support/pair.ts';
import { address } from '../support/address.ts';
import { Client, PASSWORD, randomFile, receive, terminate } from '../support/people.ts';
import { startProsody, type Prosody } from '../support/prosody.ts';

// Many processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000 });

let server: Prosody;
let alice: JetHome;
let bob: JetHome;

beforeEach(async () => {
  server = await startProsody({ modules: ['offline'], proxy65: false });
  for (const name of ['alice', 'bob', 'carol', 'mallory']) await server.addAccount(name, PASSWORD);
  await server.befriend('alice', 'bob');
  await server.befriend('bob', 'carol');
  alice = await jetHome(server, 'alice', PASSWORD);
  bob = await jetHome(server, 'bob', PASSWORD);
});

afterEach(async () => {
  await server.stop();
  for (const made of [alice, bob]) await made.remove();
});

/** Somebody who asks, and sees what comes back as it stands on the wire. */
class Asker {
  readonly connection: Connection;
  readonly #lines: string[];
  readonly #looks: Set<() => void>;

  private constructor(connection: Connection, lines: string[], looks: Set<() => void>) {
    this.connection = connection;
    this.#lines = lines;
    this.#looks = looks;
  }

  static async open(name: string): Promise<Asker> {
    const lines: string[] = [];
    const looks = new Set<() => void>();
    const connection = await connect({
      jid: address(`${name}@${server.domain}`),
      password: () => PASSWORD,
      server: { host: '127.0.0.1', port: server.port, tls: false },
      ca: await readFile(server.caFile),
      clock: systemClock,
      log: (line) => {
        lines.push(line);
        for (const look of [...looks]) look();
      },
    });
    return new Asker(connection, lines, looks);
  }

  /** Asks everything of a full address; gives all that came back, in order, but ids and addresses. */
  async ask(to: string): Promise<string[]> {
    const from = this.#lines.length;
    const disco = 'http://jabber.org/protocol/disco';
    const jingle = (action: string, ...contents: Element[]) =>
      xml('jingle', { xmlns: 'urn:xmpp:jingle:1', action, sid: 'a73sjjvkla37jfea' }, ...contents);
    const content = xml(
      'content',
      { creator: 'initiator', name: 'file', senders: 'initiator' },
      xml('description', { xmlns: FILE_TRANSFER }),
      xml('transport', {
        xmlns: 'urn:xmpp:jingle:transports:ibb:1',
        sid: 'x',
        'block-size': '4096',
      }),
    );
    const requests: readonly (readonly ['get' | 'set', Element])[] = [
      ['get', xml('query', { xmlns: `${disco}#info` })],
      ['get', xml('query', { xmlns: `${disco}#info`, node: 'nothing' })],
      ['get', xml('query', { xmlns: `${disco}#items` })],
      ['get', xml('ping', { xmlns: 'urn:xmpp:ping' })],
      ['get', xml('query', { xmlns: 'jabber:iq:version' })],
      ['get', xml('query', { xmlns: 'jabber:iq:last' })],
      ['set', jingle('session-initiate', content)],
      ['set', jingle('session-terminate')],
      ['set', jingle('nonsense')],
      ['set', xml('query', { xmlns: 'jabber:iq:roster' }, xml('item', { jid: 'x@y.z' }))],
      [
        'set',
        xml('open', { xmlns: 'http://jabber.org/protocol/ibb', sid: 'x', 'block-size': '1' }),
      ],
    ];
    const { connection } = this;
    await connection.send(xml('presence', { to }));
    await connection.send(xml('presence', { to, type: 'probe' }));
    const proposal = { action: 'propose', id: randomId(), descriptions: [FILE_TRANSFER] } as const;
    for (const address_ of [to, to.split('/')[0] ?? ''])
      await connection.send(encodeInitiation(address(address_), proposal));
    await connection.send(xml('message', { to, type: 'chat' }, xml('body', {}, 'anybody there?')));
    for (const [type, payload] of requests)
      await connection.send(xml('iq', { to, type, id: randomId() }, payload));
    await connection.send(
      xml('iq', { to, type: 'get', id: 'x'.repeat(2000) }, xml('ping', { xmlns: 'urn:xmpp:ping' })),
    );
    const answers = () =>
      this.#lines
        .slice(from)
        .filter((line) => line.startsWith('< ') && !/^< <[ar] /.test(line))
        // Prosody 0.12 writes a language onto all that comes from a client, whatever the client does.
        .map((line) => line.replace(/ (?:id|from|to|xml:lang)="[^"]*"/g, ''));
    const replies = () => answers().filter((line) => line.startsWith('< <iq'));
    await this.#until(() => replies().length > requests.length);
    await connection.send(xml('presence', { to, type: 'unavailable' }));
    return answers();
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

/**
 * That who has this name gets of bob's jet what it gets of a resource that is not there. A contact is shown
 * presence by the server itself, whomever it asks for; so is the account.
 */
async function learnsNothing(name: string, jet: string, contact = false): Promise<void> {
  const asker = await Asker.open(name);
  const ask = async (to: string) =>
    (await asker.ask(to)).filter((line) => !contact || !line.startsWith('< <presence'));
  const absent = await ask(`${bob.jid}/jet.${randomId()}`);
  const there = await ask(jet);
  expect(there).toEqual(absent);
  expect(absent).toHaveLength(12);
  expect(absent.join('')).not.toContain('result');
  await asker.connection.close();
}

test('whoever is not dealt with gets what a resource that is not there gives, also during a transfer', async () => {
  const watcher = await Client.open(server, 'bob');
  const receiving = await receive(bob, '--yes', alice.jid);
  const jet = await watcher.jet(bob.jid);
  // A stranger, a contact who is not among those named, and another client of the account itself.
  const shown = (name: string) => name !== 'mallory';
  for (const name of ['mallory', 'carol', 'bob']) await learnsNothing(name, jet, shown(name));
  const file = await randomFile(alice, 'slow.bin', 400_000);
  const sending = alice.start(['send', '--json', '--limit-rate', '50k', file, bob.jid]);
  await midway(receiving);
  for (const name of ['mallory', 'carol', 'bob']) await learnsNothing(name, jet, shown(name));
  expect(sending.child.exitCode).toBeNull();
  sending.child.kill('SIGTERM');
  await sending.ended;
  expect(await terminate(receiving)).toBe(0);
  await watcher.connection.close();
});

test('a receiver for all contacts is not there for anybody else', async () => {
  const watcher = await Client.open(server, 'bob');
  const receiving = await receive(bob, '--yes');
  await learnsNothing('mallory', await watcher.jet(bob.jid));
  expect(await terminate(receiving)).toBe(0);
  await watcher.connection.close();
});

test('a stranger who asks to see when the account is there gets no answer', async () => {
  const watcher = await Client.open(server, 'bob');
  const receiving = await receive(bob, '--yes');
  const jet = await watcher.jet(bob.jid);
  const { connection } = await Client.open(server, 'mallory');
  await connection.send(xml('presence', { to: bob.jid, type: 'subscribe' }));
  // The server keeps the order: the jet has had the question when it answers this.
  const ping = connection.iq(address(jet), 'get', xml('ping', { xmlns: 'urn:xmpp:ping' }));
  await expect(ping).rejects.toMatchObject({ condition: 'service-unavailable' });
  const roster = await connection.iq(null, 'get', xml('query', { xmlns: 'jabber:iq:roster' }));
  const items = roster
    ?.getChildren('item')
    .map(({ attrs }) => [attrs['jid'], attrs['subscription']]);
  expect(items).toEqual([[bob.jid, 'none']]);
  expect(await terminate(receiving)).toBe(0);
  await Promise.all([connection.close(), watcher.connection.close()]);
});

test('who goes on with a transfer is there for its other side, and for nobody else', async () => {
  const receiving = await receive(bob, '--yes', '--json');
  const sending = await Promise.all(
    ['slow.bin', 'other.bin'].map(async (name) => {
      const file = await randomFile(alice, name, 4_000_000);
      return alice.start(['send', '--json', '--limit-rate', '400k', file, bob.jid]);
    }),
  );
  const moving = () =>
    linesOf(receiving.stdout).filter(
      ({ event, bytes }) => event === 'progress' && Number(bytes) > 1_000_000,
    );
  await receiving.until(() => new Set(moving().map(({ id }) => id)).size === 2, 'both to move');
  for (const process of sending) process.child.kill('SIGKILL');
  await Promise.all(sending.map((process) => process.ended));
  await receiving.until(
    () => receiving.stdout.split('"code":"resumable"').length === 3,
    'both to be interrupted',
  );
  await terminate(receiving);
  const rows = async () => linesOf((await bob.run(['transfers', '--json'])).stdout);
  const idOf = async (wanted: string) =>
    String((await rows()).find(({ name }) => name === wanted)?.['id']);
  const watcher = await Client.open(server, 'bob');
  const resuming = bob.start(['resume', '--json', '--wait', 'forever', await idOf('slow.bin')]);
  await resuming.said(/"event":"waiting"/);
  const jet = await watcher.jet(bob.jid);
  for (const name of ['mallory', 'carol']) await learnsNothing(name, jet, name === 'carol');
  // Each is asked by its contact for what it does not go on with, though it could.
  const other = await alice.run(['resume', '--json', await idOf('other.bin')]);
  expect(other.status, other.stderr).not.toBe(0);
  expect(await resuming.ended).toMatchObject({ status: 9 });
  expect((await rows()).map(({ name, state }) => [name, state]).sort()).toEqual([
    ['other.bin', 'interrupted'],
    ['slow.bin', 'interrupted'],
  ]);
  await watcher.connection.close();
});

test('a proposal to the account is answered by the waiting jet, for those it deals with', async () => {
  const receiving = await receive(bob, '--yes', alice.jid);
  const people = {
    alice: await Client.open(server, 'alice'),
    carol: await Client.open(server, 'carol'),
    mallory: await Client.open(server, 'mallory'),
  };
  const propose = (client: Client, id: string) =>
    client.connection.send(
      encodeInitiation(address(bob.jid), {
        action: 'propose',
        id,
        descriptions: [FILE_TRANSFER],
      }),
    );
  const answers = (client: Client) =>
    client.messages.flatMap((message) => {
      const initiation = decodeInitiation(message);
      return initiation === undefined ? [] : [{ ...initiation, from: message.attrs['from'] }];
    });
  for (const [name, client] of Object.entries(people))
    if (name !== 'alice') await propose(client, name);
  const heard = new Promise<void>((resolve) => {
    people.alice.connection.onMessage(() => {
      if (answers(people.alice).length > 0) resolve();
    });
  });
  // The server takes the proposals in turn: had the others been answered, it would have been before this.
  await propose(people.alice, 'alice');
  await heard;
  expect(answers(people.alice)).toEqual([
    {
      action: 'proceed',
      id: 'alice',
      from: expect.stringMatching(/^bob@jet\.test\/jet\./) as string,
    },
  ]);
  for (const client of [people.carol, people.mallory]) {
    await client.connection.iq(null, 'get', xml('ping', { xmlns: 'urn:xmpp:ping' }));
    expect(answers(client)).toEqual([]);
  }
  expect(await terminate(receiving)).toBe(0);
  for (const client of Object.values(people)) await client.connection.close();
});
