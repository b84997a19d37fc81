import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Element, xml } from '../../../src/xmpp/xml.ts';
import { jid, type Party, World } from '../../support/omemo-world.ts';
import { settle } from '../../support/clock.ts';

let world: World;
let alice: Party;
let bob: Party;

beforeEach(async () => {
  world = new World();
  alice = world.party('alice@a.example/jet');
  bob = world.party('bob@b.example/jet');
  for (const party of [alice, bob]) await party.omemo.ensureDevice();
  // Both know and trust the other; then alice has lost her session, as after a restored backup.
  const secret = { key: randomBytes(16), iv: randomBytes(12) };
  const sealed = await bob.omemo.envelope().seal(secret, alice.jid);
  await alice.omemo.envelope().open(sealed, bob.jid, 16);
  alice.store.run('DELETE FROM omemo_session');
});
afterEach(() => {
  world.close();
});

/** An empty message of alice to bob's account, which his server gives to other resources of his. */
async function toAccount(): Promise<Element> {
  await alice.omemo.greet(bob.jid.bare);
  const message = alice.sent.at(-1);
  if (message === undefined) throw new Error('nothing was sent');
  return xml(
    'message',
    { ...message.attrs, xmlns: 'jabber:client', from: alice.jid.toString() },
    ...message.getChildElements(),
  );
}

const copy = (message: Element, direction = 'received') =>
  xml(
    'message',
    {},
    xml(
      direction,
      { xmlns: 'urn:xmpp:carbons:2' },
      xml('forwarded', { xmlns: 'urn:xmpp:forward:0' }, message),
    ),
  );

test('a message to our account is heard by its copy, and answered', async () => {
  world.inject(bob.jid, copy(await toAccount()), bob.jid.bare);
  await settle();
  expect(bob.sent.map((message) => message.attrs['to'])).toEqual([alice.jid.toString()]);
});

test('a copy of what we sent, or of anybody but our own account, is not heard', async () => {
  const message = await toAccount();
  world.inject(bob.jid, copy(message, 'sent'), bob.jid.bare);
  for (const from of ['mallory@b.example/m', 'b.example', 'bob@b.example/jet'])
    world.inject(bob.jid, copy(message), jid(from));
  await settle();
  expect(bob.sent).toEqual([]);
});

test('whom we do not deal with is heard, and learns nothing of it', async () => {
  world.audience = () => false;
  const message = await toAccount();
  world.inject(bob.jid, copy(message), bob.jid.bare);
  await settle();
  expect(bob.sent).toEqual([]);
  // It was heard: the answer that is owed goes out with the next occasion.
  await bob.omemo.acknowledge(alice.jid);
  expect(bob.sent).toHaveLength(1);
});
