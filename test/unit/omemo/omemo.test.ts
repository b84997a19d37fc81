import { createDecipheriv, randomBytes } from 'node:crypto';
import { type Element, xml } from '../../../src/xmpp/xml.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TransportSecret } from '../../../src/jet/envelope.ts';
import { writeBundle } from '../../../src/omemo/bundle.ts';
import { generateKeyPair, LEGACY, signPreKey } from '../../../src/omemo/crypto/index.ts';
import { editDeviceList, parseDeviceList } from '../../../src/omemo/devicelist.ts';
import { readEncrypted, writeEncrypted } from '../../../src/omemo/header.ts';
import { bundleNode, NODE_DEVICES, NS_OMEMO } from '../../../src/omemo/names.ts';
import type { Store } from '../../../src/store/store.ts';
import { jid, type Party, World } from '../../support/omemo-world.ts';

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => {
  world.close();
});

const fresh = (): TransportSecret => ({ key: randomBytes(16), iv: randomBytes(12) });

async function pair(): Promise<[Party, Party]> {
  const alice = world.party('alice@a.example/jet');
  const bob = world.party('bob@b.example/jet');
  await alice.omemo.ensureDevice();
  await bob.omemo.ensureDevice();
  return [alice, bob];
}

async function carry(from: Party, to: Party, secret = fresh()) {
  const envelope = await from.omemo.envelope().seal(secret, to.jid);
  const opened = await to.omemo.envelope().open(envelope, from.jid, 16);
  expect(opened.secret).toEqual(secret);
  return { envelope, opened };
}

/** A device that a server made up for an account. */
function forgeDevice(account: string, id: number): string {
  const identity = generateKeyPair();
  const signed = generateKeyPair();
  const bundle = {
    identityKey: identity.pub,
    signedPreKeyId: 1,
    signedPreKey: signed.pub,
    signature: signPreKey(LEGACY, identity.priv, signed.pub),
    preKeys: [{ id: 1, key: generateKeyPair().pub }],
  };
  world.set(account, bundleNode(id), writeBundle(bundle));
  world.set(account, NODE_DEVICES, editDeviceList(world.get(account, NODE_DEVICES), { add: id }));
  return identity.pub.toString('hex');
}

const rids = (envelope: ReturnType<typeof xml>) =>
  envelope
    .getChild('header')
    ?.getChildren('key')
    .map((key) => Number(key.attrs['rid']));

describe('JET-OMEMO between two accounts', () => {
  it('carries secrets both ways, pinning and saying so once', async () => {
    const [alice, bob] = await pair();
    const { opened } = await carry(alice, bob);
    expect(opened.sender.identityKey).toEqual(alice.omemo.device?.identity.pub);
    expect(opened.sender.device).toBe(alice.omemo.device?.id);
    for (let i = 0; i < 5; i++) {
      await carry(bob, alice);
      await carry(alice, bob);
    }
    for (const [own, peer] of [
      [alice, bob],
      [bob, alice],
    ] as const) {
      const fingerprint = peer.omemo.device?.fingerprint;
      expect(own.said.map(({ event }) => event)).toEqual(['device-made', 'pinned']);
      expect(own.said[1]).toMatchObject({ by: 'first-contact', fingerprint });
    }
  });

  it('survives first contacts that cross', async () => {
    const [alice, bob] = await pair();
    const [one, two] = [fresh(), fresh()];
    const toBob = await alice.omemo.envelope().seal(one, bob.jid);
    const toAlice = await bob.omemo.envelope().seal(two, alice.jid);
    expect((await bob.omemo.envelope().open(toBob, alice.jid, 16)).secret).toEqual(one);
    expect((await alice.omemo.envelope().open(toAlice, bob.jid, 16)).secret).toEqual(two);
    for (let i = 0; i < 4; i++) {
      await carry(alice, bob);
      await carry(bob, alice);
    }
  });

  it('refuses a repeated envelope', async () => {
    const [alice, bob] = await pair();
    const { envelope } = await carry(alice, bob);
    const again = bob.omemo.envelope().open(envelope, alice.jid, 16);
    await expect(again).rejects.toMatchObject({ reason: 'replayed' });
  });

  it('refuses a repeated envelope of a session, also of one that came late', async () => {
    const [alice, bob] = await pair();
    await carry(alice, bob);
    await carry(bob, alice);
    const open = (envelope: Element) => bob.omemo.envelope().open(envelope, alice.jid, 16);
    const seal = () => alice.omemo.envelope().seal(fresh(), bob.jid);
    const [late, next] = [await seal(), await seal()];
    for (const envelope of [next, late]) {
      const keys = envelope.getChild('header')?.getChildren('key') ?? [];
      expect(keys.map(({ attrs }) => attrs['prekey'])).toEqual([undefined]);
      await open(envelope);
      await expect(open(envelope)).rejects.toMatchObject({ reason: 'replayed' });
    }
    for (const envelope of [next, late])
      await expect(open(envelope)).rejects.toMatchObject({ reason: 'replayed' });
  });

  it('refuses a replayed key exchange even after its session is gone', async () => {
    const [alice, bob] = await pair();
    const { envelope } = await carry(alice, bob);
    bob.store.run('DELETE FROM omemo_session');
    const again = bob.omemo.envelope().open(envelope, alice.jid, 16);
    await expect(again).rejects.toMatchObject({ reason: 'replayed' });
  });

  it('refuses a key exchange whose prekey another process uses up at the same moment', async () => {
    const [alice, bob] = await pair();
    const { store } = bob;
    const racing: Store = {
      file: store.file,
      all: (sql, ...params) => store.all(sql, ...params),
      get: (sql, ...params) => store.get(sql, ...params),
      run: (sql, ...params) => {
        // The other one was quicker, by a step.
        if (/^DELETE FROM omemo_prekey/.test(sql)) store.run(sql, ...params);
        return store.run(sql, ...params);
      },
      transaction: (body) => store.transaction(body),
      snapshot: (body) => store.snapshot(body),
      lightly: (body) => store.lightly(body),
      close: () => undefined,
    };
    const second = world.party('bob@b.example/second', { store: racing });
    const envelope = await alice.omemo.envelope().seal(fresh(), bob.jid);
    await expect(second.omemo.envelope().open(envelope, alice.jid, 16)).rejects.toMatchObject({
      reason: 'replayed',
    });
    expect(store.all('SELECT key FROM omemo_session')).toEqual([]);
  });

  it('refuses an envelope under another sender, for another device, or tampered with', async () => {
    const [alice, bob] = await pair();
    const mallory = world.party('mallory@m.example/jet');
    await mallory.omemo.ensureDevice();
    const envelope = await alice.omemo.envelope().seal(fresh(), bob.jid);
    const open = (from: string) => bob.omemo.envelope().open(envelope, jid(from), 16);
    await expect(open('mallory@m.example')).rejects.toMatchObject({ reason: 'untrusted' });
    const elsewhere = mallory.omemo.envelope().open(envelope, alice.jid, 16);
    await expect(elsewhere).rejects.toMatchObject({ reason: 'not-for-us' });
    const sid = envelope.getChild('header');
    if (sid) sid.attrs['sid'] = '0';
    await expect(open('alice@a.example')).rejects.toMatchObject({ reason: 'malformed' });
  });

  it('has a payload whose plaintext nobody knows, and a tag for those who want one', async () => {
    const [alice, bob] = await pair();
    const secret = fresh();
    const tagging = world.party('carol@c.example/jet', { wantsTag: () => true });
    await tagging.omemo.ensureDevice();
    const { envelope } = await carry(tagging, bob, secret);
    const payload = Buffer.from(envelope.getChildText('payload') ?? '', 'base64');
    const plain = createDecipheriv('aes-128-gcm', secret.key, secret.iv, { authTagLength: 16 });
    expect(plain.update(payload)).toHaveLength(16);
    expect(envelope.children.map((child) => (typeof child === 'string' ? '' : child.name))).toEqual(
      ['header', 'payload'],
    );
    expect(envelope.getChild('header')?.getChildElements().at(-1)?.name).toBe('iv');
    await carry(alice, bob);
  });

  it('keeps six sessions a device and promotes the one that decrypts', async () => {
    const [alice, bob] = await pair();
    await carry(alice, bob);
    await carry(bob, alice);
    for (let i = 0; i < 3; i++) expect(await alice.omemo.renew(bob.jid)).toBe(true);
    expect(await alice.omemo.renew(bob.jid)).toBe(false);
    const count = (party: Party) => party.store.all('SELECT key FROM omemo_session').length;
    expect(count(alice)).toBe(4);
    // Bob still answers in the first one: it becomes Alice's active one again.
    await carry(bob, alice);
    const { envelope } = await carry(alice, bob);
    expect(envelope.getChild('header')?.getChild('key')?.attrs['prekey']).toBeUndefined();
    expect(count(bob)).toBe(1);
  });

  it('never runs out of one-time prekeys', async () => {
    const [, bob] = await pair();
    for (let i = 0; i < 12; i++) {
      const peer = world.party(`peer${i}@p.example/jet`);
      await peer.omemo.ensureDevice();
      await carry(peer, bob);
      await bob.omemo.ensureDevice();
    }
    expect(bob.store.all('SELECT id FROM omemo_prekey')).toHaveLength(100);
    const id = bob.omemo.device?.id ?? 0;
    const published = world
      .get('bob@b.example', bundleNode(id))
      ?.getChild('prekeys')
      ?.getChildren('preKeyPublic')
      .map((key) => Number(key.attrs['preKeyId']));
    const kept = bob.store.all('SELECT id FROM omemo_prekey ORDER BY id').map((row) => row['id']);
    expect(published).toEqual(kept);
    expect(Math.max(...(published ?? []))).toBe(112);
  });

  it('opens a session by an empty message, and the answer confirms it', async () => {
    const [alice, bob] = await pair();
    await carry(bob, alice);
    alice.store.run('DELETE FROM omemo_session');
    await alice.omemo.greet(bob.jid);
    const [greeting] = alice.sent;
    expect(greeting?.getChild('no-store', 'urn:xmpp:hints')).toBeDefined();
    expect(greeting?.getChild('encrypted', NS_OMEMO)?.getChild('payload')).toBeUndefined();
    await new Promise((resolve) => setImmediate(resolve));
    expect(bob.sent).toHaveLength(1);
    const { envelope } = await carry(alice, bob);
    expect(envelope.getChild('header')?.getChild('key')?.attrs['prekey']).toBeUndefined();
  });

  it('opens a session by a message that nobody can read, for who looks at none without a payload', async () => {
    const [alice, bob] = await pair();
    await carry(bob, alice);
    alice.store.run('DELETE FROM omemo_session');
    expect(alice.omemo.hasSessions(bob.jid)).toBe(false);
    expect(await alice.omemo.greet(bob.jid, 'unreadable')).toBe(true);
    expect(alice.omemo.hasSessions(bob.jid)).toBe(true);
    const [greeting] = alice.sent;
    expect(greeting?.getChildText('body')).toBeNull();
    expect(greeting?.getChild('private', 'urn:xmpp:carbons:2')).toBeDefined();
    const encrypted = greeting?.getChild('encrypted', NS_OMEMO);
    const header = encrypted && readEncrypted(encrypted, bob.omemo.device?.id ?? 0);
    if (typeof header !== 'object') throw new Error('no message');
    // What a client does that reads it: the key has its tag behind it, and the tag fits nothing.
    const envelope = writeEncrypted(header.sender, [header.entry], header.iv ?? Buffer.alloc(0));
    const again = world.party('bob@b.example/again', { store: bob.store });
    await expect(again.omemo.envelope().open(envelope, alice.jid, 16)).rejects.toMatchObject({
      reason: 'replayed',
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(bob.sent).toHaveLength(1);
    expect(await alice.omemo.greet(bob.jid, 'unreadable')).toBe(false);
  });

  it('has no session with a stranger, nor after one of several devices came without one', async () => {
    const [alice, bob] = await pair();
    expect(alice.omemo.hasSessions(bob.jid)).toBe(false);
    await carry(alice, bob);
    expect(alice.omemo.hasSessions(bob.jid)).toBe(true);
    alice.omemo.trust(bob.jid, generateKeyPair().pub.toString('hex'));
    expect(alice.omemo.hasSessions(bob.jid)).toBe(false);
  });

  it('takes an envelope far ahead, and no number of forged ones before turns it away', async () => {
    const [alice, bob] = await pair();
    await carry(alice, bob);
    await carry(bob, alice);
    for (let i = 0; i < 60; i++) await alice.omemo.greet(jid('bob@b.example/gone'));
    const envelope = await alice.omemo.envelope().seal(fresh(), bob.jid);
    const key = envelope.getChild('header')?.getChild('key');
    const genuine = key?.getText() ?? '';
    const forged = Buffer.from(genuine, 'base64');
    forged.writeUInt8(forged.readUInt8(forged.length - 1) ^ 1, forged.length - 1);
    if (!key) throw new Error('no key');
    for (let i = 0; i < 30; i++) {
      key.children = [forged.toString('base64')];
      await expect(bob.omemo.envelope().open(envelope, alice.jid, 16)).rejects.toMatchObject({
        reason: 'undecryptable',
      });
    }
    key.children = [genuine];
    expect((await bob.omemo.envelope().open(envelope, alice.jid, 16)).sender.jid).toEqual(
      alice.jid.bare,
    );
    // The long chain is answered by an empty message, which turns the ratchet.
    await bob.omemo.acknowledge(alice.jid);
    expect(bob.sent).toHaveLength(1);
    await bob.omemo.acknowledge(alice.jid);
    expect(bob.sent).toHaveLength(1);
  });

  it('answers no message of a stranger', async () => {
    const [alice, bob] = await pair();
    await alice.omemo.greet(bob.jid);
    expect(bob.sent).toHaveLength(0);
    expect(bob.omemo.devices()).toEqual([]);
  });
});

describe('a hostile server that publishes a device of its own', () => {
  it('gets nothing: nothing is encrypted to it, nothing taken from it', async () => {
    const [alice, bob] = await pair();
    await carry(alice, bob);
    const forged = forgeDevice('bob@b.example', 666);
    const { envelope } = await carry(alice, bob);
    expect(rids(envelope)).toEqual([bob.omemo.device?.id]);
    expect(alice.said.at(-1)).toMatchObject({
      event: 'refused',
      why: 'not-pinned',
      fingerprint: forged,
    });
    // A real device under the server's control knocks at Alice's door as Bob.
    const evil = world.party('bob@b.example/evil');
    await evil.omemo.ensureDevice();
    const knock = await evil.omemo.envelope().seal(fresh(), alice.jid);
    await expect(alice.omemo.envelope().open(knock, bob.jid, 16)).rejects.toMatchObject({
      reason: 'untrusted',
    });
  });

  it('cannot put another key under a known device id; the known one keeps working', async () => {
    const [alice, bob] = await pair();
    await carry(alice, bob);
    alice.store.run('DELETE FROM omemo_session');
    const id = bob.omemo.device?.id ?? 0;
    const real = world.get('bob@b.example', bundleNode(id));
    forgeDevice('bob@b.example', id);
    const sealed = alice.omemo.envelope().seal(fresh(), bob.jid);
    await expect(sealed).rejects.toMatchObject({ code: 'untrusted', exit: 6 });
    expect(alice.said.at(-1)).toMatchObject({ event: 'refused', why: 'other-key' });
    if (real) world.set('bob@b.example', bundleNode(id), real);
    await carry(alice, bob);
  });

  it.each([
    ['the bundle', 'bundle'],
    ['a key exchange in an envelope', 'envelope'],
    ['a key exchange in a chat message', 'message'],
  ] as const)(
    'is not even asked about when %s shows another key under a known device id',
    async (_, where) => {
      const [, bob] = await pair();
      const asked: number[] = [];
      const alice = world.party('alice@a.example/other', {
        askTrust: ({ device }) => {
          asked.push(device);
          return Promise.resolve(true);
        },
      });
      await alice.omemo.ensureDevice();
      await carry(alice, bob);
      await carry(bob, alice);
      const id = bob.omemo.device?.id ?? 0;
      const real = world.get('bob@b.example', bundleNode(id));
      const list = world.get('bob@b.example', NODE_DEVICES);
      const rows = () => alice.store.all('SELECT key FROM omemo_session').length;
      const before = rows();
      let forged: string | undefined;
      if (where === 'bundle') {
        forged = forgeDevice('bob@b.example', id);
        // A new session is wanted, so the bundle is read though there is one.
        expect(await alice.omemo.renew(bob.jid)).toBe(false);
      } else {
        const evil = world.party('bob@b.example/evil');
        forged = (await evil.omemo.ensureDevice()).fingerprint;
        evil.store.run('UPDATE omemo_device SET id = ?', id);
        if (list) world.set('bob@b.example', NODE_DEVICES, list);
        if (where === 'envelope') {
          const knock = await evil.omemo.envelope().seal(fresh(), alice.jid);
          const opened = alice.omemo.envelope().open(knock, bob.jid, 16);
          await expect(opened).rejects.toMatchObject({ reason: 'untrusted' });
        } else {
          await evil.omemo.greet(alice.jid);
        }
      }
      expect(asked).toEqual([]);
      expect(rows()).toBe(before);
      const refused = { event: 'refused', why: 'other-key', device: id, fingerprint: forged };
      // Chat is heard in silence.
      if (where === 'message') expect(alice.said.at(-1)).not.toMatchObject({ event: 'refused' });
      else expect(alice.said.at(-1)).toMatchObject(refused);
      expect(alice.omemo.devices(bob.jid).map((pin) => pin.fingerprint)).toEqual([
        bob.omemo.device?.fingerprint,
      ]);
      if (real) world.set('bob@b.example', bundleNode(id), real);
      await carry(bob, alice);
      await carry(alice, bob);
    },
  );

  it('gets nothing at first contact either when the fingerprint came with the address', async () => {
    const [alice, bob] = await pair();
    forgeDevice('bob@b.example', 666);
    alice.omemo.trust(bob.jid, bob.omemo.device?.fingerprint ?? '', bob.omemo.device?.id);
    const { envelope } = await carry(alice, bob);
    expect(rids(envelope)).toEqual([bob.omemo.device?.id]);
  });

  it('is asked about at a terminal', async () => {
    const [, bob] = await pair();
    const asked: number[] = [];
    const carol = world.party('carol@c.example/jet', {
      askTrust: ({ device }) => {
        asked.push(device);
        return Promise.resolve(device === 7);
      },
    });
    await carol.omemo.ensureDevice();
    await carry(carol, bob);
    forgeDevice('bob@b.example', 7);
    forgeDevice('bob@b.example', 8);
    const envelope = await carol.omemo.envelope().seal(fresh(), bob.jid);
    expect(rids(envelope)).toEqual([bob.omemo.device?.id, 7]);
    expect(asked).toEqual([7, 8]);
  });

  it('does not reach a distrusted key', async () => {
    const [alice, bob] = await pair();
    await carry(alice, bob);
    alice.omemo.distrust(bob.jid, bob.omemo.device?.fingerprint ?? '');
    await expect(alice.omemo.envelope().seal(fresh(), bob.jid)).rejects.toMatchObject({ exit: 6 });
    const knock = await bob.omemo.envelope().seal(fresh(), alice.jid);
    await expect(alice.omemo.envelope().open(knock, bob.jid, 16)).rejects.toMatchObject({
      reason: 'untrusted',
    });
  });

  it('with --verified-only nothing is pinned at first contact', async () => {
    const [, bob] = await pair();
    const carol = world.party('carol@c.example/jet', { verifiedOnly: true });
    await carol.omemo.ensureDevice();
    await expect(carol.omemo.envelope().seal(fresh(), bob.jid)).rejects.toMatchObject({ exit: 6 });
    expect(carol.omemo.devices()).toEqual([]);
    carol.omemo.trust(bob.jid, bob.omemo.device?.fingerprint ?? '');
    await carry(carol, bob);
  });
});

describe('our own device', () => {
  it('keeps the entries of others and leaves the list at logout', async () => {
    const foreign = xml(
      'list',
      { xmlns: NS_OMEMO },
      xml('device', { id: '5', label: 'phone' }),
      xml('device', { id: 'x' }),
      xml('other', { xmlns: 'urn:other' }),
    );
    world.set('alice@a.example', NODE_DEVICES, foreign);
    const alice = world.party('alice@a.example/jet');
    const { id } = await alice.omemo.ensureDevice();
    const list = world.get('alice@a.example', NODE_DEVICES);
    expect(parseDeviceList(list)).toEqual([5, id]);
    expect(list?.children).toHaveLength(4);
    await alice.omemo.removeOwnDevice();
    expect(parseDeviceList(world.get('alice@a.example', NODE_DEVICES))).toEqual([5]);
    expect(world.get('alice@a.example', bundleNode(id))).toBeUndefined();
    expect(alice.omemo.device).toBeUndefined();
  });

  it('is made once by parallel first runs', async () => {
    const first = world.party('alice@a.example/1');
    const others = Array.from({ length: 9 }, (_, i) =>
      world.party(`alice@a.example/${i + 2}`, { store: first.store }),
    );
    const devices = await Promise.all([first, ...others].map((p) => p.omemo.ensureDevice()));
    expect(new Set(devices.map(({ id }) => id)).size).toBe(1);
    const made = [first, ...others].flatMap((p) => p.said);
    expect(made.filter(({ event }) => event === 'device-made')).toHaveLength(1);
    expect(parseDeviceList(world.get('alice@a.example', NODE_DEVICES))).toHaveLength(1);
  });
});
