import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parseDeviceList } from '../../src/omemo/devicelist.ts';
import { NODE_DEVICES } from '../../src/omemo/names.ts';
import { Disco } from '../../src/xmpp/disco.ts';
import { Pep } from '../../src/xmpp/pep.ts';
import type { JetHome } from '../support/jet.ts';
import { address } from '../support/address.ts';
import { Client, makeTown, randomFile, receive, terminate, type Town } from '../support/people.ts';
import type { Prosody } from '../support/prosody.ts';

// Many processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000 });

let town: Town;
let server: Prosody;
let alice: JetHome;
let bob: JetHome;
let home: Town['home'];

beforeEach(async () => {
  town = await makeTown({}, true);
  ({ server, alice, bob, home } = town);
});

afterEach(() => town.remove());

const twenty = <T>(make: (n: number) => T): T[] => Array.from({ length: 20 }, (_, n) => make(n));

/** The devices that the server has for an account. */
async function listed(name: string): Promise<readonly number[]> {
  const client = await Client.open(server, name, false);
  const pep = new Pep(client.connection, new Disco(client.connection));
  const ids = parseDeviceList(await pep.latest(address(`${name}@jet.test`), NODE_DEVICES));
  await client.connection.close();
  return ids;
}

/** That these files of alice lie with bob. */
async function landed(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const there = await readFile(join(bob.home, name));
    expect(there.equals(await readFile(join(alice.home, name))), name).toBe(true);
  }
  expect((await readdir(bob.home)).filter((name) => name.includes('jet-part'))).toEqual([]);
}

test('twenty first runs at once make one device', async () => {
  const runs = await Promise.all(twenty(() => alice.run(['devices'])));
  for (const run of runs) expect(run, run.stderr).toMatchObject({ status: 0 });
  expect(new Set(runs.map(({ stdout }) => stdout)).size).toBe(1);
  expect(runs.filter(({ stderr }) => stderr.includes('Made the OMEMO device'))).toHaveLength(1);
  expect(await listed('alice')).toHaveLength(1);
});

test('twenty first sends at once from one home all arrive, from one device', async () => {
  const names = twenty((n) => `file-${n}.bin`);
  const files = await Promise.all(names.map((name) => randomFile(alice, name)));
  const receiving = await receive(bob, '--yes');
  const runs = await Promise.all(
    files.map((file) => alice.run(['send', '--wait', '90', file, bob.jid])),
  );
  for (const run of runs) expect(run, run.stderr + receiving.stderr).toMatchObject({ status: 0 });
  expect(await listed('alice')).toHaveLength(1);
  expect(await terminate(receiving)).toBe(0);
  await landed(names);
});

test('thirty sends in a row all arrive', async () => {
  const receiving = await receive(bob, '--yes');
  const names = Array.from({ length: 30 }, (_, n) => `file-${n}.bin`);
  for (const name of names) {
    const file = await randomFile(alice, name, 3000);
    const run = await alice.run(['send', file, bob.jid]);
    expect(run, `${name}: ${run.stderr}${receiving.stderr}`).toMatchObject({ status: 0 });
  }
  expect(await terminate(receiving)).toBe(0);
  await landed(names);
});

test('two devices of one account leave each other on the list', async () => {
  const second = await home('bob');
  const both = [await receive(bob, '--yes'), await receive(second, '--yes')];
  const ids = await listed('bob');
  expect(ids).toHaveLength(2);
  for (const made of [bob, second]) {
    const { status, stdout } = await made.run(['devices']);
    expect(status).toBe(0);
    for (const id of ids) expect(stdout).toContain(`${id}  `);
  }
  for (const process of both) expect(await terminate(process)).toBe(0);
  expect(await listed('bob')).toEqual(ids);
  for (const process of both) expect(process.stderr).not.toContain('had taken this device');
});
