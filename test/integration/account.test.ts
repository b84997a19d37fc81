/** Logging in, registering and out again: where passwords come from and where they never go. */
import { readFileSync, statSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { expectSentence } from '../support/errors.ts';
import { jetHome, type JetHome } from '../support/jet.ts';
import { hasKeyring, withKeyring } from '../support/keyring.ts';
import { startProsody, type Prosody } from '../support/prosody.ts';
import { hasScript, inTerminal } from '../support/terminal.ts';

const ODD = `ü & <b> ' "é" \\ 密码`;
const NONE = { JET_JID: undefined, JET_PASSWORD: undefined };

let open: Prosody;
let folder: string;
let home: JetHome;

beforeAll(async () => {
  open = await startProsody({ registration: true });
  folder = await mkdtemp(join(tmpdir(), 'jet-account-'));
  await open.addAccount('alice', ODD);
  await open.addAccount('bob', 'pw-bob');
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await open.stop();
});

beforeEach(async () => {
  home = await jetHome(open, 'alice', ODD);
});

afterEach(() => home.remove());

const mode = (path: string) => statSync(path).mode & 0o777;

async function passwordFile(text: string): Promise<string> {
  const path = join(folder, `password-${Math.random()}`);
  await writeFile(path, text, { mode: 0o600 });
  return path;
}

describe('login', () => {
  test('by a file, with every kind of character; kept where nobody else reads', async () => {
    await chmod(home.home, 0o755);
    const path = await passwordFile(`${ODD}\nanother line\n`);
    const login = await home.run(['login', '--password-file', path, home.jid], { env: NONE });
    expect(login).toMatchObject({ status: 0, stdout: '', stderr: `Logged in as ${home.jid}.\n` });
    expect(mode(home.home)).toBe(0o700);
    expect(mode(join(home.home, 'accounts.json'))).toBe(0o600);
    expect(await home.run(['accounts'], { env: NONE })).toMatchObject({ stdout: `${home.jid}\n` });
    const devices = await home.run(['devices'], { env: NONE });
    expect(devices.stdout).toMatch(/this device\n {2}xmpp:alice@jet\.test\?omemo-sid-/);
    expect(mode(join(home.home, 'jet.db'))).toBe(0o600);
  });

  test('by a command, by the environment, by direct TLS', async () => {
    await writeFile(join(folder, 'store'), `${ODD}\n`);
    const command = `printf '%s\\n' "$(cat '${join(folder, 'store')}')"`;
    const args = ['login', '--password-command', command, home.jid];
    expect(await home.run(args, { env: NONE })).toMatchObject({ status: 0 });
    const env = { JET_JID: undefined, JET_SERVER: `tls://127.0.0.1:${open.directTlsPort}` };
    expect(await home.run(['login', home.jid], { env })).toMatchObject({ status: 0 });
  });

  test('a file that others can read is warned of', async () => {
    const path = await passwordFile(`${ODD}\n`);
    await chmod(path, 0o644);
    const login = await home.run(['login', '--password-file', path, home.jid], { env: NONE });
    expect(login.status).toBe(0);
    expect(login.stderr).toContain(`Others on this machine can read ${path}: run chmod 600`);
  });

  test('what is wrong is not saved', async () => {
    const path = await passwordFile('wrong\n');
    const args = ['login', '--password-file', path, home.jid];
    expectSentence(await home.run(args, { env: NONE }), 3, /refuses the password/);
    expect(await home.run(['accounts'], { env: NONE })).toMatchObject({ status: 0, stdout: '' });
    const both = [...args, '--password-command', 'echo x'];
    expectSentence(await home.run(both, { env: NONE }), 2, /not both/);
    const empty = ['login', '--password-file', await passwordFile('\n'), home.jid];
    expectSentence(await home.run(empty, { env: NONE }), 3, /empty password/);
    const failing = ['login', '--password-command', `echo s3cret; exit 1`, home.jid];
    const failed = await home.run(failing, { env: NONE });
    expectSentence(failed, 3, /password command failed/);
    expect(failed.stderr).not.toContain('s3cret');
  });

  test.skipIf(!hasKeyring())(
    'into the keyring: the password is there, and in no file of ours, until logout',
    async () => {
      const script = `
        "$JET" login --keyring ${home.jid}
        unset JET_PASSWORD JET_JID
        "$JET" devices
        "$JET" logout
        echo logged out
        "$JET" login --password-command 'echo x' ${home.jid} || echo refused
        JET_JID=${home.jid} "$JET" devices </dev/null || echo no password
      `;
      const { status, stdout, stderr } = await withKeyring(home, script).ended;
      expect(status, stderr).toBe(0);
      expect(stdout).toMatch(/this device\n[^]*logged out\nrefused\nno password\n$/);
      const saved = await readFile(join(home.home, 'accounts.json'), 'utf8');
      expect(saved).not.toContain(ODD);
      expect(stderr).toContain(`Logged in as ${home.jid}.`);
    },
  );

  test('into a keyring that is not there is an error with a way out, and nothing is saved', async () => {
    const env = { JET_JID: undefined, DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nonexistent' };
    const login = await home.run(['login', '--keyring', home.jid], { env });
    expectSentence(login, 3, /keyring cannot be used.*without --keyring/);
    expect(await home.run(['accounts'], { env: NONE })).toMatchObject({ stdout: '' });
  });

  test.skipIf(!hasScript())('by a prompt that shows nothing', async () => {
    const login = inTerminal(home, ['login', home.jid], { env: NONE });
    await login.said(/Password of alice@jet\.test: /);
    login.child.stdin?.write(`${ODD}\r`);
    const { status, stdout } = await login.ended;
    expect(stdout).toContain('Logged in as alice@jet.test.');
    expect(stdout.slice(stdout.indexOf('Password of'))).not.toContain('密码');
    expect(status).toBe(0);
  });
});

test('two accounts: one has to be chosen', async () => {
  const bob = `bob@${open.domain}`;
  const login = (jid: string, password: string) =>
    home.run(['login', jid], { env: { JET_JID: undefined, JET_PASSWORD: password } });
  expect(await login(home.jid, ODD)).toMatchObject({ status: 0 });
  expect(await login(bob, 'pw-bob')).toMatchObject({ status: 0 });
  const { stdout } = await home.run(['accounts'], { env: NONE });
  expect(stdout).toBe(`${home.jid}\n${bob}\n`);
  expectSentence(await home.run(['devices'], { env: NONE }), 2, /choose one with --account JID/);
  const chosen = await home.run(['devices'], { env: { ...NONE, JET_ACCOUNT: bob } });
  expect(chosen.stdout).toContain(`xmpp:${bob}?`);
  // JET_JID beats JET_ACCOUNT; a flag beats both.
  const beaten = { JET_PASSWORD: undefined, JET_JID: bob, JET_ACCOUNT: home.jid };
  expect((await home.run(['devices'], { env: beaten })).stdout).toContain(`xmpp:${bob}?`);
  const flag = await home.run(['devices', '--account', home.jid], { env: beaten });
  expect(flag.stdout).toContain(`xmpp:${home.jid}?`);
});

test('logout takes the device off the list, as others see it', async () => {
  const watcher = await jetHome(open, 'bob', 'pw-bob');
  expect(await home.run(['login', home.jid])).toMatchObject({ status: 0 });
  const listed = (await home.run(['devices', '--json'])).stdout.split('\n');
  const own = listed.find((line) => line.includes('"own":true')) ?? '';
  const { id } = JSON.parse(own) as { id: number };
  const seen = async () => (await watcher.run(['devices', home.jid])).stdout;
  expect(await seen()).toContain(`${id}  `);
  const out = await home.run(['logout'], { env: NONE });
  expect(out).toMatchObject({
    status: 0,
    stderr: `Took the device ${id} off the account's list.\nLogged out of ${home.jid}.\n`,
  });
  expect(await seen()).not.toContain(`${id}  `);
  expect(await readFile(join(home.home, 'accounts.json'), 'utf8')).not.toContain('alice');
  expectSentence(await home.run(['logout'], { env: NONE }), 3, /No account: run jet login/);
  await watcher.remove();
});

describe('register', () => {
  test('where the server allows', async () => {
    const name = `new${Date.now()}`;
    const made = await jetHome(open, name, ODD);
    const outcome = await made.run(['register', made.jid], { env: { JET_JID: undefined } });
    expect(outcome).toMatchObject({
      status: 0,
      stderr: `Registered and logged in as ${made.jid}.\n`,
    });
    expect(await made.run(['devices'], { env: NONE })).toMatchObject({ status: 0 });
    expectSentence(await made.run(['register', made.jid]), 3, /the name is taken/);
    await made.remove();
  });

  test('where it does not', async () => {
    const closed = await startProsody();
    const nobody = await jetHome(closed, 'nobody', 'pw');
    expectSentence(await nobody.run(['register', nobody.jid]), 3, /lets nobody register/);
    expect(await nobody.run(['accounts'])).toMatchObject({ stdout: '' });
    await nobody.remove();
    await closed.stop();
  });
});

test('contacts are listed, added and removed', async () => {
  const bob = `bob@${open.domain}`;
  expect(await home.run(['contacts', 'add', bob])).toMatchObject({ status: 0, stderr: '' });
  expect((await home.run(['contacts'])).stdout).toMatch(/^bob@jet\.test pending/);
  expect(await home.run(['contacts', 'remove', bob])).toMatchObject({ status: 0 });
  expect((await home.run(['contacts'])).stdout).toBe('');
  expectSentence(await home.run(['contacts', 'remove', bob]), 4, /is not among the contacts/);
});

test.skipIf(process.platform !== 'linux')('a password is in no argument and no child', async () => {
  const command = join(folder, 'environment');
  const args = [
    'login',
    '--password-command',
    `env >'${command}'; cat '${folder}/store'`,
    home.jid,
  ];
  await writeFile(join(folder, 'store'), `${ODD}\n`);
  expect(await home.run(args)).toMatchObject({ status: 0 });
  expect(await readFile(command, 'utf8')).not.toMatch(/JET_PASSWORD|密码/);
  const receive = home.start(['receive', '--json', '--yes']);
  await receive.said(/"waiting"/);
  const line = readFileSync(`/proc/${receive.child.pid ?? 0}/cmdline`, 'utf8');
  receive.child.kill('SIGTERM');
  expect(line).toContain('receive');
  expect(line).not.toContain('密码');
  expect(await receive.ended).toMatchObject({ status: 0 });
});
