/** What a peer is answered whose offer is refused: always the same, while the user here hears why. */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { bundleNode, NODE_DEVICES } from '../../src/omemo/names.ts';
import type { Element } from '../../src/xmpp/xml.ts';
import { OmemoDevice } from '../support/device.ts';
import { jetHome, type JetHome, type JetProcess } from '../support/jet.ts';
import { linesOf } from '../support/pair.ts';
import { address } from '../support/address.ts';
import { Client, PASSWORD, receive, terminate } from '../support/people.ts';
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
