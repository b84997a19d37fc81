/** Clients without JET-OMEMO (docs/interop-sources.md): refused in one sentence, in both directions. */
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { address } from '../support/address.ts';
import { jetHome, type JetHome, type JetProcess } from '../support/jet.ts';
import { Client, PASSWORD, receive, terminate } from '../support/people.ts';
import { ScriptedClient } from '../support/peers/client.ts';
import { atalk, gajim, offer, psi, type PlainClient } from '../support/peers/plain.ts';
import { hasProsody, startProsody, type Prosody } from '../support/prosody.ts';

const present = await hasProsody();

describe.skipIf(!present).each<[string, PlainClient, RegExp]>([
  ['Psi', psi, /the content is not encrypted/],
  ['Gajim', gajim, /the content is not encrypted/],
  ['aTalk', atalk, /the envelope does not carry this cipher/],
])('%s', (software, manner, why) => {
  let server: Prosody;
  let alice: JetHome;
  let bob: ScriptedClient;
  let receiving: JetProcess;
  let target: string;

  beforeAll(async () => {
    server = await startProsody({ proxy65: false });
    for (const name of ['alice', 'bob']) await server.addAccount(name, PASSWORD);
    await server.befriend('alice', 'bob');
    alice = await jetHome(server, 'alice', PASSWORD);
    receiving = await receive(alice, '--yes');
    bob = await ScriptedClient.open(server, 'bob', manner);
    const watcher = await Client.open(server, 'bob');
    target = await watcher.jet('alice@jet.test');
    await watcher.connection.close();
  });
  afterAll(async () => {
    expect(await terminate(receiving)).toBe(0);
    await bob.close();
    await alice.remove();
    await server.stop();
  });

  it('is sent nothing', async () => {
    const file = join(alice.home, 'file.bin');
    await writeFile(file, 'hello');
    const sent = await alice.run(['send', '--wait', '3', file, 'bob@jet.test']);
    expect(sent, sent.stderr).toMatchObject({ status: 4, stdout: '' });
    expect(sent.stderr).toContain(
      `bob@jet.test is online with ${software}, which cannot receive encrypted files: start "jet receive" there.`,
    );
  });

  it('has its offer refused', async () => {
    const before = receiving.stderr.length;
    expect(await offer(bob, manner, address(target))).toBe('security-error');
    const told = receiving.stderr.slice(before).trim().split('\n');
    const refusals = told.filter((line) => line.startsWith('Refused an offer of bob@jet.test: '));
    expect(refusals).toHaveLength(1);
    expect(refusals[0]).toMatch(why);
    expect((await readdir(alice.home)).filter((name) => name.startsWith('plain'))).toEqual([]);
  });
});
