/** What a peer is answered whose offer is refused: always the same, while the user here hears why. */
import { createHash, randomBytes } from 'node:crypto';
import { readFile, utimes } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { bundleNode, NODE_DEVICES } from '../../src/omemo/names.ts';
import type { Element } from '../../src/xmpp/xml.ts';
import { OmemoDevice } from '../support/device.ts';
import { jetHome, type JetHome, type JetProcess } from '../support/jet.ts';
import { linesOf } from '../support/pair.ts';
import { address } from '../support/address.ts';
import { Client, PASSWORD, randomFile, receive, terminate } from '../support/people.ts';
import { startProsody, type Prosody } from '../support/prosody.ts';

// Processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000 });

let server: Prosody;
let bob: JetHome;
const closing: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  server = await startProsody({ proxy65: false });
  for (const name of ['alice', 'bob']) await server.addAccount(name, PASSWORD);
  await server.befriend('alice', 'bob');
  bob = await jetHome(server, 'bob', PASSWORD);
});

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await server.stop();
  await bob.remove();
});

async function deviceOf(name: string): Promise<OmemoDevice> {
  const device = await OmemoDevice.open(server, name);
  closing.push(() => device.close());
  return device;
}

/** Starts bob's receiver; gives its full address as his other client sees it. */
async function waiting(...args: string[]): Promise<{ process: JetProcess; full: string }> {
  const watcher = await Client.open(server, 'bob');
  const process = await receive(bob, '--yes', ...args);
  const full = await watcher.jet(bob.jid);
  await watcher.connection.close();
  return { process, full };
}

const notices = ({ stdout }: JetProcess, code: string) =>
  linesOf(stdout)
    .filter((line) => line['event'] === 'notice' && line['code'] === code)
    .map((line) => String(line['message']));

test('an untrusted device hears what any envelope hears that does not open', async () => {
  const alice = await deviceOf('alice');
  const second = await deviceOf('alice');
  const { process, full } = await waiting(
    `xmpp:alice@jet.test?omemo-sid-${alice.id}=${alice.fingerprint}`,
  );
  const seal = (of: OmemoDevice): Promise<Element> =>
    of.omemo.envelope().seal({ key: randomBytes(16), iv: randomBytes(12) }, address(bob.jid));
  const keyOf = (envelope: Element): Element => {
    const key = envelope.getChild('header')?.getChild('key');
    if (!key) throw new Error('no key');
    return key;
  };

  const untrusted = await second.knock(full, await seal(second));
  expect(untrusted).toHaveLength(2);
  expect(untrusted[0]).toBe('result undefined');
  expect(untrusted[1]).toMatch(/action="session-terminate".*<reason><security-error\/><\/reason>/);

  const tampered = await seal(alice);
  const bytes = Buffer.from(keyOf(tampered).getText(), 'base64');
  // Within the authentication of the message, before the numbers that end the key exchange around it.
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 12) ^ 1, bytes.length - 12);
  keyOf(tampered).children = [bytes.toString('base64')];
  const another = await seal(alice);
  keyOf(another).attrs['rid'] = '4711';
  const malformed = await seal(alice);
  const header = malformed.getChild('header');
  if (header) header.attrs['sid'] = '0';
  const unknown = await seal(alice);
  delete keyOf(unknown).attrs['prekey'];
  const unknownHeader = unknown.getChild('header');
  if (unknownHeader) unknownHeader.attrs['sid'] = '4711';

  for (const envelope of [tampered, another, malformed, unknown])
    expect(await alice.knock(full, envelope)).toEqual(untrusted);

  expect(await terminate(process)).toBe(0);
  const [refused, ...others] = notices(process, 'omemo-refused');
  expect(others).toEqual([]);
  expect(refused).toContain(`The device ${second.id} of alice@jet.test is not trusted`);
  expect(refused).toContain(`jet trust alice@jet.test ${second.fingerprint}`);
  const reasons = notices(process, 'offer-refused');
  expect(reasons).toHaveLength(5);
  for (const [index, why] of [
    `The device ${second.id} of alice@jet.test is not trusted`,
    'does not decrypt',
    'no key for this device',
    'is malformed',
    'no OMEMO session with this device',
  ].entries())
    expect(reasons[index]).toContain(why);
  expect(process.stdout).not.toContain('"event":"offer"');
});

test('a contact without a device list is refused alike', async () => {
  const alice = await deviceOf('alice');
  const { process, full } = await waiting();
  const sealed = await alice.omemo
    .envelope()
    .seal({ key: randomBytes(16), iv: randomBytes(12) }, address(bob.jid));
  // Nothing is there to be pinned at first contact.
  await alice.pep.deleteNode(NODE_DEVICES);
  await alice.pep.deleteNode(bundleNode(alice.id));
  const heard = await alice.knock(full, sealed);
  expect(heard).toHaveLength(2);
  expect(heard[1]).toMatch(/<reason><security-error\/><\/reason>/);
  expect(await terminate(process)).toBe(0);
  expect(process.stdout).not.toContain('"event":"offer"');
});

test('a request is refused in the same words, whatever is wrong with it', async () => {
  const alice = await deviceOf('alice');
  const second = await deviceOf('alice');
  const there = await randomFile(bob, 'there.bin');
  const old = new Date(Date.now() - 60_000);
  await utimes(there, old, old);
  const process = bob.start([
    ...['share', there, '--json', '--allow-plain'],
    `xmpp:alice@jet.test?omemo-sid-${alice.id}=${alice.fingerprint}`,
  ]);
  const watcher = await Client.open(server, 'bob');
  const full = await watcher.jet(bob.jid);
  await watcher.connection.close();
  const hash = createHash('sha256')
    .update(await readFile(there))
    .digest();
  const seal = (of: OmemoDevice): Promise<Element> =>
    of.omemo.envelope().seal({ key: randomBytes(16), iv: randomBytes(12) }, address(bob.jid));
  const another = await seal(alice);
  const key = another.getChild('header')?.getChild('key');
  if (key) key.attrs['rid'] = '4711';

  // Who may ask, for what is not there. A trusted device is owed an empty message besides for a key exchange.
  const ask = async (of: OmemoDevice, envelope: Element, asked: Buffer) =>
    (await of.knock(full, envelope, asked)).filter((heard) => !heard.startsWith('<message'));
  const unknown = await ask(alice, await seal(alice), randomBytes(32));
  expect(unknown, unknown.join('\n')).toHaveLength(2);
  expect(unknown[1]).toMatch(/<failed-application\/><file-not-available/);
  // A device that is not trusted and an envelope for somebody else, for what is there and what is not.
  for (const asked of [hash, randomBytes(32)]) {
    expect(await ask(second, await seal(second), asked)).toEqual(unknown);
    expect(await ask(alice, another, asked)).toEqual(unknown);
  }
  expect(await terminate(process)).toBe(0);
  const why = notices(process, 'request-refused');
  expect(why).toHaveLength(5);
  expect(why[0]).toContain('what it asked for is not shared');
  expect(why[1]).toContain(`The device ${second.id} of alice@jet.test is not trusted`);
  expect(why[2]).toContain('no key for this device');
});

test('a contact to whom nothing is shared hears what anybody hears: as if nobody were there', async () => {
  const alice = await deviceOf('alice');
  await server.addAccount('mallory', PASSWORD);
  const mallory = await deviceOf('mallory');
  const there = await randomFile(bob, 'there.bin');
  const process = bob.start(['share', there, '--json', '--to', 'carol@jet.test']);
  const watcher = await Client.open(server, 'bob');
  const full = await watcher.jet(bob.jid);
  await watcher.connection.close();
  const hash = createHash('sha256')
    .update(await readFile(there))
    .digest();
  const heard: string[][] = [];
  for (const device of [alice, mallory])
    for (const to of [full, `${bob.jid}/not-there`])
      for (const asked of [hash, randomBytes(32), undefined]) {
        const secret = { key: randomBytes(16), iv: randomBytes(12) };
        const envelope = await device.omemo.envelope().seal(secret, address(bob.jid));
        heard.push(await device.knock(to, envelope, asked));
      }
  expect(heard).toHaveLength(12);
  for (const one of heard) expect(one).toEqual(heard[0]);
  for (const words of heard[0] ?? []) expect(words).toContain('service-unavailable');
  expect(await terminate(process)).toBe(0);
  expect(notices(process, 'request-refused')).toEqual([]);
});
