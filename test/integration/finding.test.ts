import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { xml } from '../../src/xmpp/xml.ts';
import type { JetHome, JetProcess } from '../support/jet.ts';
import { address } from '../support/address.ts';
import { Client, makeTown, randomFile, receive, terminate, type Town } from '../support/people.ts';
import type { Prosody } from '../support/prosody.ts';

// Many processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000 });

let town: Town;
let server: Prosody;
let alice: JetHome;
let bob: JetHome;
let home: Town['home'];

beforeEach(async () => {
  town = await makeTown({ modules: ['offline'] }, false, 'mallory');
  ({ server, alice, bob, home } = town);
});

afterEach(() => town.remove());

/** Both ends of a transfer that succeeded, and the same bytes. */
async function moved(sending: JetProcess, receiving: JetProcess, file: string): Promise<void> {
  const sent = await sending.ended;
  expect(sent, sent.stderr).toMatchObject({ status: 0 });
  const received = await receiving.ended;
  expect(received, received.stderr).toMatchObject({ status: 0 });
  const landed = await readFile(join(bob.home, 'moved.bin'));
  expect(landed.equals(await readFile(file))).toBe(true);
}

describe.each(['contacts', 'strangers who name each other'])('%s', (kind) => {
  const named = kind === 'contacts' ? [] : ['alice@jet.test'];
  beforeEach(async () => {
    if (kind === 'contacts') await server.befriend('alice', 'bob');
  });

  test('find one another when the receiver is there first', async () => {
    const file = await randomFile(alice, 'moved.bin');
    const receiving = await receive(bob, '--yes', '--once', ...named);
    await moved(alice.start(['send', file, bob.jid]), receiving, file);
  });

  test('find one another when the sender is there first', async () => {
    const file = await randomFile(alice, 'moved.bin');
    const sending = alice.start(['send', '--json', file, bob.jid]);
    await sending.said(/"event":"waiting"/);
    await moved(sending, bob.start(['receive', '--yes', '--once', ...named]), file);
  });

  test('a receiver that was killed and started again is found', async () => {
    const file = await randomFile(alice, 'moved.bin');
    const killed = await receive(bob, '--yes', '--once', ...named);
    killed.child.kill('SIGKILL');
    await killed.ended;
    const receiving = await receive(bob, '--yes', '--once', ...named);
    await moved(alice.start(['send', file, bob.jid]), receiving, file);
  });
});

test.each(['the receiver', 'the sender'])(
  'the living one is chosen while the server still shows the one that was killed: %s is there first',
  async (first) => {
    await server.befriend('alice', 'bob');
    const file = await randomFile(alice, 'moved.bin');
    const watcher = await Client.open(server, 'bob');
    const killed = await receive(bob, '--yes');
    const dead = await watcher.jet(bob.jid);
    killed.child.kill('SIGKILL');
    await killed.ended;
    const send = async () => {
      const process = alice.start(['send', '--json', '--verbose', file, bob.jid]);
      // Where nobody else is there yet, it has met the dead one alone.
      if (first === 'the sender') await process.said(/"event":"waiting"/);
      return process;
    };
    const early = first === 'the sender' ? await send() : undefined;
    const receiving = await receive(bob, '--yes', '--once');
    const living = await watcher.jet(bob.jid, 1);
    const sending = early ?? (await send());
    await moved(sending, receiving, file);
    expect(sending.stderr).toContain(`the resource ${living} was chosen`);
    // The sender saw both, and the server has not noticed to the end.
    expect(sending.stderr).toMatch(new RegExp(`< <presence[^>]*from="${dead}"`));
    const gone = watcher.presences.filter(({ attrs }) => attrs['type'] === 'unavailable');
    expect(gone.map(({ attrs }) => attrs['from'])).not.toContain(dead);
    await watcher.connection.close();
  },
);

test('a device that is known already greets its peer without waiting for what it looks up', async () => {
  await server.befriend('alice', 'bob');
  const file = await randomFile(alice, 'moved.bin');
  const receiving = await receive(bob, '--yes');
  const greetsFirst = async () => {
    const sent = await alice.run(['send', '--verbose', file, bob.jid]);
    expect(sent, sent.stderr).toMatchObject({ status: 0 });
    const at = (pattern: RegExp) => sent.stderr.search(pattern);
    const [greeting, roster] = [at(/^> <presence to="bob@/m), at(/^< .*"jabber:iq:roster"/m)];
    expect(roster).toBeGreaterThan(0);
    return greeting > 0 && greeting < roster;
  };
  // Nobody is to see a device that is not on its account's list yet.
  expect(await greetsFirst()).toBe(false);
  expect(await greetsFirst()).toBe(true);
  expect(await terminate(receiving)).toBe(0);
});

test('a full address picks the device', async () => {
  await server.befriend('alice', 'bob');
  const other = await home('bob');
  const file = await randomFile(alice, 'moved.bin');
  const watcher = await Client.open(server, 'bob');
  const receiving = await receive(bob, '--yes', '--once');
  const full = await watcher.jet(bob.jid);
  const beside = await receive(other, '--yes', '--once');
  await watcher.jet(bob.jid, 1);
  await moved(alice.start(['send', file, full]), receiving, file);
  expect(beside.stdout).not.toContain('"event":"offer"');
  expect(await terminate(beside)).toBe(0);
  await watcher.connection.close();
});

test('naming addresses keeps contacts out who are not named', async () => {
  await server.befriend('alice', 'bob');
  const file = await randomFile(alice, 'moved.bin');
  const receiving = await receive(bob, '--yes', 'mallory@jet.test');
  const sent = await alice.run(['send', '--wait', '5', file, bob.jid]);
  expect(sent, sent.stderr).toMatchObject({ status: 4 });
  expect(await terminate(receiving)).toBe(0);
});

test('another device of the account is dealt with where the account is named, and not otherwise', async () => {
  const other = await home('bob');
  const file = await randomFile(other, 'moved.bin');
  const closed = await receive(bob, '--yes');
  const sent = await other.run(['send', '--wait', '3', file, bob.jid]);
  expect(sent, sent.stderr).toMatchObject({ status: 4 });
  expect(await terminate(closed)).toBe(0);
  const open = await receive(bob, '--yes', '--once', bob.jid);
  await moved(other.start(['send', file, bob.jid]), open, file);
});

test('a stranger gets exit 4 and learns nothing', async () => {
  const mallory = await home('mallory');
  const watcher = await Client.open(server, 'bob');
  const receiving = await receive(bob, '--yes', alice.jid);
  const full = await watcher.jet(bob.jid);
  const file = await randomFile(mallory, 'bad.bin');
  for (const to of [bob.jid, full]) {
    const sent = await mallory.run(['send', '--wait', '5', file, to]);
    expect(sent, sent.stderr).toMatchObject({ status: 4 });
    expect(sent.stderr).toContain(`${to} is not online, or does not wait for you`);
  }

  const stranger = await Client.open(server, 'mallory');
  const { connection } = stranger;
  for (const to of [bob.jid, full]) await connection.send(xml('presence', { to }));
  const jingle = xml('jingle', {
    xmlns: 'urn:xmpp:jingle:1',
    action: 'session-initiate',
    sid: 'a73sjjvkla37jfea',
    initiator: connection.jid.toString(),
  });
  const requests = [
    xml('query', { xmlns: 'http://jabber.org/protocol/disco#info' }),
    xml('query', { xmlns: 'http://jabber.org/protocol/disco#info', node: 'nothing' }),
    xml('query', { xmlns: 'http://jabber.org/protocol/disco#items' }),
    xml('ping', { xmlns: 'urn:xmpp:ping' }),
    xml('query', { xmlns: 'jabber:iq:version' }),
  ];
  const answerOf = (to: string, request: (typeof requests)[number], type: 'get' | 'set') =>
    connection.iq(address(to), type, request).then(
      () => 'a result',
      (error: unknown) => {
        const { type: kind, condition, text } = error as Record<string, unknown>;
        return { kind, condition, text };
      },
    );
  const nobody = { kind: 'cancel', condition: 'service-unavailable', text: undefined };
  for (const request of requests) expect(await answerOf(full, request, 'get')).toEqual(nobody);
  expect(await answerOf(full, jingle, 'set')).toEqual(nobody);
  expect(await answerOf(`${bob.jid}/not-there`, jingle, 'set')).toEqual(nobody);
  // All that the requests above provoked has come by now: the server keeps the order.
  const own = connection.jid.bare.toString();
  const others = stranger.presences.filter((presence) => !presence.attrs['from']?.startsWith(own));
  expect(others.map(String)).toEqual([]);
  expect(receiving.stdout).not.toContain('"event":"offer"');
  expect(await terminate(receiving)).toBe(0);
  await Promise.all([connection.close(), watcher.connection.close()]);
});

test('receiving never steals chat, and offline messages stay', async () => {
  await server.befriend('alice', 'bob');
  const sender = await Client.open(server, 'alice');
  const chat = await Client.open(server, 'bob');
  const receiving = await receive(bob, '--yes');
  const full = await chat.jet(bob.jid);
  await sender.chat(bob.jid, 'while a chat client is there');
  await chat.heard('while a chat client is there');
  await chat.connection.close();
  await sender.chat(bob.jid, 'while only jet is there');
  // The server has dealt with the message before it answers this.
  await sender.connection.iq(null, 'get', xml('query', { xmlns: 'jabber:iq:roster' }));
  const later = await Client.open(server, 'bob');
  expect(await later.jet(bob.jid)).toBe(full);
  await later.heard('while only jet is there');
  expect(await terminate(receiving)).toBe(0);
  await Promise.all([sender.connection.close(), later.connection.close()]);
});

test('two accounts that add each other end as contacts of each other', async () => {
  const listed = async (of: JetHome) => (await of.run(['contacts'])).stdout.trim();
  expect(await alice.run(['contacts', 'add', bob.jid])).toMatchObject({ status: 0 });
  expect(await bob.run(['contacts', 'add', alice.jid])).toMatchObject({ status: 0 });
  expect(await listed(alice)).toBe(`${bob.jid} both`);
  expect(await listed(bob)).toBe(`${alice.jid} both`);
  expect(await bob.run(['contacts', 'remove', alice.jid])).toMatchObject({ status: 0 });
  expect(await listed(bob)).toBe('');
});
