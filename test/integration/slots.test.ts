import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test, vi } from 'vitest';
import { jetHome, type JetHome, type JetProcess } from '../support/jet.ts';
import { ended, linesOf } from '../support/pair.ts';
import { Client, PASSWORD, randomFile, terminate } from '../support/people.ts';
import { startProsody, type Prosody, type ProsodyOptions } from '../support/prosody.ts';

// Many processes start here at once: a guard for machines that are slow.
vi.setConfig({ testTimeout: 600_000 });
const GUARD = { guard: 500_000 };
/** Of what few processes do, where a server that is not yielded to would keep them for ever. */
const SHORT_GUARD = { guard: 90_000 };

const plugins = fileURLToPath(new URL('../support/prosody', import.meta.url));

let server: Prosody;
let alice: JetHome;
let bob: JetHome;

async function start(limit: number, policy = 'newest', options: ProsodyOptions = {}) {
  server = await startProsody({
    proxy65: false,
    plugins,
    ...options,
    modules: ['session_limit'],
    extra: `  session_limit = ${limit}\n  session_limit_policy = "${policy}"`,
  });
  for (const name of ['alice', 'bob']) await server.addAccount(name, PASSWORD);
  await server.befriend('alice', 'bob');
  alice = await jetHome(server, 'alice', PASSWORD);
  bob = await jetHome(server, 'bob', PASSWORD);
}

afterEach(async () => {
  await server.stop();
  for (const made of [alice, bob]) await made.remove();
});

/** `jet receive` of bob's, which waits; it lives as long as all the senders may take. */
async function receive(args: readonly string[] = [], options = GUARD): Promise<JetProcess> {
  const process = bob.start(['receive', '--json', '--yes', ...args], options);
  await process.said(/"event":"waiting"/);
  return process;
}

/** The most sessions that an account had at once, and how often it was refused one more. */
async function seen(name: string): Promise<{ most: number; refused: number }> {
  const log = await server.logText();
  const before = [...log.matchAll(new RegExp(`${name} has (\\d+) sessions`, 'g'))];
  return {
    most: Math.max(...before.map(([, count]) => Number(count) + 1)),
    refused: log.split(`${name} is refused one more`).length - 1,
  };
}

/** That bob holds all files of alice with these names, whole and nothing else. */
async function landed(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const there = await readFile(join(bob.home, name));
    expect(there.equals(await readFile(join(alice.home, name))), name).toBe(true);
  }
  expect((await readdir(bob.home)).filter((name) => name.includes('jet-part'))).toEqual([]);
}

/** So many processes of alice's send a file each at the same time, and all of them arrive. */
async function sendAtOnce(count: number, options = GUARD) {
  const names = Array.from({ length: count }, (_, n) => `file-${n}.bin`);
  const files = await Promise.all(names.map((name) => randomFile(alice, name)));
  const receiving = await receive();
  const runs = await Promise.all(
    files.map((file) =>
      ended(alice.start(['send', '--json', '--wait', '120', file, bob.jid], options)),
    ),
  );
  for (const run of runs) expect(run, run.stdout + receiving.stderr).toMatchObject({ status: 0 });
  expect(await terminate(receiving)).toBe(0);
  await landed(names);
  return runs;
}

test('forty sends of one account at once all arrive at a server that allows ten sessions', async () => {
  await start(10);
  const runs = await sendAtOnce(40);
  const { most, refused } = await seen('alice');
  expect(most).toBeLessThanOrEqual(4);
  expect(refused).toBe(0);
  const queued = runs.filter(({ stdout }) =>
    stdout.includes('a connection slot of alice@jet.test'),
  );
  expect(queued.length).toBeGreaterThan(0);
  for (const { stderr } of queued) expect(stderr).toContain('Waiting for a connection slot');
});

test('a server that allows two shrinks the slots, and nobody fails', async () => {
  await start(2);
  await sendAtOnce(8, SHORT_GUARD);
  const { refused } = await seen('alice');
  expect(refused).toBeGreaterThan(0);
  // At most those that had a slot already when the first one was refused.
  expect(refused).toBeLessThanOrEqual(4);
});

test('a server that is full is asked ever more rarely, and then the command says so', async () => {
  await start(1);
  const chat = await Client.open(server, 'alice');
  const run = await ended(alice.start(['contacts', '--json', '--wait', '10'], SHORT_GUARD));
  expect(run).toMatchObject({ status: 3 });
  expect(run.event('error')).toMatchObject({ code: 'session-limit' });
  expect(run.event('waiting')).toMatchObject({
    what: 'a connection slot of alice@jet.test: the server allows no more at this time',
  });
  const { refused } = await seen('alice');
  expect(refused).toBeGreaterThan(1);
  expect(refused).toBeLessThan(6);
  await chat.connection.close();
});

test('receivers leave a slot to commands that end, and a killed one gives its slot back', async () => {
  await start(10);
  const receivers = [await receive(), await receive(), await receive()];
  const fourth = bob.start(['receive', '--json', '--yes'], GUARD);
  await fourth.said(/the last is kept for commands that end/);
  expect(await bob.run(['contacts'])).toMatchObject({ status: 0 });
  const late = await ended(bob.start(['receive', '--json', '--yes', '--wait', '1']));
  expect(late.event('error')).toMatchObject({ code: 'slots-taken', exit: 3 });
  expect(late.event('error')?.['message']).toContain(String(receivers[0]?.child.pid));
  receivers[0]?.child.kill('SIGKILL');
  await fourth.said(/offers to bob@jet.test/);
  for (const process of [...receivers.slice(1), fourth]) expect(await terminate(process)).toBe(0);
});

test('one slot is enough for one receiver; a command beside it says what is in its way', async () => {
  await start(10);
  const receiving = await receive(['--slots', '1']);
  const run = await bob.run(['contacts', '--wait', '1'], { env: { JET_SLOTS: '1' } });
  expect(run).toMatchObject({ status: 3 });
  expect(run.stderr).toContain(
    `No connection slot of bob@jet.test became free for 1 seconds: the only one is taken by process ${receiving.child.pid ?? 0}. ` +
      'End one of these, wait longer with --wait, or allow more with --slots.',
  );
  expect(await terminate(receiving)).toBe(0);
});

test('a receiver whose session the server ends for another queues for a new one, and takes files', async () => {
  await start(2, 'oldest');
  const receiving = await receive();
  // Two more sessions: the oldest, which is the receiver's, has to go.
  const chats = [await Client.open(server, 'bob'), await Client.open(server, 'bob')];
  // One leaves before the receiver comes back, which would have to end another one.
  await chats[1]?.connection.close();
  const file = await randomFile(alice, 'file-0.bin');
  const sent = await ended(alice.start(['send', '--json', '--wait', '60', file, bob.jid]));
  expect(sent, sent.stdout + receiving.stderr).toMatchObject({ status: 0 });
  await receiving.said(/"event":"end"/);
  expect(linesOf(receiving.stdout).filter(({ event }) => event === 'end')).toHaveLength(1);
  await landed(['file-0.bin']);
  expect(await terminate(receiving)).toBe(0);
  for (const chat of chats) await chat.connection.close();
});

test('two that end each other for ever do not: jet yields', async () => {
  await start(1, 'oldest');
  const receiving = await receive([], SHORT_GUARD);
  const gaveUp = receiving.ended.then(({ stdout }) => {
    throw new Error(`it did not come back:\n${stdout}`);
  });
  const rivals: Client[] = [];
  for (let n = 0; n < 4; n++) {
    const rival = await Client.open(server, 'bob');
    rivals.push(rival);
    const over = new Promise<void>((resolve) => rival.connection.onState(() => resolve()));
    if (n < 3) await Promise.race([over, gaveUp]);
  }
  const { status, stdout } = await ended(receiving);
  expect(status, stdout).toBe(3);
  expect(stdout).toContain('connection-lost');
  // It came back after pauses, like one that is refused.
  expect(stdout).toContain('the server allows no more at this time');
  for (const rival of rivals) await rival.connection.close();
});
