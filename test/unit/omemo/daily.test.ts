/** OMEMO beside chat: chains far ahead, forged headers, archived sessions, prekeys that come and go. */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readBundle, writeBundle } from '../../../src/omemo/bundle.ts';
import {
  generateKeyPair,
  LEGACY,
  restoreSession,
  serialiseSession,
} from '../../../src/omemo/crypto/index.ts';
import { nextChainKey } from '../../../src/omemo/crypto/kdf.ts';
import { encodeBody, encodeMessage } from '../../../src/omemo/crypto/message.ts';
import { editDeviceList } from '../../../src/omemo/devicelist.ts';
import { writeEncrypted } from '../../../src/omemo/header.ts';
import { bundleNode, NODE_DEVICES, NS_OMEMO } from '../../../src/omemo/names.ts';
import { type Element, xml } from '../../../src/xmpp/xml.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import {
  carry,
  freshSecret,
  isKeyExchange,
  jid,
  type Party,
  receive,
  World,
} from '../../support/omemo-world.ts';
import { hasPython, startPeer } from '../../support/python-peer.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
let world: World;
let clock: FakeClock;
let alice: Party;
let bob: Party;
beforeEach(async () => {
  world = new World();
  clock = new FakeClock();
  alice = world.party('alice@a.example/jet', { clock });
  bob = world.party('bob@b.example/jet', { clock });
  await alice.omemo.ensureDevice();
  await bob.omemo.ensureDevice();
});
afterEach(() => {
  world.close();
});

/** Both have sent something: a session that is confirmed, and no chain older than a message. */
async function meet(): Promise<void> {
  await carry(alice, bob);
  await carry(bob, alice);
  await carry(alice, bob);
}

/** So many chat messages of alice's go to bob's other devices only. */
function chat(count: number): void {
  const row = alice.store.get('SELECT key, state FROM omemo_session ORDER BY rank DESC LIMIT 1');
  const state = restoreSession(row?.['state'] as Buffer);
  const { sending } = state.ratchet;
  if (!sending) throw new Error('no sending chain');
  let { chainKey } = sending;
  for (let i = 0; i < count; i++) chainKey = nextChainKey(chainKey);
  const ratchet = { ...state.ratchet, sending: { chainKey, n: sending.n + count } };
  const sql = 'UPDATE omemo_session SET state = ? WHERE key = ?';
  alice.store.run(sql, serialiseSession({ ...state, ratchet }), Number(row?.['key']));
}

/** A message of alice's that is not authentic: on the chain that bob knows, or on one that nobody does. */
function forged(n: number, chain: 'known' | 'new'): Element {
  const row = bob.store.get('SELECT state FROM omemo_session ORDER BY rank DESC LIMIT 1');
  const known = restoreSession(row?.['state'] as Buffer).ratchet.receiving.at(-1)?.ratchetKey;
  const ratchetKey = chain === 'known' ? known : generateKeyPair().pub;
  if (!ratchetKey) throw new Error('no receiving chain');
  const body = encodeBody(LEGACY, { ratchetKey, n, pn: 0 }, randomBytes(32));
  const message = encodeMessage(LEGACY, body, randomBytes(8));
  const entry = { device: bob.omemo.device?.id ?? 0, message, isKeyExchange: false };
  return writeEncrypted(alice.omemo.device?.id ?? 0, [entry], randomBytes(12), randomBytes(16));
}

/** Steps that bob went for messages that were not authentic, in this hour. */
const wasted = () =>
  Number(
    bob.store.get("SELECT used FROM omemo_allowance WHERE subject LIKE 'wasted %'")?.['used'] ?? 0,
  );

const opens = (envelope: Element) => bob.omemo.envelope().open(envelope, alice.jid, 16);
const undecryptable = { reason: 'undecryptable' };

describe('a contact who chats with the other devices of the user', () => {
  it.skipIf(!hasPython)(
    'is understood after 5,000 messages of an independent implementation',
    async () => {
      const peer = startPeer();
      await peer.ask({ do: 'new', profile: 'legacy' });
      const theirs = await peer.ask({ do: 'bundle' });
      const un64 = (text: string) => Buffer.from(text, 'base64');
      const bundle = {
        identityKey: un64(theirs.identityKey),
        signedPreKeyId: theirs.signedPreKeyId,
        signedPreKey: un64(theirs.signedPreKey),
        signature: un64(theirs.signature),
        preKeys: theirs.preKeys.map(({ id, key }) => ({ id, key: un64(key) })),
      };
      const python = jid('peer@example.org/client');
      const account = python.bare.toString();
      world.set(account, bundleNode(9), writeBundle(bundle));
      world.set(account, NODE_DEVICES, editDeviceList(undefined, { add: 9 }));
      const own = bob.omemo.device?.id ?? 0;
      const ours = readBundle(world.get('bob@b.example', bundleNode(own)));
      if (!ours) throw new Error('no bundle');
      await peer.ask({
        do: 'learn',
        identityKey: ours.identityKey.toString('base64'),
        signedPreKeyId: ours.signedPreKeyId,
        signedPreKey: ours.signedPreKey.toString('base64'),
        signature: ours.signature.toString('base64'),
        preKeys: ours.preKeys.map(({ id, key }) => ({ id, key: key.toString('base64') })),
      });
      const take = async (count: number) => {
        const secret = freshSecret();
        const data = Buffer.concat([secret.key, randomBytes(16)]).toString('base64');
        await peer.ask({ do: 'burst', count: count - 1, data: randomBytes(32).toString('base64') });
        const { message, isKeyExchange: first } = await peer.ask({ do: 'encrypt', data });
        const entry = { device: own, message: un64(message), isKeyExchange: first };
        const envelope = writeEncrypted(9, [entry], secret.iv, randomBytes(16));
        await receive(bob, envelope, python, secret);
      };
      await take(2);
      // The empty message that is owed confirms the session and turns the ratchet.
      await bob.omemo.acknowledge(python);
      const reply = bob.sent.at(-1)?.getChild('encrypted', NS_OMEMO)?.getChild('header');
      const key = reply?.getChild('key');
      await peer.ask({ do: 'decrypt', message: key?.getText(), isKeyExchange: false });
      await take(5000);
      await take(5000);
      peer.stop();
    },
    300_000,
  );

  it('is understood 9,000 steps ahead always, and 90,000 ahead within the allowance of the hour', async () => {
    await meet();
    for (let i = 0; i < 5; i++) {
      chat(90_000);
      await carry(alice, bob);
    }
    // What is owed for so long a chain turns the ratchet; both sides go on in a new one.
    await carry(bob, alice);
    await carry(alice, bob);
    bob.store.run("UPDATE omemo_allowance SET used = 500000 WHERE subject LIKE 'advance %'");
    for (let i = 0; i < 3; i++) {
      chat(9000);
      await carry(alice, bob);
    }
    chat(90_000);
    const late = freshSecret();
    const envelope = await alice.omemo.envelope().seal(late, bob.jid);
    await expect(opens(envelope)).rejects.toMatchObject(undecryptable);
    await clock.advance(HOUR);
    await receive(bob, envelope, alice.jid, late);
    chat(100_001);
    await expect(carry(alice, bob)).rejects.toMatchObject(undecryptable);
  }, 300_000);

  it('is understood whatever headers were forged before, and these cost the way but once', async () => {
    await meet();
    for (let i = 0; i < 20; i++) {
      await expect(opens(forged(99_000 - 7 * i, 'known'))).rejects.toMatchObject(undecryptable);
    }
    expect(wasted()).toBeLessThan(99_000 + 20 * 7000);
    // As if many more had come, on this chain and on new ones.
    bob.store.run("UPDATE omemo_allowance SET used = 2000000 WHERE subject LIKE 'wasted %'");
    chat(60_000);
    await carry(alice, bob);
  }, 300_000);

  it('costs no more the more sessions there are, when a header is forged on a new chain', async () => {
    await meet();
    for (let i = 0; i < 3; i++) {
      expect(await alice.omemo.renew(bob.jid)).toBe(true);
      await carry(alice, bob);
      await carry(bob, alice);
    }
    expect(bob.store.all('SELECT key FROM omemo_session')).toHaveLength(4);
    await expect(opens(forged(9000, 'new'))).rejects.toMatchObject(undecryptable);
    expect(wasted()).toBe(9000);
    // The long way is gone for new chains only as far as forged ones have not used it up.
    await expect(opens(forged(90_000, 'new'))).rejects.toMatchObject(undecryptable);
    expect(wasted()).toBe(99_000);
    bob.store.run("UPDATE omemo_allowance SET used = 2000000 WHERE subject LIKE 'wasted %'");
    await expect(opens(forged(90_000, 'new'))).rejects.toMatchObject(undecryptable);
    expect(wasted()).toBe(2_000_000);
  }, 300_000);
});

describe('empty messages', () => {
  it('turn the ratchet after 53 messages, once, to the full address, kept by no server', async () => {
    await meet();
    world.deaf.add(alice.jid.toString());
    const hears = async (count: number) => {
      for (let i = 0; i < count; i++) await alice.omemo.greet(bob.jid);
      await settle(40);
    };
    const before = bob.sent.length;
    await hears(51);
    expect(bob.sent).toHaveLength(before);
    await hears(3);
    const reply = bob.sent.at(-1);
    expect(reply?.attrs['to']).toBe(alice.jid.toString());
    expect(reply?.getChild('no-store', 'urn:xmpp:hints')).toBeDefined();
    expect(reply?.getChild('encrypted', NS_OMEMO)?.getChild('payload')).toBeUndefined();
    // Alice does not hear it: she is told again at 106, not each time.
    await hears(50);
    expect(bob.sent).toHaveLength(before + 1);
    await hears(3);
    expect(bob.sent).toHaveLength(before + 2);
    world.deaf.clear();
    await hears(106);
    expect(bob.sent.length).toBeLessThanOrEqual(before + 5);
    await carry(alice, bob);
  });

  it('never answer a message that does not decrypt', async () => {
    await meet();
    // An answer is owed from before.
    bob.store.run('UPDATE omemo_session SET reply_due = 1');
    const before = bob.sent.length;
    for (const chain of ['known', 'new'] as const)
      world.inject(bob.jid, xml('message', { type: 'chat' }, forged(3, chain)), alice.jid);
    await settle(40);
    expect(bob.sent).toHaveLength(before);
    await alice.omemo.greet(bob.jid);
    await settle(40);
    expect(bob.sent).toHaveLength(before + 1);

    bob.store.run('DELETE FROM omemo_session');
    await alice.omemo.greet(bob.jid);
    await settle(40);
    expect(bob.sent).toHaveLength(before + 1);
  });
});

describe('several sessions with one device', () => {
  it('keep their counters when they are archived, and when they are used again', async () => {
    await meet();
    const old = freshSecret();
    const [first, second] = [
      await alice.omemo.envelope().seal(old, bob.jid),
      await alice.omemo.envelope().seal(old, bob.jid),
    ];
    await receive(bob, first, alice.jid, old);
    await alice.omemo.renew(bob.jid);
    expect(isKeyExchange(await carry(alice, bob))).toBe(true);
    await expect(opens(first)).rejects.toMatchObject({ reason: 'replayed' });
    await receive(bob, second, alice.jid, old);
    await expect(opens(first)).rejects.toMatchObject({ reason: 'replayed' });
    await expect(opens(second)).rejects.toMatchObject({ reason: 'replayed' });
    // The one that decrypted is the one that answers.
    expect(isKeyExchange(await carry(bob, alice))).toBe(false);
    await carry(alice, bob);
  });

  it('are each understood far ahead, also one that is archived', async () => {
    await meet();
    expect(await alice.omemo.renew(bob.jid)).toBe(true);
    await carry(alice, bob);
    await carry(bob, alice);
    // Alice goes on with the older one, which bob has archived.
    alice.store.run(
      'UPDATE omemo_session SET rank = rank + 99 WHERE key = (SELECT min(key) FROM omemo_session)',
    );
    chat(9000);
    expect(isKeyExchange(await carry(alice, bob))).toBe(false);
  });

  it('are begun anew three times an hour for a device, whatever process asks', async () => {
    await meet();
    const second = world.party('alice@a.example/second', { clock, store: alice.store });
    expect(await alice.omemo.renew(bob.jid)).toBe(true);
    expect(await second.omemo.renew(bob.jid)).toBe(true);
    expect(await alice.omemo.renew(bob.jid)).toBe(true);
    expect(await second.omemo.renew(bob.jid)).toBe(false);
    expect(await alice.omemo.renew(bob.jid)).toBe(false);
    await clock.advance(HOUR);
    expect(await alice.omemo.renew(bob.jid)).toBe(true);
    await carry(alice, bob);
  });
});

describe('prekeys', () => {
  it('a key exchange under a rotated signed prekey is taken for a month, then refused', async () => {
    const secrets = [freshSecret(), freshSecret()] as const;
    const envelopes: Element[] = [];
    for (const [index, secret] of secrets.entries()) {
      const other = world.party(`peer${index}@p.example/jet`, { clock });
      await other.omemo.ensureDevice();
      envelopes.push(await other.omemo.envelope().seal(secret, bob.jid));
    }
    const [soon, late] = envelopes;
    const before = readBundle(world.get('bob@b.example', bundleNode(bob.omemo.device?.id ?? 0)));
    await clock.advance(29 * DAY);
    await bob.omemo.ensureDevice();
    const after = readBundle(world.get('bob@b.example', bundleNode(bob.omemo.device?.id ?? 0)));
    expect(after?.signedPreKeyId).not.toBe(before?.signedPreKeyId);
    if (!soon || !late) throw new Error('no envelope');
    await receive(bob, soon, jid('peer0@p.example/jet'), secrets[0]);
    await clock.advance(9 * DAY);
    await bob.omemo.ensureDevice();
    const open = bob.omemo.envelope().open(late, jid('peer1@p.example/jet'), 16);
    await expect(open).rejects.toMatchObject({ reason: 'replayed' });
  });

  it('a used one is replaced on the server soon, without a new run', async () => {
    await carry(alice, bob);
    const ids = () =>
      readBundle(world.get('bob@b.example', bundleNode(bob.omemo.device?.id ?? 0)))?.preKeys.map(
        ({ id }) => id,
      );
    expect(ids()).not.toContain(101);
    await clock.advance(1000);
    expect(ids()).toContain(101);
    expect(ids()).toHaveLength(100);
  });
});
