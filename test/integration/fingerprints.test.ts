/** Addresses written with their fingerprints, and what others publish to get between. */
import { execFileSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { MAX_DEVICES } from '../../src/omemo/devicelist.ts';
import { omemoSchema } from '../../src/omemo/schema.ts';
import { locksSchema } from '../../src/store/locks.ts';
import { openStore } from '../../src/store/store.ts';
import { OmemoDevice } from '../support/device.ts';
import { jetHome, type JetHome, type Outcome } from '../support/jet.ts';
import { otherClient } from '../support/other-client.ts';
import { linesOf } from '../support/pair.ts';
import { PASSWORD, randomFile, receive, terminate } from '../support/people.ts';
import { startProsody, type Prosody } from '../support/prosody.ts';
import { hasScript, inTerminal } from '../support/terminal.ts';

// Many processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000 });

const MALLORY = 'mallory@jet.test';

let server: Prosody;
let alice: JetHome;
let bob: JetHome;
let file: string;
const closing: (() => Promise<unknown>)[] = [];

async function home(name: string): Promise<JetHome> {
  const made = await jetHome(server, name, PASSWORD);
  closing.push(() => made.remove());
  return made;
}

async function deviceOf(name: string): Promise<OmemoDevice> {
  const device = await OmemoDevice.open(server, name);
  closing.push(() => device.close());
  return device;
}

beforeEach(async () => {
  server = await startProsody({ modules: ['stanza_debug'], proxy65: false });
  for (const name of ['alice', 'bob', 'mallory']) await server.addAccount(name, PASSWORD);
  await server.befriend('alice', 'bob');
  alice = await home('alice');
  bob = await home('bob');
  file = await randomFile(alice, 'note.bin');
});

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await server.stop();
});

/** The device of a home, made where there is none. */
async function own(of: JetHome): Promise<{ id: number; fingerprint: string; uri: string }> {
  const { stdout } = await of.run(['devices', '--json']);
  const found = linesOf(stdout).find((line) => line['own'] === true);
  const id = Number(found?.['id']);
  const fingerprint = String(found?.['fingerprint']);
  return { id, fingerprint, uri: `xmpp:${of.jid}?omemo-sid-${id}=${fingerprint}` };
}

/** The trust in a key of bob's, as alice's devices command tells. */
async function trustIn(fingerprint: string): Promise<unknown> {
  const { stdout } = await alice.run(['devices', '--json', bob.jid]);
  return linesOf(stdout).find((line) => line['fingerprint'] === fingerprint)?.['trust'];
}

async function transfer(
  sending: readonly string[],
  receiving: readonly string[] = [],
): Promise<{ readonly sent: Outcome; readonly received: Outcome }> {
  const process = await receive(bob, '--yes', '--once', ...receiving);
  const sent = await alice.run(['send', ...sending]);
  if (sent.status !== 0) await terminate(process);
  return { sent, received: await process.ended };
}

async function works(sending: readonly string[], receiving: readonly string[] = []) {
  const both = await transfer(sending, receiving);
  const { sent, received } = both;
  expect(sent, sent.stderr + received.stderr).toMatchObject({ status: 0 });
  expect(received, received.stderr).toMatchObject({ status: 0 });
  return both;
}

/** The devices that envelopes were made for, as the server saw them. */
async function recipients(): Promise<Set<string | undefined>> {
  const keys = (await server.logText()).matchAll(/<key\b[^>]*\brid=['"](\d+)['"]/g);
  return new Set([...keys].map(([, rid]) => rid));
}

const notices = ({ stdout }: Outcome, code: string) =>
  linesOf(stdout).filter((line) => line['event'] === 'notice' && line['code'] === code);

test('written with its key, a contact is met without a first contact to attack', async () => {
  const [alices, bobs] = [await own(alice), await own(bob)];
  const evil = await deviceOf('bob');
  const { sent, received } = await works(
    ['--json', '--quiet', file, bobs.uri],
    [alices.uri, '--verified-only'],
  );
  expect([...(await recipients())]).not.toContain(String(evil.id));
  const [pinned, ...more] = notices(sent, 'omemo-pinned');
  expect(pinned?.['message']).toContain(`of ${bob.jid} was written with the address`);
  expect(more).toEqual([]);
  expect(notices(received, 'omemo-pinned')).toHaveLength(1);
  const [refused] = notices(sent, 'omemo-refused');
  expect(refused?.['message']).toContain(`The device ${evil.id} of ${bob.jid} is not trusted`);
  // --quiet keeps quiet about neither, and the address appears as one everywhere.
  expect(sent.stderr.trim().split('\n')).toHaveLength(2);
  for (const text of [sent.stdout, sent.stderr, received.stdout, received.stderr])
    expect(text).not.toContain('omemo-sid');
  expect(await trustIn(bobs.fingerprint)).toBe('verified');
  expect(await trustIn(evil.fingerprint)).toBe('undecided');
});

test('a key that is not the one written is refused, and `jet devices` tells which it is', async () => {
  const bobs = await own(bob);
  const wrong = bobs.uri.replace(bobs.fingerprint, 'ab'.repeat(32));
  const compared = await alice.run(['devices', wrong]);
  expect(compared).toMatchObject({ status: 6 });
  expect(compared.stderr).toContain(`it has ${bobs.fingerprint}`);
  expect(await alice.run(['devices', bobs.uri])).toMatchObject({ status: 0 });
  const { sent, received } = await transfer([file, wrong]);
  expect(sent, sent.stderr).toMatchObject({ status: 6 });
  expect(sent.stderr).toContain(`jet trust ${bob.jid} ${bobs.fingerprint}`);
  expect(received.stdout).not.toContain('"event":"offer"');

  // Another key was written for a known device now: `jet trust` decides, not an address.
  expect(await alice.run(['send', file, bobs.uri])).toMatchObject({ status: 6 });
  expect(await alice.run(['trust', bobs.uri])).toMatchObject({ status: 0 });
  await works([file, bobs.uri]);
});

test('an address with its key is taken wherever an address is, and refused where it is senseless', async () => {
  const bobs = await own(bob);
  const added = await alice.run(['contacts', 'add', bobs.uri]);
  expect(added, added.stderr).toMatchObject({ status: 0 });
  expect(added.stderr).toContain('was written with the address');
  expect(await trustIn(bobs.fingerprint)).toBe('verified');
  const distrusted = await alice.run(['distrust', bobs.uri]);
  expect(distrusted, distrusted.stderr).toMatchObject({ status: 0 });
  expect(distrusted.stderr).toContain('is distrusted from now on');
  for (const args of [
    ['send', file, bobs.uri],
    ['receive', '--yes', bobs.uri],
    ['contacts', 'add', bobs.uri],
    ['contacts', 'remove', bobs.uri],
  ]) {
    const refused = await alice.run(args);
    expect(refused, args.join(' ')).toMatchObject({ status: 6 });
    expect(refused.stderr).toContain(`jet trust ${bob.jid} ${bobs.fingerprint}`);
  }
  expect(await alice.run(['trust', bobs.uri])).toMatchObject({ status: 0 });
  expect(await trustIn(bobs.fingerprint)).toBe('verified');
  expect(await alice.run(['contacts', 'remove', bobs.uri])).toMatchObject({ status: 0 });
  for (const command of ['login', 'register']) {
    const refused = await alice.run([command, bobs.uri]);
    expect(refused, command).toMatchObject({ status: 2 });
    expect(refused.stderr).toContain(`Write the account as ${bob.jid} alone`);
  }
});

test('a copied bundle neither stands for its owner nor locks him out', async () => {
  await server.befriend('alice', 'mallory');
  const bobs = await own(bob);
  const features = [
    'urn:xmpp:jingle:1',
    'urn:xmpp:jingle:apps:file-transfer:5',
    'urn:xmpp:jingle:jet:0',
    'urn:xmpp:jingle:jet-omemo:0',
  ];
  const mallory = await deviceOf('mallory');
  closing.push(
    await otherClient({ server, name: 'mallory', password: PASSWORD, software: 'M', features }),
  );
  await mallory.copyBundle(bob.jid, bobs.id, 666);
  await mallory.list(666);
  // His own device would put itself back on the list, and be sent to.
  await mallory.close();
  // Alice meets the copy first: what is made for it, only bob could open.
  const first = await alice.run(['send', file, MALLORY]);
  expect(first.stderr).toContain(`First contact with ${MALLORY}`);
  const { sent } = await works([file, bob.jid]);
  expect(sent.stderr).toContain(`First contact with ${bob.jid}`);
  // Bob has answered by then, which takes the private key: now it is his alone.
  const second = await alice.run(['send', '--quiet', file, MALLORY]);
  expect(second, second.stderr).toMatchObject({ status: 6 });
  expect(second.stderr).toContain('the key belongs to another address already');
  expect(second.stderr).toContain(`It is a key of ${bob.jid}`);
  await works([file, bob.jid]);
});

test('a list flooded with made-up devices keeps nobody from the pinned one', async () => {
  await works([file, bob.jid]);
  const bobs = await own(bob);
  const hostile = await deviceOf('bob');
  const flood = Array.from({ length: 4 * MAX_DEVICES }, (_, i) => 1000 + i);
  for (const id of flood.slice(0, 3)) await hostile.copyBundle(bob.jid, hostile.id, id);
  await hostile.list(...flood, bobs.id);
  const { sent } = await works(['--json', file, bob.jid]);
  // The three that have a key are named, not the others, which have none.
  expect(notices(sent, 'omemo-refused')).toHaveLength(3);
  expect([...(await recipients())]).not.toContain('1000');
});

test('`jet trust --plain` forgets a jet and says so', async () => {
  const { uri, fingerprint } = await own(bob);
  const never = await alice.run(['trust', '--plain', '--json', bob.jid, fingerprint]);
  expect(never).toMatchObject({ status: 0 });
  expect(notices(never, 'omemo-no-jet')).toHaveLength(1);
  const store = openStore(join(alice.home, 'jet.db'), [locksSchema, omemoSchema]);
  const sql = 'INSERT INTO omemo_jet (account, identity, since) VALUES (?, ?, 0)';
  store.run(sql, alice.jid, fingerprint);
  store.close();
  const forgot = await alice.run(['trust', '--plain', '--quiet', '--json', uri]);
  expect(forgot).toMatchObject({ status: 0 });
  expect(notices(forgot, 'omemo-jet-forgotten')).toHaveLength(1);
  expect(forgot.stderr).toContain('may transfer without sealed elements again');
});

describe.skipIf(!hasScript())('at a terminal', () => {
  const QUESTION = /Did you compare this fingerprint, and trust it\? \[y\/N\] /;

  test('a new device of the recipient is asked about: No by default, and Yes is pinned', async () => {
    await works([file, bob.jid]);
    const second = await deviceOf('bob');
    const once = async (answer: string) => {
      const receiving = await receive(bob, '--yes', '--once');
      const sending = inTerminal(alice, ['send', file, bob.jid]);
      await sending.said(QUESTION);
      sending.child.stdin?.write(answer);
      const sent = await sending.ended;
      expect(sent, sent.stdout).toMatchObject({ status: 0 });
      expect(await receiving.ended).toMatchObject({ status: 0 });
      return sent.stdout;
    };
    const declined = await once('\n');
    expect(declined).toContain(`${bob.jid} has a new device ${second.id}`);
    expect(await recipients()).not.toContain(String(second.id));
    expect(await trustIn(second.fingerprint)).toBe('undecided');
    expect(await once('y\n')).toMatch(/The key .* is trusted from now on/);
    // Trusted, but between two jets an envelope is made for the one device that takes the file.
    expect(await recipients()).not.toContain(String(second.id));
    expect(await trustIn(second.fingerprint)).toBe('pinned');
  });

  test('a new device of the sender is asked about; off a terminal the command allows it', async () => {
    const first = await deviceOf('alice');
    const written = `xmpp:${alice.jid}?omemo-sid-${first.id}=${first.fingerprint}`;
    expect(await bob.run(['contacts', 'add', written])).toMatchObject({ status: 0 });

    const off = await transfer([file, bob.jid]);
    expect(off.sent, off.sent.stderr).toMatchObject({ status: 6 });
    const [, command = ''] = /allow it by: (.*)$/m.exec(off.received.stderr) ?? [];

    const receiving = inTerminal(bob, ['receive', '--yes', '--once']);
    const sending = alice.start(['send', '--wait', '60', file, bob.jid]);
    await receiving.said(QUESTION);
    receiving.child.stdin?.write('\n');
    expect(await sending.ended).toMatchObject({ status: 6 });
    receiving.child.kill('SIGTERM');
    await receiving.ended;

    // Exactly as it was printed.
    const bin = new URL('../../bin', import.meta.url).pathname;
    execFileSync('/bin/sh', ['-c', command], {
      env: { ...bob.environment, PATH: `${bin}:${bob.environment['PATH'] ?? ''}` },
      stdio: 'ignore',
    });
    await works([file, bob.jid], ['--verified-only']);
    expect(await readdir(bob.home)).toContain('note.bin');
  });

  test('Ctrl-C at the question ends the sender at once', async () => {
    await works([file, bob.jid]);
    await deviceOf('bob');
    const receiving = await receive(bob, '--yes');
    const sending = inTerminal(alice, ['send', file, bob.jid]);
    await sending.said(QUESTION);
    sending.child.stdin?.write('\u0003');
    expect((await sending.ended).status).not.toBe(0);
    expect(await terminate(receiving)).toBe(0);
  });
});
