/** Whom a key belongs to: addresses written with their keys, copied bundles, lists full of made-up devices. */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TransportSecret } from '../../../src/jet/envelope.ts';
import { writeBundle } from '../../../src/omemo/bundle.ts';
import { generateKeyPair, LEGACY, signPreKey } from '../../../src/omemo/crypto/index.ts';
import { describeEvent } from '../../../src/omemo/events.ts';
import { bundleNode, NODE_DEVICES, NS_OMEMO } from '../../../src/omemo/names.ts';
import type { PepPort } from '../../../src/omemo/pep-port.ts';
import type { WrittenKey } from '../../../src/omemo/uri.ts';
import { StanzaError } from '../../../src/xmpp/connection.ts';
import { type Element, xml } from '../../../src/xmpp/xml.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { jid, type Party, World } from '../../support/omemo-world.ts';

const BOB = 'bob@b.example';
const MALLORY = 'mallory@m.example';

let world: World;
let alice: Party;
let bob: Party;
beforeEach(async () => {
  world = new World();
  alice = await account('alice@a.example/jet');
  bob = await account(`${BOB}/jet`);
});
afterEach(() => {
  world.close();
});

async function account(
  address: string,
  options: Parameters<World['party']>[1] = {},
): Promise<Party> {
  const party = world.party(address, options);
  await party.omemo.ensureDevice();
  return party;
}

const fresh = (): TransportSecret => ({ key: randomBytes(16), iv: randomBytes(12) });
const seal = (from: Party, to: string) => from.omemo.envelope().seal(fresh(), jid(to));
const open = (to: Party, envelope: Element, from: string) =>
  to.omemo.envelope().open(envelope, jid(from), 16);

const rids = (envelope: Element) =>
  envelope
    .getChild('header')
    ?.getChildren('key')
    .map((key) => Number(key.attrs['rid']));

/** The one device of a party. */
function keyOf(party: Party): WrittenKey {
  const device = party.omemo.device;
  if (!device) throw new Error('no device');
  return { device: device.id, fingerprint: device.fingerprint };
}

/** A device with keys of its own that a server publishes; not on the list yet. */
function madeUp(of: string, id: number, preKey = generateKeyPair().pub): WrittenKey {
  const identity = generateKeyPair();
  const signed = generateKeyPair();
  const bundle = {
    identityKey: identity.pub,
    signedPreKeyId: 1,
    signedPreKey: signed.pub,
    signature: signPreKey(LEGACY, identity.priv, signed.pub),
    preKeys: [{ id: 1, key: preKey }],
  };
  world.set(of, bundleNode(id), writeBundle(bundle));
  return { device: id, fingerprint: identity.pub.toString('hex') };
}

function list(of: string, ids: readonly number[]): void {
  const devices = ids.map((id) => xml('device', { id }));
  world.set(of, NODE_DEVICES, xml('list', { xmlns: NS_OMEMO }, ...devices));
}

/** Publishes a copy of somebody's bundle as an own device. */
function copyBundle(of: Party, to: string, id: number): void {
  const bundle = world.get(of.jid.bare.toString(), bundleNode(keyOf(of).device));
  if (!bundle) throw new Error('no bundle');
  world.set(to, bundleNode(id), bundle);
  list(to, [id]);
}

const said = (party: Party, event: string) => party.said.filter((each) => each.event === event);

describe('an address written with its fingerprint', () => {
  it('leaves no first contact to a server that lies', async () => {
    const evil = madeUp(BOB, 7);
    list(BOB, [7, keyOf(bob).device]);
    alice.omemo.pinWritten(bob.jid, [keyOf(bob)]);
    expect(rids(await seal(alice, BOB))).toEqual([keyOf(bob).device]);
    expect(alice.omemo.devices(bob.jid)).toMatchObject([{ ...keyOf(bob), state: 'verified' }]);
    expect(said(alice, 'pinned')).toMatchObject([{ ...keyOf(bob), by: 'address', verified: true }]);
    expect(said(alice, 'refused')).toMatchObject([{ ...evil, why: 'not-pinned' }]);
  });

  it('is not asked about beyond what was written', async () => {
    let asked = 0;
    const carol = await account('carol@c.example/jet', {
      askTrust: () => {
        asked++;
        return Promise.resolve(true);
      },
    });
    madeUp(BOB, 7);
    list(BOB, [7, keyOf(bob).device]);
    carol.omemo.pinWritten(bob.jid, [keyOf(bob)]);
    expect(rids(await seal(carol, BOB))).toEqual([keyOf(bob).device]);
    expect(asked).toBe(0);
  });

  it('adds to what was pinned before, and says only what changes', async () => {
    await seal(alice, BOB);
    const second = madeUp(BOB, 7);
    list(BOB, [keyOf(bob).device, 7]);
    alice.omemo.pinWritten(bob.jid, [second]);
    expect(rids(await seal(alice, BOB))?.sort()).toEqual([7, keyOf(bob).device].sort());
    const before = alice.said.length;
    alice.omemo.pinWritten(bob.jid, [second]);
    expect(alice.said).toHaveLength(before);
    alice.omemo.pinWritten(bob.jid, [second, keyOf(bob)]);
    expect(alice.said.slice(before)).toMatchObject([{ event: 'pinned', ...keyOf(bob) }]);
  });

  it('holds for what is taken, too', async () => {
    alice.omemo.pinWritten(bob.jid, [keyOf(bob)]);
    const evil = await account(`${BOB}/evil`);
    const knock = await seal(evil, 'alice@a.example');
    await expect(open(alice, knock, BOB)).rejects.toMatchObject({ reason: 'untrusted' });
    await open(alice, await seal(bob, 'alice@a.example'), BOB);
  });

  it('satisfies --verified-only', async () => {
    const carol = await account('carol@c.example/jet', { verifiedOnly: true });
    carol.omemo.pinWritten(bob.jid, [keyOf(bob)]);
    expect(rids(await seal(carol, BOB))).toEqual([keyOf(bob).device]);
  });

  it.each<[string, (key: WrittenKey) => WrittenKey, string]>([
    ['a key that was distrusted', (key) => key, 'distrusted-key'],
    [
      'another key for a known device',
      (key) => ({ ...key, fingerprint: 'ab'.repeat(32) }),
      'other-key',
    ],
  ])('is refused with %s, and nothing of it is pinned', async (_what, change, code) => {
    await seal(alice, BOB);
    if (code === 'distrusted-key') alice.omemo.distrust(bob.jid, keyOf(bob).fingerprint);
    const before = alice.omemo.devices();
    const good = { device: 5, fingerprint: 'cd'.repeat(32) };
    const keys = [good, change(keyOf(bob))];
    expect(() => alice.omemo.pinWritten(bob.jid, keys)).toThrow(
      expect.objectContaining({ exit: 6, code }),
    );
    expect(alice.omemo.devices()).toEqual(before);
  });

  it('is refused with a key that is bound to another address', async () => {
    alice.omemo.trust(jid(MALLORY), keyOf(bob).fingerprint);
    expect(() => alice.omemo.pinWritten(bob.jid, [keyOf(bob)])).toThrow(
      expect.objectContaining({ exit: 6, code: 'key-of-another' }),
    );
    expect(alice.omemo.devices(bob.jid)).toEqual([]);
    // What the error tells to do helps.
    alice.omemo.distrust(jid(MALLORY), keyOf(bob).fingerprint);
    alice.omemo.pinWritten(bob.jid, [keyOf(bob)]);
    expect(rids(await seal(alice, BOB))).toEqual([keyOf(bob).device]);
  });
});

describe('a bundle that somebody copied', () => {
  it('is refused under a second address, and the first keeps working', async () => {
    await open(alice, await seal(bob, 'alice@a.example'), BOB);
    copyBundle(bob, MALLORY, 9);
    await expect(seal(alice, MALLORY)).rejects.toMatchObject({ exit: 6 });
    expect(said(alice, 'refused')).toMatchObject([
      { jid: MALLORY, device: 9, why: 'other-jid', owner: BOB },
    ]);
    await open(bob, await seal(alice, BOB), 'alice@a.example');
  });

  it('does not lock out its owner by being met first', async () => {
    copyBundle(bob, MALLORY, 9);
    await seal(alice, MALLORY);
    expect(rids(await seal(alice, BOB))).toEqual([keyOf(bob).device]);
    // Who uses the key has it: the copy is worth nothing from then on, and that is said.
    await open(alice, await seal(bob, 'alice@a.example'), BOB);
    expect(said(alice, 'bound')).toMatchObject([{ jid: BOB, other: MALLORY }]);
    await expect(seal(alice, MALLORY)).rejects.toMatchObject({ code: 'untrusted' });
    await open(bob, await seal(alice, BOB), 'alice@a.example');
  });

  /** Something that was sealed with a party's key has opened as coming from an address. */
  const sealed = (by: Party, from: string) => {
    const key = Buffer.from(keyOf(by).fingerprint, 'hex');
    alice.omemo.envelope().identity?.().rememberJet(key, jid(from));
  };

  it('is refused, too, once its owner has sealed something', async () => {
    await seal(alice, BOB);
    sealed(bob, BOB);
    copyBundle(bob, MALLORY, 9);
    await expect(seal(alice, MALLORY)).rejects.toMatchObject({ exit: 6 });
    expect(said(alice, 'refused')).toMatchObject([{ jid: MALLORY, why: 'other-jid', owner: BOB }]);
  });

  it('locks nobody out where it was admitted before its owner used the key', async () => {
    copyBundle(bob, MALLORY, 9);
    await seal(alice, MALLORY);
    await seal(alice, BOB);
    await open(alice, await seal(bob, 'alice@a.example'), BOB);
    sealed(bob, MALLORY);
    expect(said(alice, 'bound')).toMatchObject([{ jid: BOB, other: MALLORY }]);
    await open(alice, await seal(bob, 'alice@a.example'), BOB);
  });

  it('beside the own device of a contact does not keep that from being pinned', async () => {
    await open(alice, await seal(bob, 'alice@a.example'), BOB);
    const mallory = await account(`${MALLORY}/jet`);
    const bundle = world.get(BOB, bundleNode(keyOf(bob).device));
    if (!bundle) throw new Error('no bundle');
    world.set(MALLORY, bundleNode(9), bundle);
    list(MALLORY, [9, keyOf(mallory).device]);
    expect(rids(await seal(alice, MALLORY))).toEqual([keyOf(mallory).device]);
  });

  it('makes nothing that is made with the key be taken from another address', async () => {
    await open(alice, await seal(bob, 'alice@a.example'), BOB);
    copyBundle(bob, MALLORY, 9);
    const envelope = await seal(bob, 'alice@a.example');
    await expect(open(alice, envelope, MALLORY)).rejects.toMatchObject({ reason: 'untrusted' });
  });
});

describe('a list full of made-up devices', () => {
  const flood = Array.from({ length: 500 }, (_, i) => 1000 + i);

  it('does not hide the pinned one, however long it is', async () => {
    await seal(alice, BOB);
    list(BOB, [...flood, keyOf(bob).device]);
    expect(rids(await seal(alice, BOB))).toEqual([keyOf(bob).device]);
  });

  it('does not hide the one that was written', async () => {
    list(BOB, [...flood, keyOf(bob).device]);
    alice.omemo.pinWritten(bob.jid, [keyOf(bob)]);
    expect(rids(await seal(alice, BOB))).toEqual([keyOf(bob).device]);
  });

  it('is bounded in number and time when its bundles never come', async () => {
    const clock = new FakeClock();
    const asked: string[] = [];
    const pep: PepPort = {
      ...world.pep(jid('carol@c.example')),
      fetch: (of, node) => {
        const bare = (of ?? jid('carol@c.example')).bare.toString();
        if (bare !== BOB) return Promise.resolve(world.get(bare, node));
        asked.push(node);
        const slow = flood.some((id) => node === bundleNode(id));
        return slow ? new Promise(() => undefined) : Promise.resolve(world.get(bare, node));
      },
    };
    const carol = await account('carol@c.example/jet', { pep, clock });
    list(BOB, [keyOf(bob).device, ...flood]);
    let first: Element | undefined;
    void seal(carol, BOB).then((envelope) => (first = envelope));
    await settle();
    expect(first).toBeUndefined();
    await clock.advance(20_000);
    expect(first && rids(first)).toEqual([keyOf(bob).device]);
    expect(asked.length).toBeLessThan(20);

    // Beside a pinned device the new ones are given less.
    let second: Element | undefined;
    void seal(carol, BOB).then((envelope) => (second = envelope));
    await clock.advance(5_000);
    expect(second && rids(second)).toEqual([keyOf(bob).device]);
  });

  it('is looked at no further than its hundredth entry', async () => {
    let asked = 0;
    const pep: PepPort = {
      ...world.pep(jid('carol@c.example')),
      fetch: (of, node) => {
        const bare = (of ?? jid('carol@c.example')).bare.toString();
        if (bare === BOB && node !== NODE_DEVICES) asked++;
        return Promise.resolve(world.get(bare, node));
      },
    };
    const carol = await account('carol@c.example/jet', { pep });
    list(BOB, [keyOf(bob).device, ...flood]);
    expect(rids(await seal(carol, BOB))).toEqual([keyOf(bob).device]);
    expect(asked).toBe(100);
  });

  it('full of bundles that are none stops nobody', async () => {
    for (const id of flood.slice(0, 20)) world.set(BOB, bundleNode(id), xml('garbage'));
    list(BOB, [...flood.slice(0, 20), keyOf(bob).device]);
    expect(rids(await seal(alice, BOB))).toEqual([keyOf(bob).device]);
  });

  it('with a bundle of points of small order stops nobody', async () => {
    madeUp(BOB, 7, Buffer.alloc(32));
    list(BOB, [7, keyOf(bob).device]);
    expect(rids(await seal(alice, BOB))).toEqual([keyOf(bob).device]);
  });

  it('asks few questions, and says few refusals', async () => {
    let asked = 0;
    const carol = await account('carol@c.example/jet', {
      askTrust: () => {
        asked++;
        return Promise.resolve(false);
      },
    });
    await seal(carol, BOB);
    const some = flood.slice(0, 30);
    for (const id of some) madeUp(BOB, id);
    list(BOB, [...some, keyOf(bob).device]);
    for (let i = 0; i < 2; i++) expect(rids(await seal(carol, BOB))).toEqual([keyOf(bob).device]);
    expect(asked).toBe(5);
    expect(said(carol, 'refused')).toHaveLength(20);
    // What one account publishes does not silence what is to be asked, or said, of another.
    const dave = await account('dave@d.example/jet');
    await seal(carol, 'dave@d.example');
    const late = madeUp('dave@d.example', 7);
    list('dave@d.example', [keyOf(dave).device, 7]);
    await seal(carol, 'dave@d.example');
    expect(asked).toBe(6);
    expect(said(carol, 'refused').at(-1)).toMatchObject(late);
  });
});

describe('questions', () => {
  it('are asked one at a time, and each key once', async () => {
    let open = 0;
    let most = 0;
    const asked: number[] = [];
    const carol = await account('carol@c.example/jet', {
      askTrust: async ({ device }) => {
        asked.push(device);
        most = Math.max(most, ++open);
        await settle();
        open--;
        return false;
      },
    });
    await seal(carol, BOB);
    for (const id of [7, 8]) madeUp(BOB, id);
    list(BOB, [7, 8, keyOf(bob).device]);
    await Promise.all([seal(carol, BOB), seal(carol, BOB), seal(carol, BOB)]);
    expect(most).toBe(1);
    expect(asked.sort()).toEqual([7, 8]);
  });
});

it('a device list that cannot be read is a refusal like any other', async () => {
  const real = world.pep(jid('carol@c.example'));
  const pep: PepPort = {
    ...real,
    fetch: (of, node) =>
      of?.toString() === BOB
        ? Promise.reject(new StanzaError('auth', 'forbidden'))
        : real.fetch(of, node),
  };
  const carol = await account('carol@c.example/jet', { pep });
  const envelope = await seal(bob, 'carol@c.example');
  await expect(open(carol, envelope, BOB)).rejects.toMatchObject({
    name: 'EnvelopeError',
    reason: 'untrusted',
    message: expect.stringContaining('cannot be read (forbidden)') as string,
  });
});

it('a device that is on no list is not taken at first contact', async () => {
  const envelope = await seal(bob, 'alice@a.example');
  list(BOB, []);
  await expect(open(alice, envelope, BOB)).rejects.toMatchObject({ reason: 'untrusted' });
  expect(alice.omemo.devices(bob.jid)).toEqual([]);
});

it('verified keys are demanded by whoever demands them first', async () => {
  await seal(alice, BOB);
  alice.omemo.requireVerified();
  await expect(seal(alice, BOB)).rejects.toMatchObject({ exit: 6 });
  expect(said(alice, 'refused')).toMatchObject([{ ...keyOf(bob), why: 'not-verified' }]);
});

describe('`jet trust --plain`', () => {
  it('says whether there was anything to forget', () => {
    alice.omemo.forgetJet(bob.jid, keyOf(bob).fingerprint);
    expect(said(alice, 'no-jet')).toHaveLength(1);
    alice.store.run(
      'INSERT INTO omemo_jet (account, identity, since) VALUES (?, ?, 0)',
      'alice@a.example',
      keyOf(bob).fingerprint,
    );
    alice.omemo.forgetJet(bob.jid, keyOf(bob).fingerprint);
    expect(said(alice, 'jet-forgotten')).toHaveLength(1);
    expect(alice.store.all('SELECT * FROM omemo_jet')).toEqual([]);
  });

  it('refuses a key that is bound to another address', () => {
    alice.omemo.trust(jid(MALLORY), keyOf(bob).fingerprint);
    expect(() => alice.omemo.forgetJet(bob.jid, keyOf(bob).fingerprint)).toThrow(
      expect.objectContaining({ exit: 6, code: 'key-of-another' }),
    );
  });
});

describe('what is said', () => {
  const fingerprint = 'ab'.repeat(32);
  const refused = (who: string) =>
    describeEvent({ event: 'refused', jid: who, device: 1, fingerprint, why: 'not-pinned' });

  it('ends with the command that allows it, to be copied', () => {
    expect(refused(BOB).message.endsWith(`: jet trust ${BOB} ${fingerprint}`)).toBe(true);
  });

  it('holds no command of whoever chose the address', () => {
    const evil = '$(reboot)@e.example';
    expect(refused(evil).message).toContain(`jet trust '${evil}' ${fingerprint}`);
    expect(refused('-x@e.example').message).toContain(`jet trust -- -x@e.example ${fingerprint}`);
  });

  it('holds none either where nobody there is trusted', async () => {
    const evil = '$(reboot)@e.example';
    await expect(seal(alice, evil)).rejects.toMatchObject({
      ...{ code: 'no-omemo', exit: 6 },
      message: expect.stringContaining(`“jet trust '${evil}' FINGERPRINT”`) as unknown,
    });
    madeUp(evil, 7);
    list(evil, [7]);
    await seal(alice, evil);
    list(evil, []);
    await expect(seal(alice, evil)).rejects.toMatchObject({
      ...{ code: 'untrusted', exit: 6 },
      message: expect.stringContaining(`“jet trust '${evil}' FINGERPRINT”`) as unknown,
    });
  });

  it('is about trust but for what concerns our own devices', () => {
    expect(refused(BOB).trust).toBe(true);
    expect(describeEvent({ event: 'distrusted', jid: BOB, fingerprint }).trust).toBe(true);
    expect(describeEvent({ event: 'device-restored', device: 1 }).trust).toBe(false);
  });
});
