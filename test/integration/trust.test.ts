import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Element } from '@xmpp/xml';
import { encode } from 'uqr';
import { bundleNode, ITEM_ID, NODE_DEVICES, NS_OMEMO } from '../../src/omemo/names.ts';
import { Disco } from '../../src/xmpp/disco.ts';
import { Pep } from '../../src/xmpp/pep.ts';
import { xml } from '../../src/xmpp/xml.ts';
import { OmemoDevice } from '../support/device.ts';
import type { JetHome, Outcome } from '../support/jet.ts';
import { address } from '../support/address.ts';
import { Client, makeTown, randomFile, receive, terminate, type Town } from '../support/people.ts';
import type { Prosody } from '../support/prosody.ts';
import { edit } from '../support/stored.ts';
import { hasScript, inTerminal } from '../support/terminal.ts';

// Many processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000 });

let town: Town;
let server: Prosody;
let alice: JetHome;
let bob: JetHome;
let home: Town['home'];
let file: string;

beforeEach(async () => {
  town = await makeTown({ modules: ['stanza_debug'] }, true, 'mallory');
  ({ server, alice, bob, home } = town);
  file = await randomFile(alice, 'note.bin');
});

afterEach(() => town.remove());

const groups = (fingerprint: string) => (fingerprint.match(/.{8}/g) ?? []).join(' ');

/** The device that a home is, made where there is none: [id, fingerprint]. */
async function deviceOf(of: JetHome): Promise<readonly [string, string]> {
  const { stdout } = await of.run(['devices']);
  const line = stdout.split('\n').find((text) => text.endsWith('this device')) ?? '';
  const [id = ''] = line.split(' ');
  return [id, /(?:[0-9a-f]{8} ){7}[0-9a-f]{8}/.exec(line)?.[0].replaceAll(' ', '') ?? ''];
}

/** One transfer; gives both outcomes, the receiver's after it was ended when nothing was accepted. */
async function transfer(
  from: JetHome,
  receiving: readonly string[] = [],
  sending: readonly string[] = [],
): Promise<{ readonly sent: Outcome; readonly received: Outcome }> {
  const process = await receive(bob, '--yes', '--once', ...receiving);
  const sent = await from.run(['send', ...sending, file, bob.jid]);
  if (sent.status !== 0) await terminate(process);
  return { sent, received: await process.ended };
}

async function works(from: JetHome, receiving: readonly string[] = []): Promise<void> {
  const { sent, received } = await transfer(from, receiving);
  expect(sent, sent.stderr + received.stderr).toMatchObject({ status: 0 });
  expect(received, received.stderr).toMatchObject({ status: 0 });
}

test('first use pins, and both sides say the fingerprints', async () => {
  const { sent, received } = await transfer(alice);
  expect(sent, sent.stderr + received.stderr).toMatchObject({ status: 0 });
  expect(received).toMatchObject({ status: 0 });
  const [, alices] = await deviceOf(alice);
  const [, bobs] = await deviceOf(bob);
  expect(sent.stderr).toMatch(/Made the OMEMO device \d+ of this account, fingerprint/);
  expect(sent.stderr).toContain(groups(alices));
  expect(sent.stderr).toContain(`First contact with ${bob.jid}: the key ${groups(bobs)}`);
  expect(received.stderr).toContain(`First contact with ${alice.jid}: the key ${groups(alices)}`);
  expect(received.stdout).toContain(`"fingerprint":"${alices}"`);

  const again = await transfer(alice);
  expect(again.sent).toMatchObject({ status: 0 });
  expect(again.sent.stderr + again.received.stderr).not.toContain('First contact');
});

test('a second device is refused until `jet trust`, and again after `jet distrust`', async () => {
  await works(alice);
  const second = await home('alice');
  const refused = await transfer(second);
  const [id, fingerprint] = await deviceOf(second);
  expect(refused.sent, refused.sent.stderr).toMatchObject({ status: 6, stdout: '' });
  expect(refused.received.stderr).toContain(
    `The device ${id} of ${alice.jid} is not trusted: it is new beside the keys that are known`,
  );
  expect(refused.received.stderr).toContain(`jet trust ${alice.jid} ${fingerprint}`);
  expect(refused.received.status).toBe(0);
  await expect(readFile(join(bob.home, 'note (1).bin'))).rejects.toMatchObject({ code: 'ENOENT' });
  // The first device is as good as before.
  await works(alice);

  const trusted = await bob.run(['trust', alice.jid, ...groups(fingerprint).split(' ')]);
  expect(trusted, trusted.stderr).toMatchObject({ status: 0 });
  expect(trusted.stderr).toContain(groups(fingerprint));
  await works(second);
  await works(second, ['--verified-only']);

  const distrusted = await bob.run(['distrust', alice.jid, fingerprint]);
  expect(distrusted).toMatchObject({ status: 0 });
  expect(distrusted.stderr).toContain(`of ${alice.jid} is distrusted from now on`);
  const { sent, received } = await transfer(second);
  expect(sent, sent.stderr).toMatchObject({ status: 6 });
  expect(received.stderr).toContain('it was distrusted');
});

test('nothing is sent to a device that the sender distrusts', async () => {
  await works(alice);
  const [, fingerprint] = await deviceOf(bob);
  await alice.run(['distrust', bob.jid, fingerprint]);
  const { sent, received } = await transfer(alice);
  expect(sent, sent.stderr).toMatchObject({ status: 6 });
  expect(sent.stderr).toContain('is not trusted: it was distrusted');
  expect(received.stdout).not.toContain('"event":"offer"');
});

test('--verified-only refuses on both sides until the fingerprint was compared', async () => {
  const [, alices] = await deviceOf(alice);
  const [, bobs] = await deviceOf(bob);
  const one = await transfer(alice, ['--verified-only']);
  expect(one.sent, one.sent.stderr).toMatchObject({ status: 6 });
  expect(one.received.stderr).toContain('its fingerprint was not compared yet');
  expect(one.received.stderr).toContain(`jet trust ${alice.jid} ${alices}`);
  await bob.run(['trust', alice.jid, alices]);
  await works(alice, ['--verified-only']);

  const two = await transfer(alice, [], ['--verified-only']);
  expect(two.sent, two.sent.stderr).toMatchObject({ status: 6 });
  expect(two.sent.stderr).toContain(`jet trust ${bob.jid} ${bobs}`);
  await alice.run(['trust', bob.jid, bobs]);
  const three = await transfer(alice, ['--verified-only'], ['--verified-only']);
  expect(three.sent, three.sent.stderr).toMatchObject({ status: 0 });
});

test('`jet devices` shows our own and those of a contact, with what verifies them', async () => {
  const [id, fingerprint] = await deviceOf(bob);
  const uri = `xmpp:${bob.jid}?omemo-sid-${id}=${fingerprint}`;
  const own = await bob.run(['devices']);
  expect(own.stdout).toBe(`${id}  ${groups(fingerprint)}  this device\n  ${uri}\n`);
  const before = await alice.run(['devices', bob.jid]);
  expect(before).toMatchObject({ status: 0 });
  expect(before.stdout).toContain(`${id}  ${groups(fingerprint)}  undecided\n  ${uri}\n`);
  await works(alice);
  expect((await alice.run(['devices', bob.jid])).stdout).toContain(
    `${id}  ${groups(fingerprint)}  pinned\n`,
  );
  await alice.run(['trust', bob.jid, fingerprint]);
  expect((await alice.run(['devices', bob.jid])).stdout).toContain(
    `${id}  ${groups(fingerprint)}  verified\n`,
  );
  const json = JSON.parse((await alice.run(['devices', '--json', bob.jid])).stdout) as unknown;
  expect(json).toMatchObject({ jid: bob.jid, fingerprint, trust: 'verified', listed: true });
});

test.skipIf(!hasScript())('`jet devices` at a terminal shows the URI as a QR code', async () => {
  const [id, fingerprint] = await deviceOf(bob);
  const { stdout, status } = await inTerminal(bob, ['devices']).ended;
  expect(status).toBe(0);
  const lines = stdout.split(/\r?\n/).filter((line) => /^[█▀▄ ]{20,}$/u.test(line));
  // Two modules a character; light ones are drawn, as on the paper of a printed code.
  const modules = lines.flatMap((line) => [
    Array.from(line, (character) => !'█▀'.includes(character)),
    Array.from(line, (character) => !'█▄'.includes(character)),
  ]);
  const { data } = encode(`xmpp:${bob.jid}?omemo-sid-${id}=${fingerprint}`, { border: 2 });
  expect(data.length).toBeGreaterThan(30);
  expect(modules.slice(0, data.length)).toEqual(data);
});

test('a device that a hostile server publishes for a contact gets nothing', async () => {
  await works(alice);
  const [bobs] = await deviceOf(bob);

  // A real device with a real bundle, whose keys the server has: made as another account's.
  const [made, fingerprint] = await deviceOf(await home('mallory'));
  const hostile = await Client.open(server, 'bob', false);
  const pep = new Pep(hostile.connection, new Disco(hostile.connection));
  const bundle = await pep.latest(address('mallory@jet.test'), bundleNode(Number(made)));
  if (bundle === undefined) throw new Error('no bundle');
  const theirs = 424_242;
  await pep.publish(bundleNode(theirs), ITEM_ID, bundle);
  const ids = [bobs, String(theirs)].map((id): Element => xml('device', { id }));
  await pep.publish(NODE_DEVICES, ITEM_ID, xml('list', { xmlns: NS_OMEMO }, ...ids));

  const { sent, received } = await transfer(alice);
  expect(sent, sent.stderr + received.stderr).toMatchObject({ status: 0 });
  expect(received).toMatchObject({ status: 0 });
  expect(sent.stderr).toContain(
    `The device ${theirs} of ${bob.jid} is not trusted: it is new beside the keys that are known`,
  );
  expect(sent.stderr).toContain(groups(fingerprint));
  const keys = [...(await server.logText()).matchAll(/<key\b[^>]*\brid=['"](\d+)['"]/g)];
  expect(keys.map(([, rid]) => rid)).toContain(bobs);
  expect(keys.map(([, rid]) => rid)).not.toContain(String(theirs));
  await hostile.connection.close();
});

describe('another key under the id of a known device', () => {
  test('in a bundle is refused, and the known one keeps working', async () => {
    await works(alice);
    const [bobs, known] = await deviceOf(bob);
    const [made, fingerprint] = await deviceOf(await home('mallory'));
    const hostile = await Client.open(server, 'bob', false);
    const pep = new Pep(hostile.connection, new Disco(hostile.connection));
    const node = bundleNode(Number(bobs));
    const bundle = await pep.latest(address('mallory@jet.test'), bundleNode(Number(made)));
    const process = await receive(bob, '--yes');
    const own = await pep.latest(address(bob.jid), node);
    if (own === undefined || bundle === undefined) throw new Error('no bundle');
    await pep.publish(node, ITEM_ID, bundle);
    // The session that there is goes on.
    const sent = await alice.run(['send', file, bob.jid]);
    expect(sent, sent.stderr).toMatchObject({ status: 0 });

    // Without it the bundle is read, and nothing is made for it.
    const offers = async () =>
      (await server.logText()).split(/<jingle\b[^>]*action='session-initiate'/).length;
    const before = await offers();
    expect(before).toBeGreaterThan(1);
    edit(alice, 'DELETE FROM omemo_session');
    const refused = await alice.run(['send', file, bob.jid]);
    expect(refused, refused.stderr).toMatchObject({ status: 6 });
    expect(refused.stderr).toContain(
      `The device ${bobs} of ${bob.jid} is not trusted: that device was known with another key`,
    );
    expect(refused.stderr).toContain(groups(fingerprint));
    expect(await offers()).toBe(before);
    const shown = (await alice.run(['devices', bob.jid])).stdout;
    expect(shown).toContain(groups(known));
    expect(shown).not.toContain(groups(fingerprint));

    await pep.publish(node, ITEM_ID, own);
    const again = await alice.run(['send', file, bob.jid]);
    expect(again, again.stderr).toMatchObject({ status: 0 });
    expect(await terminate(process)).toBe(0);
    await hostile.connection.close();
  });

  test('in a key exchange is refused as any envelope is, and the known one keeps working', async () => {
    await works(alice);
    const [alices] = await deviceOf(alice);
    const hostile = await OmemoDevice.open(server, 'alice');
    await hostile.list(Number(alices));
    const watcher = await Client.open(server, 'bob');
    const process = await receive(bob, '--yes');
    const full = await watcher.jet(bob.jid);
    const secret = { key: randomBytes(16), iv: randomBytes(12) };
    const envelope = await hostile.omemo.envelope().seal(secret, address(bob.jid));
    const header = envelope.getChild('header');
    if (header) header.attrs['sid'] = alices;
    const heard = await hostile.knock(full, envelope);
    expect(heard).toHaveLength(2);
    expect(heard[1]).toMatch(/<reason><security-error\/><\/reason>/);
    const sent = await alice.run(['send', file, bob.jid]);
    expect(sent, sent.stderr).toMatchObject({ status: 0 });
    expect(await terminate(process)).toBe(0);
    expect(process.stderr).toContain(
      `The device ${alices} of ${alice.jid} is not trusted: that device was known with another key`,
    );
    expect(process.stderr).toContain(groups(hostile.fingerprint));
    await Promise.all([hostile.close(), watcher.connection.close()]);
  });
});
