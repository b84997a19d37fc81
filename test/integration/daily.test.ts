/** OMEMO in daily life with real processes: lost sessions, restored and copied homes, devices that come and go. */
import { cp, rename, rm } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Element } from '@xmpp/xml';
import { parseDeviceList } from '../../src/omemo/devicelist.ts';
import { writeMark } from '../../src/omemo/mark.ts';
import { bundleNode, ITEM_ID, markNode, NODE_DEVICES, NS_OMEMO } from '../../src/omemo/names.ts';
import { Disco } from '../../src/xmpp/disco.ts';
import { Pep } from '../../src/xmpp/pep.ts';
import { Presence } from '../../src/xmpp/presence.ts';
import { systemClock } from '../../src/core/clock.ts';
import { xml } from '../../src/xmpp/xml.ts';
import { jetHome, type JetHome, type Outcome } from '../support/jet.ts';
import { address } from '../support/address.ts';
import { Client, PASSWORD, randomFile, receive, terminate } from '../support/people.ts';
import { startProsody, type Prosody } from '../support/prosody.ts';
import { edit } from '../support/stored.ts';
import { hasScript, inTerminal } from '../support/terminal.ts';

// Many processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 60_000 });

let server: Prosody;
let alice: JetHome;
let bob: JetHome;
let file: string;
const homes: JetHome[] = [];
const clients: Client[] = [];

async function home(name: string): Promise<JetHome> {
  const made = await jetHome(server, name, PASSWORD);
  homes.push(made);
  return made;
}

beforeEach(async () => {
  server = await startProsody({ modules: ['stanza_debug'], proxy65: false });
  for (const name of ['alice', 'bob']) await server.addAccount(name, PASSWORD);
  await server.befriend('alice', 'bob');
  alice = await home('alice');
  bob = await home('bob');
  file = await randomFile(alice, 'note.bin');
});

afterEach(async () => {
  for (const client of clients.splice(0)) await client.connection.close();
  await server.stop();
  for (const made of homes.splice(0)) await made.remove();
});

async function transfer(from = alice): Promise<{ sent: Outcome; received: Outcome }> {
  const process = await receive(bob, '--yes', '--once');
  const sent = await from.run(['send', file, bob.jid]);
  if (sent.status !== 0) await terminate(process);
  return { sent, received: await process.ended };
}

async function works(from = alice): Promise<Outcome> {
  const { sent, received } = await transfer(from);
  expect(sent, sent.stderr + received.stderr).toMatchObject({ status: 0 });
  expect(received, received.stderr).toMatchObject({ status: 0 });
  return sent;
}

/** A chat client of an account: its personal eventing. */
async function pepOf(name: string): Promise<Pep> {
  const client = await Client.open(server, name, false);
  clients.push(client);
  return new Pep(client.connection, new Disco(client.connection));
}

async function listOf(name: string): Promise<number[]> {
  return parseDeviceList(
    await (await pepOf(name)).latest(address(`${name}@jet.test`), NODE_DEVICES),
  );
}

const backup = (of: JetHome) => cp(of.home, `${of.home}.backup`, { recursive: true });

async function restore(of: JetHome): Promise<void> {
  await rm(of.home, { recursive: true });
  await rename(`${of.home}.backup`, of.home);
}

/** How often somebody offered a file, as the server saw it. */
const offers = async () =>
  [...(await server.logText()).matchAll(/<iq\b[^>]*>\s*<jingle\b[^>]*action='session-initiate'/g)]
    .length;

const list = (...ids: number[]): Element =>
  xml('list', { xmlns: NS_OMEMO }, ...ids.map((id) => xml('device', { id })));

test('an envelope that the other side cannot open leads to new sessions and one more offer', async () => {
  await works();
  edit(bob, 'DELETE FROM omemo_session');
  const before = await offers();
  const sent = await works();
  expect(sent.stderr).toContain(
    `${bob.jid} could not decrypt what was sent: new encrypted sessions`,
  );
  const tries = (await offers()) - before;
  await works();
  const alone = (await offers()) - before - tries;
  // The server logs an offer when it comes and when it goes.
  expect(tries).toBe(2 * alone);
});

test('who is refused for good offers twice and no more', async () => {
  await works();
  const { stdout } = await alice.run(['devices', '--json']);
  const { fingerprint } = JSON.parse(stdout) as { fingerprint: string };
  const alone = await offers();
  await bob.run(['distrust', alice.jid, fingerprint]);
  const before = await offers();
  const { sent } = await transfer();
  expect(sent, sent.stderr).toMatchObject({ status: 6 });
  expect((await offers()) - before).toBe(2 * alone);
});

test('a home that was restored from an older backup heals and says so', async () => {
  await works();
  await backup(alice);
  await works();
  await restore(alice);
  const sent = await works();
  expect(sent.stderr).toContain('were older than the server knows it');
  expect((await works()).stderr).not.toContain('older than');

  await backup(bob);
  await works();
  await restore(bob);
  const { sent: again, received } = await transfer();
  expect(again, again.stderr + received.stderr).toMatchObject({ status: 0 });
  expect(received.stderr).toContain('were older than the server knows it');
});

test('a home that is used in two places goes on in both, each saying so', async () => {
  await works();
  const copy = await home('alice');
  await rm(copy.home, { recursive: true });
  await cp(alice.home, copy.home, { recursive: true });
  expect((await works(copy)).stderr).toContain('was moved or copied');
  expect((await works()).stderr).toContain('were older than the server knows it');
  expect((await works(copy)).stderr).toContain('were older than the server knows it');
});

test('the mark is read by nobody else', async () => {
  await works();
  const [id = 0] = await listOf('alice');
  const pep = await pepOf('bob');
  const mark = pep.latest(address(alice.jid), markNode(id));
  await expect(mark).rejects.toMatchObject({ name: 'StanzaError' });
  const own = await (await pepOf('alice')).latest(address(alice.jid), markNode(id));
  expect(own?.getText()).toMatch(/^[0-9a-f]{32}$/);
});

test('an ephemeral device leaves the list after success, failure and interruption', async () => {
  const ephemeral = await home('alice');
  // Without a home of its own to keep, a contact has to be told of no key: the first contact pins it.
  const process = await receive(bob, '--yes', '--once');
  const sent = await ephemeral.run(['send', '--ephemeral', file, bob.jid]);
  expect(sent, sent.stderr).toMatchObject({ status: 0 });
  expect(await process.ended).toMatchObject({ status: 0 });
  const [, id] = /Made the OMEMO device (\d+)/.exec(sent.stderr) ?? [];
  expect(sent.stderr).toContain(`Took the device ${String(id)} off`);
  expect(await listOf('alice')).toEqual([]);
  const pep = await pepOf('alice');
  expect(await pep.latest(address(alice.jid), bundleNode(Number(id)))).toBeUndefined();
  expect(await pep.latest(address(alice.jid), markNode(Number(id)))).toBeUndefined();

  const failed = await ephemeral.run(['send', '--ephemeral', '--wait', '1', file, bob.jid]);
  expect(failed, failed.stderr).toMatchObject({ status: 4 });
  expect(failed.stderr).toMatch(/Made the OMEMO device/);
  expect(await listOf('alice')).toEqual([]);

  const waiting = await receive(ephemeral, '--yes', '--ephemeral');
  expect(await listOf('alice')).toHaveLength(1);
  waiting.child.kill('SIGINT');
  expect(await waiting.ended).toMatchObject({ signal: 'SIGINT' });
  expect(await listOf('alice')).toEqual([]);
});

test('logout takes the device off the list and deletes what it published', async () => {
  await alice.run(['login', alice.jid]);
  await alice.run(['devices']);
  const [id = 0] = await listOf('alice');
  const pep = await pepOf('alice');
  expect(await pep.latest(address(alice.jid), bundleNode(id))).toBeDefined();
  expect(await alice.run(['logout'])).toMatchObject({ status: 0 });
  expect(await listOf('alice')).toEqual([]);
  expect(await pep.latest(address(alice.jid), bundleNode(id))).toBeUndefined();
});

test('--prune takes off what nobody can encrypt to and jets long silent, never this one', async () => {
  const second = await home('alice');
  await alice.run(['devices']);
  await second.run(['devices']);
  const [own = 0, other = 0] = await listOf('alice');
  const pep = await pepOf('alice');
  const silent = 4711;
  const client = 4712;
  const bundle = await pep.latest(address(alice.jid), bundleNode(other));
  if (!bundle) throw new Error('no bundle');
  for (const id of [silent, client]) await pep.publish(bundleNode(id), ITEM_ID, bundle);
  const then = Date.now() - 91 * 86_400_000;
  await pep.publish(markNode(silent), ITEM_ID, writeMark('00', then), 'whitelist');
  await pep.publish(NODE_DEVICES, ITEM_ID, list(own, other, silent, client, 4713));

  expect(await alice.run(['devices', '--prune'])).toMatchObject({ status: 2, stdout: '' });
  const pruned = await alice.run(['devices', '--prune', '--yes']);
  expect(pruned, pruned.stderr).toMatchObject({ status: 0, stdout: `${silent}\n4713\n` });
  expect(await listOf('alice')).toEqual([own, other, client]);
  expect(await pep.latest(address(alice.jid), bundleNode(silent))).toBeUndefined();
  const none = await alice.run(['devices', '--prune', '--yes']);
  expect(none).toMatchObject({ status: 0, stdout: '' });
  expect(none.stderr).toContain('No device was taken off');
});

test.skipIf(!hasScript())('--prune asks at a terminal', async () => {
  await alice.run(['devices']);
  const [own = 0] = await listOf('alice');
  const pep = await pepOf('alice');
  await pep.publish(NODE_DEVICES, ITEM_ID, list(own, 4713, 4714));
  const process = inTerminal(alice, ['devices', '--prune']);
  await process.said(/The device 4713 has published no keys.*\[y\/N\]/s);
  process.child.stdin?.write('n\n');
  await process.said(/The device 4714 .*\[y\/N\]/s);
  process.child.stdin?.write('y\n');
  expect(await process.ended).toMatchObject({ status: 0 });
  expect(await listOf('alice')).toEqual([own, 4713]);
});

test('--remove takes a device off by its number, but not this one, and none that is not there', async () => {
  await alice.run(['devices']);
  const [own = 0] = await listOf('alice');
  const pep = await pepOf('alice');
  await pep.publish(NODE_DEVICES, ITEM_ID, list(own, 4713));
  const itself = await alice.run(['devices', '--remove', String(own)]);
  expect(itself).toMatchObject({ status: 2 });
  expect(itself.stderr).toContain(`${own} is this device: jet logout takes it off the list.`);
  expect(await alice.run(['devices', '--remove', '5'])).toMatchObject({ status: 2 });
  expect(await alice.run(['devices', '--remove', 'x'])).toMatchObject({ status: 2 });
  expect(await alice.run(['devices', bob.jid, '--prune', '--yes'])).toMatchObject({ status: 2 });
  const removed = await alice.run(['devices', '--json', '--remove', '4713']);
  expect(removed, removed.stderr).toMatchObject({ status: 0 });
  expect(JSON.parse(removed.stdout)).toEqual({ jid: alice.jid, id: 4713, removed: true });
  expect(await listOf('alice')).toEqual([own]);
});

test('two homes and a chat client that write the list at once all stay on it, without a war', async () => {
  const second = await home('alice');
  const client = await Client.open(server, 'alice', false);
  clients.push(client);
  const disco = new Disco(client.connection);
  const pep = new Pep(client.connection, disco);
  const phone = 4712;
  const seen: number[][] = [];
  let look: () => void = () => undefined;
  pep.onItem(NODE_DEVICES, (_from, item) => {
    const ids = parseDeviceList(item);
    seen.push(ids);
    // As chat clients do: it puts itself back when it is missing.
    if (!ids.includes(phone)) {
      void pep.publish(NODE_DEVICES, ITEM_ID, list(...ids, phone));
    }
    look();
  });
  await new Presence(client.connection, disco, systemClock).available();
  const [one, two] = await Promise.all([
    receive(alice, '--yes'),
    receive(second, '--yes'),
    pep.publish(NODE_DEVICES, ITEM_ID, list(phone)),
  ]);
  const complete = () =>
    new Promise<void>((resolve) => {
      look = () => {
        if (seen.at(-1)?.length === 3) resolve();
      };
      look();
    });
  await complete();
  for (let round = 0; round < 2; round++) {
    // A client that knows of no others.
    await pep.publish(NODE_DEVICES, ITEM_ID, list(phone));
    seen.push([phone]);
    await complete();
  }
  // Each of the three writes a few times for each of the three disturbances, not on and on.
  expect(seen.length).toBeLessThan(30);
  expect(seen.at(-1)).toContain(phone);
  expect(await terminate(one)).toBe(0);
  expect(await terminate(two)).toBe(0);
  expect(await listOf('alice')).toHaveLength(3);
});
