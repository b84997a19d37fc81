/** What programs read: --json, --quiet and --verbose. */
import { Ajv } from 'ajv';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { jetHome, type JetHome } from '../support/jet.ts';
import { startProsody, type Prosody } from '../support/prosody.ts';

const PASSWORDS = { alice: 'pw & <alice> ö', bob: 'geheimnis-von-bob' };
const schema = new URL('../../docs/events.schema.json', import.meta.url);

let server: Prosody;
let folder: string;
let alice: JetHome;
let bob: JetHome;
let file: string;
const bytes = randomBytes(500_003);
let valid: (line: unknown) => boolean;

beforeAll(async () => {
  valid = new Ajv().compile(JSON.parse(await readFile(schema, 'utf8')) as object);
  server = await startProsody();
  folder = await mkdtemp(join(tmpdir(), 'jet-json-'));
  await server.addAccount('alice', PASSWORDS.alice);
  await server.addAccount('bob', PASSWORDS.bob);
  await server.befriend('alice', 'bob');
  alice = await jetHome(server, 'alice', PASSWORDS.alice);
  bob = await jetHome(server, 'bob', PASSWORDS.bob);
  file = join(folder, 'report.pdf');
  await writeFile(file, bytes);
});

afterAll(async () => {
  await alice.remove();
  await bob.remove();
  await rm(folder, { recursive: true, force: true });
  await server.stop();
});

interface Line {
  readonly event: string;
  readonly [key: string]: unknown;
}

/** Every line, each valid. */
function lines(stdout: string): Line[] {
  expect(stdout).toMatch(/\n$/);
  return stdout
    .trimEnd()
    .split('\n')
    .map((text) => {
      const line = JSON.parse(text) as Line;
      expect(valid(line), text).toBe(true);
      return line;
    });
}

const named = (all: readonly Line[], event: string) => all.filter((line) => line.event === event);

function transfer(send: string[] = [], receive: string[] = []) {
  const out = ['--out', folder, '--on-conflict', 'overwrite'];
  const receiving = bob.start(['receive', '--json', '--yes', '--once', ...out, ...receive]);
  const sending = alice.start(['send', '--json', ...send, file, bob.jid]);
  return { receiving, sending };
}

test('a success, on both sides', async () => {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const { receiving, sending } = transfer(['--quiet'], ['--quiet']);
  const [sent, received] = await Promise.all([sending.ended, receiving.ended]);
  expect([sent.status, received.status]).toEqual([0, 0]);
  // A first contact is a change of trust, and that is said with --quiet, too: nothing else is.
  expect(sent.stderr).toMatch(/^First contact with bob@jet\.test: .+\n$/);
  expect(received.stderr).toMatch(/^First contact with alice@jet\.test: .+\n$/);
  for (const [outcome, direction, status] of [
    [sent, 'send', 'verified'],
    [received, 'receive', 'verified'],
  ] as const) {
    const all = lines(outcome.stdout);
    const own = all.filter(({ id }) => id === named(all, 'start')[0]?.['id']);
    expect(named(own, 'start')).toMatchObject([{ direction, size: bytes.length, resumed_from: 0 }]);
    expect(named(own, 'progress').at(-1)).toMatchObject({ bytes: bytes.length });
    expect(named(own, 'end')).toMatchObject([
      { direction, status, sha256, bytes: bytes.length, exit: 0 },
    ]);
    expect(own.at(-1)?.event).toBe('end');
    expect(named(all, 'error')).toEqual([]);
    const order = own.map(({ event }) => event).filter((event) => event !== 'progress');
    expect(order.indexOf('start')).toBeLessThan(order.indexOf('finishing'));
    // The receiver tells by the second one that the file is in its place.
    expect(named(own, 'finishing')).toHaveLength(direction === 'receive' ? 2 : 1);
  }
  expect(named(lines(received.stdout), 'offer')).toMatchObject([
    { direction: 'receive', peer: alice.jid, file: 'report.pdf', size: bytes.length },
  ]);
});

test('a refusal and a failure, each error once', async () => {
  const { receiving, sending } = transfer([], ['--max-size', '1k']);
  const sent = await sending.ended;
  await receiving.said(/offer-refused/);
  receiving.child.kill('SIGTERM');
  const received = await receiving.ended;
  expect(sent.status).toBe(9);
  const all = lines(sent.stdout);
  expect(named(all, 'end')).toMatchObject([{ status: 'failed', exit: 9 }]);
  const [error, ...others] = named(all, 'error');
  expect(others).toEqual([]);
  expect(error).toMatchObject({ exit: 9, code: 'peer-media-error' });
  expect(sent.stderr.match(/^jet: /gm)).toHaveLength(1);
  expect(sent.stderr).toContain(`jet: ${String(error?.['message'])}\n`);
  expect(named(lines(received.stdout), 'notice')).toContainEqual(
    expect.objectContaining({ code: 'offer-refused' }),
  );
});

test('an error before anything began', async () => {
  const outcome = await alice.run(['send', '--json', 'gone', bob.jid]);
  expect(lines(outcome.stdout)).toMatchObject([
    { event: 'error', id: 'jet', code: 'file-missing', exit: 8 },
  ]);
  expect(outcome.stderr.match(/^jet: /gm)).toHaveLength(1);
});

test('without --json stdout holds the landed path alone', async () => {
  const out = await mkdtemp(join(folder, 'plain-'));
  const receiving = bob.start(['receive', '--yes', '--once', '--out', out]);
  const sent = await alice.run(['send', file, bob.jid]);
  expect(sent).toMatchObject({ status: 0, stdout: '' });
  expect(sent.stderr.trimEnd().split('\n').at(-1)).toMatch(
    /^report\.pdf to bob@jet\.test: verified, 500 kB/,
  );
  const received = await receiving.ended;
  expect(received).toMatchObject({ status: 0, stdout: `${join(out, 'report.pdf')}\n` });
  expect(received.stderr).not.toMatch(/\u001b|\r/);
});

test('--verbose shows what is said, without secrets', async () => {
  const { receiving, sending } = transfer(['--verbose'], ['--verbose']);
  const outcomes = await Promise.all([sending.ended, receiving.ended]);
  const text = outcomes.map(({ stderr }) => stderr).join('');
  expect(outcomes).toMatchObject([{ status: 0 }, { status: 0 }]);
  expect(text).toMatch(/^> <iq .*session-initiate/m);
  expect(text).toMatch(/^< <iq .*session-accept/m);
  expect(text).toContain('<iv>[secret]</iv>');
  expect(text).not.toMatch(/<(?:iv|key|payload)(?: [^>]*)?>(?!\[secret\])[^<]/);
  expect(text).toMatch(/<auth [^>]*>\[secret\]<\/auth>|<initial-response>\[secret\]/);
  for (const [name, password] of Object.entries(PASSWORDS)) {
    expect(text).not.toContain(password);
    expect(text).not.toContain(Buffer.from(password).toString('base64'));
    expect(text).not.toContain(Buffer.from(`\0${name}\0${password}`).toString('base64'));
  }
});
