import { afterEach, beforeEach, expect, it } from 'vitest';
import { readBundle } from '../../../src/omemo/bundle.ts';
import { editDeviceList, parseDeviceList } from '../../../src/omemo/devicelist.ts';
import { bundleNode, NODE_DEVICES } from '../../../src/omemo/names.ts';
import type { PepPort } from '../../../src/omemo/pep-port.ts';
import { FakeClock } from '../../support/clock.ts';
import { jid, type Party, World } from '../../support/omemo-world.ts';

const ALICE = 'alice@a.example';
const DAY = 86_400_000;
let world: World;
let clock: FakeClock;
let alice: Party;
let id: number;
beforeEach(async () => {
  world = new World();
  clock = new FakeClock();
  alice = world.party(`${ALICE}/jet`, { clock });
  ({ id } = await alice.omemo.ensureDevice());
});
afterEach(() => {
  world.close();
});

const list = () => parseDeviceList(world.get(ALICE, NODE_DEVICES));
const others = () => editDeviceList(undefined, { add: 5 });
const published = () => readBundle(world.get(ALICE, bundleNode(id)));

it('puts our device back when another client drops it, after a pause, and says so', async () => {
  world.set(ALICE, NODE_DEVICES, others());
  await clock.advance(900);
  expect(list()).toEqual([5]);
  await clock.advance(700);
  expect(list()).toEqual([5, id]);
  expect(alice.said.at(-1)).toEqual({ event: 'device-restored', device: id });
});

it('does not look at our list for the list of somebody else', async () => {
  const real = world.pep(jid('carol@c.example'));
  let looked = 0;
  const fetch: PepPort['fetch'] = (of, node) => {
    if (of === null && node === NODE_DEVICES) looked++;
    return real.fetch(of, node);
  };
  const carol = world.party('carol@c.example/jet', { clock, pep: { ...real, fetch } });
  const made = carol.omemo.ensureDevice();
  await clock.advance(5000);
  await made;
  const before = looked;
  world.set(ALICE, NODE_DEVICES, others());
  await clock.advance(5000);
  expect(looked).toBe(before);
});

it('rests after five times in an hour, each later than the last, and tries again in the next', async () => {
  for (let i = 0; i < 8; i++) {
    world.set(ALICE, NODE_DEVICES, others());
    if (i > 0) await clock.advance(1900);
    if (i > 0 && i < 5) expect(list()).toEqual([5]);
    await clock.advance(95_000);
  }
  expect(list()).toEqual([5]);
  expect(alice.said.filter(({ event }) => event === 'device-restored')).toHaveLength(5);
  expect(alice.said.filter(({ event }) => event === 'device-dropped')).toHaveLength(1);
  await clock.advance(3_600_000);
  expect(list()).toEqual([5, id]);
});

it('publishes the bundle again when the server lost it', async () => {
  world.nodes.delete(`${ALICE} ${bundleNode(id)}`);
  await alice.omemo.ensureDevice();
  expect(published()?.preKeys).toHaveLength(100);
});

it('rotates the signed prekey weekly and keeps the old ones for a month', async () => {
  const first = published()?.signedPreKeyId;
  await clock.advance(6 * DAY);
  await alice.omemo.ensureDevice();
  expect(published()?.signedPreKeyId).toBe(first);
  for (let week = 0; week < 8; week++) {
    await clock.advance(7 * DAY);
    await alice.omemo.ensureDevice();
  }
  const kept = alice.store.all('SELECT id FROM omemo_signed_prekey ORDER BY id');
  expect(published()?.signedPreKeyId).toBe(kept.at(-1)?.['id']);
  expect(kept.length).toBeGreaterThanOrEqual(5);
  expect(kept.length).toBeLessThanOrEqual(7);
});

it('rotates the signed prekey also when the clock was set back, instead of never again', async () => {
  const first = published()?.signedPreKeyId ?? 0;
  alice.store.run('UPDATE omemo_signed_prekey SET created = created + ?', 400 * DAY);
  await alice.omemo.ensureDevice();
  expect(published()?.signedPreKeyId).toBe(first + 1);
});

it('refuses a list that the server does not keep', async () => {
  const bob = world.party('bob@b.example/jet', {
    clock,
    pep: {
      publish: () => Promise.resolve(),
      create: () => Promise.resolve(true),
      fetch: () => Promise.resolve(undefined),
      deleteNode: () => Promise.resolve(),
      onItem: () => () => undefined,
    },
  });
  const made = expect(bob.omemo.ensureDevice()).rejects.toMatchObject({ exit: 3 });
  await clock.advance(60_000);
  await made;
});

it('sees that another wrote at the same moment, though no notification comes', async () => {
  const other = world.party('alice@a.example/other', { clock });
  const made = other.omemo.ensureDevice();
  await clock.advance(1);
  const { id: second } = await made;
  // The one who had read the list before writes it without the other.
  world.nodes.set(`${ALICE} ${NODE_DEVICES}`, editDeviceList(undefined, { add: id }));
  await clock.advance(2000);
  expect(list()).toEqual([id, second]);
});
