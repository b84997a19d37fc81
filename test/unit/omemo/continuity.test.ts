/** A state that was restored or copied: it is found, renewed, and no message key is used twice. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readBundle } from '../../../src/omemo/bundle.ts';
import { writeMark } from '../../../src/omemo/mark.ts';
import { bundleNode, markNode } from '../../../src/omemo/names.ts';
import type { PepPort } from '../../../src/omemo/pep-port.ts';
import type { Store } from '../../../src/store/store.ts';
import type { Element } from '../../../src/xmpp/xml.ts';
import {
  carry,
  freshSecret,
  isKeyExchange,
  messageKeyOf,
  type Party,
  receive,
  World,
} from '../../support/omemo-world.ts';

const ALICE = 'alice@a.example';
const BOB = 'bob@b.example';
let world: World;
let alice: Party;
let bob: Party;
beforeEach(async () => {
  world = new World();
  alice = world.party(`${ALICE}/jet`);
  bob = world.party(`${BOB}/jet`);
  await alice.omemo.ensureDevice();
  await bob.omemo.ensureDevice();
  await carry(alice, bob);
  await carry(bob, alice);
});
afterEach(() => {
  world.close();
});

const node = (account: string, id: number) => ({
  get: () => world.get(account, markNode(id)),
  set: (payload: Element) => {
    world.set(account, markNode(id), payload);
  },
});
const events = (party: Party) => party.said.map(({ event }) => event);

/** The process has ended, and another one starts on this state. */
async function restart(party: Party, store: Store, options: object = {}): Promise<Party> {
  party.omemo.close();
  const again = world.party(party.jid.toString(), { store, ...options });
  await again.omemo.ensureDevice();
  return again;
}

describe('a database that was restored from an older backup', () => {
  it('is renewed and says so, goes on both ways, and uses no message key twice', async () => {
    const before = world.backup(alice);
    const used = [await carry(alice, bob), await carry(alice, bob)];
    const restored = await restart(alice, before);
    expect(events(restored)).toContain('state-renewed');
    const next = await carry(restored, bob);
    expect(isKeyExchange(next)).toBe(true);
    used.push(next, await carry(restored, bob));
    await carry(bob, restored);
    used.push(await carry(restored, bob));
    expect(new Set(used.map(messageKeyOf)).size).toBe(used.length);
    expect(events(restored).filter((event) => event === 'state-renewed')).toHaveLength(1);
  });

  it('is found also when the backup is of the middle of a run that sent only once more', async () => {
    await carry(alice, bob);
    const before = world.backup(alice);
    const used = [await carry(alice, bob)];
    const restored = await restart(alice, before);
    used.push(await carry(restored, bob));
    expect(new Set(used.map(messageKeyOf)).size).toBe(2);
  });

  it('is found when it is put in place under a running process', async () => {
    const before = world.backup(alice);
    const running = world.party(`${ALICE}/running`, { store: before });
    await running.omemo.ensureDevice();
    const used = [await carry(alice, bob), await carry(alice, bob)];
    // A prekey that is used up must not be chosen once more: the bundle is filled up at once.
    await bob.omemo.ensureDevice();
    used.push(await carry(running, bob));
    expect(events(running)).toContain('state-renewed');
    expect(new Set(used.map(messageKeyOf)).size).toBe(3);
  });

  it('takes no envelope and no key exchange a second time that it has forgotten', async () => {
    const carol = world.party('carol@c.example/jet');
    await carol.omemo.ensureDevice();
    bob.omemo.trust(carol.jid, carol.omemo.device?.fingerprint ?? '');
    const before = world.backup(bob);
    const [envelope, exchange] = [await carry(alice, bob), await carry(carol, bob)];
    const restored = await restart(bob, before);
    const again = (which: Element, from: Party) =>
      expect(restored.omemo.envelope().open(which, from.jid, 16)).rejects;
    await again(envelope, alice).toMatchObject({ reason: 'no-session' });
    await again(exchange, carol).toMatchObject({ reason: 'replayed' });
  });

  it('takes none again either when it is found only by the opening', async () => {
    const before = world.backup(bob);
    // It starts before the other has gone on: nothing is wrong yet.
    const copy = world.party(`${BOB}/copy`, { store: before });
    await copy.omemo.ensureDevice();
    expect(events(copy)).not.toContain('state-renewed');
    const envelope = await carry(alice, bob);
    const again = copy.omemo.envelope().open(envelope, alice.jid, 16);
    await expect(again).rejects.toMatchObject({ reason: 'undecryptable' });
    expect(events(copy)).toContain('state-renewed');
    // Its new keys are there before the sender is told to try again.
    await alice.omemo.renew(bob.jid);
    await carry(alice, copy);
  });

  it('publishes prekeys that share nothing with the lost time', async () => {
    const id = bob.omemo.device?.id ?? 0;
    const published = () => readBundle(world.get(BOB, bundleNode(id)));
    const before = world.backup(bob);
    const ids = (published()?.preKeys ?? []).map((key) => key.id);
    const signed = published()?.signedPreKeyId ?? 0;
    await carry(alice, bob);
    await restart(bob, before);
    expect(published()?.preKeys).toHaveLength(100);
    const fresh = (published()?.preKeys ?? []).map((key) => key.id);
    expect(Math.min(...fresh)).toBeGreaterThan(Math.max(...ids) + 900);
    expect(published()?.signedPreKeyId).toBeGreaterThan(signed + 900);
  });

  it('a process that dies between the mark and its step is healed by the next', async () => {
    const id = alice.omemo.device?.id ?? 0;
    node(ALICE, id).set(writeMark('00', Date.now()));
    const again = await restart(alice, alice.store);
    expect(events(again)).toContain('state-renewed');
    await carry(again, bob);
    await carry(bob, again);
  });

  it('what is as the server knows it is left alone', async () => {
    const again = await restart(alice, alice.store);
    expect(isKeyExchange(await carry(again, bob))).toBe(false);
    expect(events(again)).toEqual([]);
  });
});

describe('a database that is used in two places', () => {
  /** Every request of both waits its turn, so that those of two who start at once alternate. */
  function slow(pep: PepPort): PepPort {
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    return {
      ...pep,
      publish: async (...args) => {
        await turn();
        await turn();
        await turn();
        return pep.publish(...args);
      },
      fetch: async (...args) => {
        await turn();
        await turn();
        return pep.fetch(...args);
      },
      create: async (...args) => {
        await turn();
        return pep.create(...args);
      },
    };
  }

  it('two that encrypt at the same moment do not use the same key', async () => {
    const used: string[] = [];
    const pep = slow(world.pep(alice.jid));
    const copy = world.party(`${ALICE}/copy`, { store: world.backup(alice), pep });
    const first = world.party(`${ALICE}/first`, { store: alice.store, pep });
    await first.omemo.ensureDevice();
    await copy.omemo.ensureDevice();
    // The file is another one, which is noticed without a server: here the server is to notice.
    copy.store.run('UPDATE omemo_session SET retired = 0');
    const secrets = [freshSecret(), freshSecret()] as const;
    const [one, two] = await Promise.all([
      first.omemo.envelope().seal(secrets[0], bob.jid),
      copy.omemo.envelope().seal(secrets[1], bob.jid),
    ]);
    await receive(bob, one, alice.jid, secrets[0]);
    await receive(bob, two, alice.jid, secrets[1]);
    used.push(messageKeyOf(one), messageKeyOf(two));
    expect(used[0]).not.toBe(used[1]);
    expect([...events(first), ...events(copy)]).toContain('state-renewed');
  });

  it('goes on in both, each saying so, with no key used twice', async () => {
    const copy = world.party(`${ALICE}/copy`, { store: world.backup(alice) });
    await copy.omemo.ensureDevice();
    const used: string[] = [];
    for (let i = 0; i < 3; i++) {
      for (const one of [alice, copy]) {
        used.push(messageKeyOf(await carry(one, bob)));
        // A prekey that is used up must not be chosen once more: the bundle is filled up at once.
        await bob.omemo.ensureDevice();
      }
    }
    expect(new Set(used).size).toBe(6);
    expect(events(copy)).toContain('state-renewed');
    expect(events(alice)).toContain('state-renewed');
  });

  it('ends with an error instead of going on for ever', async () => {
    const copy = world.party(`${ALICE}/copy`, { store: world.backup(alice) });
    await copy.omemo.ensureDevice();
    const both = async () => {
      for (let i = 0; i < 30; i++) {
        await alice.omemo.envelope().seal(freshSecret(), bob.jid);
        await copy.omemo.envelope().seal(freshSecret(), bob.jid);
      }
    };
    await expect(both()).rejects.toMatchObject({ code: 'copied-home', exit: 6 });
    expect(events(alice).filter((event) => event === 'state-renewed').length).toBeLessThan(11);
  });
});

describe('a copied file, where the server plays along', () => {
  it('goes on with no sending chain, but still receives', async () => {
    const id = alice.omemo.device?.id ?? 0;
    const mark = node(ALICE, id).get();
    const before = world.backup(alice);
    const secret = freshSecret();
    const toAlice = await bob.omemo.envelope().seal(secret, alice.jid);
    const used = [await carry(alice, bob), await carry(alice, bob)];
    if (mark) node(ALICE, id).set(mark);
    const copy = await restart(alice, before);
    expect(events(copy)).toEqual(['state-moved']);
    const next = await copy.omemo.envelope().seal(freshSecret(), bob.jid);
    expect(isKeyExchange(next)).toBe(true);
    used.push(next);
    expect(new Set(used.map(messageKeyOf)).size).toBe(3);
    await receive(copy, toAlice, bob.jid, secret);
  });
});
