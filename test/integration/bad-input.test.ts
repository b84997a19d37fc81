/** Whatever is wrong gets one sentence that says what to do, and the documented exit status. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectSentence, withoutTrust } from '../support/errors.ts';
import { jetHome, type JetHome } from '../support/jet.ts';
import { otherClient } from '../support/other-client.ts';
import { startProsody, type Prosody } from '../support/prosody.ts';

const BIN = new URL('../../bin/jet', import.meta.url).pathname;
const ROOT = process.getuid?.() === 0;
const NOBODY = 65_534;
/** Root may write everywhere: it is tried as somebody else, where that one can run the program at all. */
const somebodyElse = ROOT && canRunAs(NOBODY);

function canRunAs(uid: number): boolean {
  try {
    execFileSync(process.execPath, [BIN, '--version'], { uid, stdio: 'ignore', cwd: '/' });
    execFileSync('test', ['-r', new URL('../../src/app.ts', import.meta.url).pathname], { uid });
    return true;
  } catch {
    return false;
  }
}

function smallDisk(): string | undefined {
  if (!ROOT || process.platform !== 'linux') return undefined;
  const folder = execFileSync('mktemp', ['-d'], { encoding: 'utf8' }).trim();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', folder], { stdio: 'ignore' });
    return folder;
  } catch {
    return undefined;
  }
}

let server: Prosody;
let folder: string;
let alice: JetHome;
let bob: JetHome;
let file: string;
const disk = smallDisk();

beforeAll(async () => {
  server = await startProsody();
  folder = await mkdtemp(join(tmpdir(), 'jet-bad-'));
  for (const name of ['alice', 'bob', 'carol', 'dave']) await server.addAccount(name, `pw-${name}`);
  for (const name of ['bob', 'carol', 'dave']) await server.befriend('alice', name);
  alice = await jetHome(server, 'alice', 'pw-alice');
  bob = await jetHome(server, 'bob', 'pw-bob');
  file = join(folder, 'report.pdf');
  await writeFile(file, randomBytes(300_001));
});

afterAll(async () => {
  if (disk !== undefined) {
    execFileSync('umount', [disk]);
    await rm(disk, { recursive: true });
  }
  await alice.remove();
  await bob.remove();
  await rm(folder, { recursive: true, force: true });
  await server.stop();
});

/** Everything in a folder, by name. */
const listed = async (path: string) => (await readdir(path)).sort();

async function fresh(name: string): Promise<string> {
  const path = join(folder, name);
  await mkdir(path);
  return path;
}

/** The server's folder is closed to other users. */
async function readableCa(): Promise<string> {
  const path = join(folder, 'ca.crt');
  await writeFile(path, await readFile(server.caFile), { mode: 0o644 });
  return path;
}

/** Sends while the other side receives once. */
function transfer(
  out: string,
  how: { receive?: string[]; send?: string[]; source?: string; uid?: number } = {},
) {
  const receive = bob.start(
    ['receive', '--quiet', '--yes', '--once', '--out', out, ...(how.receive ?? [])],
    how.uid === undefined ? {} : { uid: how.uid },
  );
  const send = alice.start(['send', '--quiet', ...(how.send ?? []), how.source ?? file, bob.jid]);
  return { receive, send };
}

describe('on this side, before anything is connected', () => {
  test.for<[string, string[], number, RegExp]>([
    [
      'a missing file',
      ['send', 'gone.txt', 'bob@jet.test'],
      8,
      /gone\.txt does not exist\. Check the name/,
    ],
    ['a device', ['send', '/dev/null', 'bob@jet.test'], 8, /not a regular file/],
    ['a path through a file', ['send', 'config/x', 'bob@jet.test'], 8, /config\/x/],
    ['a JID that is none', ['send', 'FILE', 'bob@'], 2, /"bob@" is not an XMPP address/],
    ['a JID without @', ['send', 'FILE', 'bob'], 2, /"bob" is not an XMPP address/],
    ['no folder to receive in', ['receive', '--yes', '--out', 'gone'], 8, /gone is not a folder/],
    ['a file to receive in', ['receive', '--yes', '--out', 'FILE'], 8, /is not a folder/],
    ['a sender that is none', ['receive', '--yes', 'alice'], 2, /"alice" is not an XMPP address/],
    ['a CA file that is not there', ['--ca-file', 'gone.pem', 'devices'], 2, /gone\.pem/],
    ['a CA file that is none', ['--ca-file', 'FILE', 'devices'], 2, /report\.pdf/],
    ['a route that is none', ['send', '--route', 'carrier', 'FILE', 'bob@jet.test'], 2, /--route/],
  ])('%s', async ([, args, status, sentence]) => {
    let connections = 0;
    const nothing = createServer((socket) => {
      connections += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => nothing.listen(0, '127.0.0.1', resolve));
    const { port } = nothing.address() as AddressInfo;
    await writeFile(join(alice.home, 'config'), '');
    const outcome = await alice.run(
      args.map((arg) => (arg === 'FILE' ? file : arg)),
      { env: { JET_SERVER: `127.0.0.1:${port}` } },
    );
    await new Promise((resolve) => nothing.close(resolve));
    expectSentence(outcome, status, sentence);
    expect(connections).toBe(0);
  });

  test('a broken configuration file', async () => {
    const home = await jetHome(server, 'alice', 'pw-alice');
    await writeFile(join(home.home, 'config.toml'), 'wait = 3\nroute = [\n');
    expectSentence(await home.run(['devices']), 2, /config\.toml, line [23]: /);
    await writeFile(join(home.home, 'config.toml'), 'wait = 3\nsecret = "x"\n');
    expectSentence(await home.run(['devices']), 2, /line 2: "secret" is no setting/);
    await writeFile(join(home.home, 'config.toml'), Buffer.from([0xff, 0xfe, 0, 1]));
    expectSentence(await home.run(['devices']), 2, /config\.toml/);
    await rm(join(home.home, 'config.toml'));
    await mkdir(join(home.home, 'config.toml'));
    expectSentence(await home.run(['devices']), 2, /config\.toml/);
    await home.remove();
  });

  test('a broken file of accounts, a broken store', async () => {
    const home = await jetHome(server, 'alice', 'pw-alice');
    await writeFile(join(home.home, 'accounts.json'), '{"accounts": 3');
    expectSentence(await home.run(['accounts']), 3, /accounts\.json is damaged/);
    await rm(join(home.home, 'accounts.json'));
    await writeFile(join(home.home, 'jet.db'), randomBytes(8192));
    expectSentence(await home.run(['devices']), 8, /jet\.db/);
    await home.remove();
  });

  test.skipIf(ROOT && !somebodyElse)(
    'an unreadable file or folder, a read-only folder',
    async () => {
      const home = await jetHome(server, 'alice', 'pw-alice');
      const as = ROOT ? { uid: NOBODY, cwd: '/' } : { cwd: '/' };
      const secret = join(folder, 'unreadable.txt');
      const shut = await fresh('read-only');
      await writeFile(secret, 'x');
      chmodSync(secret, 0);
      chmodSync(shut, 0o555);
      chmodSync(folder, 0o755);
      if (ROOT) chownSync(home.home, NOBODY, NOBODY);
      const env = { JET_SERVER: '127.0.0.1:1', JET_CA_FILE: await readableCa() };
      const sent = await home.run(['send', secret, bob.jid], { ...as, env });
      expectSentence(sent, 8, /unreadable\.txt may not be read\. Change its permissions/);
      const closed = await fresh('closed');
      await writeFile(join(closed, 'inside.txt'), 'x');
      chmodSync(closed, 0);
      const folderSent = await home.run(['send', closed, bob.jid], { ...as, env });
      expectSentence(folderSent, 8, /closed could not be read.*Name a folder that you may read/);
      const within = await home.run(['send', join(closed, 'inside.txt'), bob.jid], { ...as, env });
      expectSentence(within, 8, /inside\.txt may not be read/);
      chmodSync(closed, 0o700);
      const received = await home.run(['receive', '--yes', '--out', shut], { ...as, env });
      expectSentence(received, 8, /read-only.*(?:written|writable)/);
      chmodSync(secret, 0o600);
      chmodSync(home.home, 0o555);
      if (ROOT) chownSync(home.home, 0, 0);
      expectSentence(await home.run(['devices'], { ...as, env }), 8, /Cannot use the folder/);
      chmodSync(home.home, 0o700);
      chmodSync(shut, 0o755);
      await home.remove();
    },
  );
});

describe('the server', () => {
  test('a wrong password', async () => {
    const outcome = await alice.run(['send', file, bob.jid], { env: { JET_PASSWORD: 'wröng' } });
    expectSentence(outcome, 3, /refuses the password of alice@jet\.test/);
    expect(outcome.stderr).not.toContain('wröng');
  });

  test('an untrusted certificate', async () => {
    const other = await startProsody();
    const outcome = await alice.run(['devices'], { env: { JET_CA_FILE: other.caFile } });
    await other.stop();
    expectSentence(outcome, 3, /certificate of .* is not trusted for jet\.test.*JET_CA_FILE/);
  });

  test('a certificate for another name', async () => {
    const outcome = await alice.run(['devices'], { env: { JET_JID: 'alice@other.test' } });
    expectSentence(outcome, 3, /certificate of .* is not trusted for other\.test|other\.test/);
  });

  test('one that is down', async () => {
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    const env = { JET_SERVER: `127.0.0.1:${port}` };
    const outcome = await alice.run(['send', file, bob.jid], { env });
    expectSentence(outcome, 3, /server of jet\.test cannot be reached/);
  });

  test('one that hangs up', async () => {
    const rude = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => rude.listen(0, '127.0.0.1', resolve));
    const { port } = rude.address() as AddressInfo;
    const env = { JET_SERVER: `127.0.0.1:${port}` };
    const outcome = await alice.run(['devices'], { env });
    await new Promise((resolve) => rude.close(resolve));
    expectSentence(outcome, 3, /server of jet\.test cannot be reached/);
  });
});

describe('the other side', () => {
  test('is offline', async () => {
    const outcome = await alice.run(['send', '--quiet', '--wait', '1', file, 'dave@jet.test']);
    expectSentence(outcome, 4, /dave@jet\.test is not online.*jet receive/);
  });

  test('is nobody', async () => {
    const outcome = await alice.run(['send', '--quiet', '--wait', '1', file, 'nobody@jet.test']);
    expectSentence(outcome, 4, /nobody@jet\.test is not online/);
  });

  test('is online with another client', async () => {
    const end = await otherClient({
      ...{ server, name: 'carol', password: 'pw-carol', software: 'Gajim' },
      features: ['urn:xmpp:jingle:1', 'urn:xmpp:jingle:apps:file-transfer:5'],
    });
    const outcome = await alice.run(['send', '--quiet', '--wait', '3', file, 'carol@jet.test']);
    await end();
    expectSentence(outcome, 4, /carol@jet\.test is online with Gajim, which cannot receive/);
  });

  test('knows JET but has no OMEMO keys', async () => {
    const end = await otherClient({
      ...{ server, name: 'carol', password: 'pw-carol', software: 'Other' },
      features: [
        ...['urn:xmpp:jingle:1', 'urn:xmpp:jingle:apps:file-transfer:5'],
        ...['urn:xmpp:jingle:jet:0', 'urn:xmpp:jingle:jet-omemo:0'],
        ...['urn:xmpp:ciphers:aes-128-gcm-nopadding', 'urn:xmpp:jingle:transports:ibb:1'],
      ],
    });
    const outcome = await alice.run(['send', '--quiet', '--wait', '10', file, 'carol@jet.test']);
    await end();
    expectSentence(outcome, 6, /carol@jet\.test.*(?:device|key)/);
  });

  test('declines', async () => {
    const out = await fresh('declines');
    const { receive, send } = transfer(out, { receive: ['--max-size', '1k', '--json'] });
    expectSentence(await send.ended, 9, /report\.pdf was not sent to bob@jet\.test/);
    await receive.said(/offer-refused/);
    receive.child.kill('SIGTERM');
    const received = await receive.ended;
    expect([received.status, withoutTrust(received.stderr)]).toEqual([0, '']);
    expect(await listed(out)).toEqual([]);
  });

  test('has the name already, and is told to fail', async () => {
    const out = await fresh('taken');
    await writeFile(join(out, 'report.pdf'), 'mine');
    const { receive, send } = transfer(out, { receive: ['--on-conflict', 'fail'] });
    expectSentence(await send.ended, 9, /report\.pdf was not sent to bob@jet\.test/);
    expectSentence(await receive.ended, 8, /exists already/);
    expect(await readFile(join(out, 'report.pdf'), 'utf8')).toBe('mine');
    expect(await listed(out)).toEqual(['report.pdf']);
  });

  test('cannot write to its folder any more', async ({ skip }) => {
    if (ROOT && !somebodyElse) skip('no other user can run the program here');
    const out = await fresh('becomes-read-only');
    chmodSync(folder, 0o755);
    const home = await jetHome(server, 'bob', 'pw-bob');
    if (ROOT) for (const path of [home.home, out]) chownSync(path, NOBODY, NOBODY);
    const receive = home.start(
      ['receive', '--json', '--quiet', '--yes', '--once', '--out', out],
      ROOT ? { uid: NOBODY, cwd: '/', env: { JET_CA_FILE: await readableCa() } } : {},
    );
    await receive.said(/"waiting"/);
    chmodSync(out, 0o555);
    // A new device of bob beside the pinned one: a first contact of a sender who knows neither.
    const sender = await jetHome(server, 'alice', 'pw-alice');
    const sent = await sender.run(['send', '--quiet', file, bob.jid]);
    expectSentence(sent, 9, /report\.pdf was not sent to bob@jet\.test/);
    const received = await receive.ended;
    expectSentence({ ...received, stdout: '' }, 8, /becomes-read-only may not be written to/);
    chmodSync(out, 0o755);
    expect(await listed(out)).toEqual([]);
    await sender.remove();
    await home.remove();
  });

  test.skipIf(disk === undefined)('has a full disk before the first byte', async () => {
    const large = join(folder, 'large.bin');
    await writeFile(large, Buffer.alloc(9_000_000));
    const { receive, send } = transfer(disk ?? '', { source: large });
    expectSentence(await send.ended, 9, /other side has no room for the file/);
    expectSentence(await receive.ended, 8, /bytes free, and 9000000 are needed\. Free some/);
    expect(await listed(disk ?? '')).toEqual([]);
  });

  test.skipIf(disk === undefined)('has a disk that fills up meanwhile', async () => {
    const source = join(folder, 'growing.bin');
    await writeFile(source, randomBytes(6_000_000));
    const { receive, send } = transfer(disk ?? '', {
      source,
      send: ['--limit-rate', '2M'],
      receive: ['--json'],
    });
    await receive.said(/"progress"/);
    await writeFile(join(disk ?? '', 'other'), Buffer.alloc(5_000_000)).catch(() => undefined);
    expectSentence(await send.ended, 9, /other side has no room for the file/);
    expectSentence({ ...(await receive.ended), stdout: '' }, 8, /no space was left to write/);
    // What has come stays for `jet resume`; nothing has the file's name.
    expect(await listed(disk ?? '')).toEqual(['growing.bin.jet-part', 'other']);
  });
});

test('two receivers in one folder do not touch each other', async () => {
  const out = await fresh('shared');
  const args = ['receive', '--json', '--yes', '--once', '--out', out];
  const dave = await jetHome(server, 'dave', 'pw-dave');
  const receivers = [bob.start(args), dave.start(args)];
  await Promise.all(receivers.map((receiver) => receiver.said(/"waiting"/)));
  const sources: string[] = [];
  for (const name of ['one', 'two']) {
    const source = join(await fresh(name), 'same.bin');
    await writeFile(source, randomBytes(2_000_000));
    sources.push(source);
  }
  const sent = await Promise.all(
    [bob.jid, dave.jid].map((jid, index) =>
      alice.run(['send', '--limit-rate', '2M', sources[index] ?? '', jid]),
    ),
  );
  expect(sent).toMatchObject([{ status: 0 }, { status: 0 }]);
  for (const [index, receiver] of receivers.entries()) {
    const { status, stdout } = await receiver.ended;
    expect(status).toBe(0);
    const end = stdout.split('\n').find((line) => line.includes('"event":"end"')) ?? '';
    const { file: landed } = JSON.parse(end) as { file: string };
    expect((await readFile(landed)).equals(await readFile(sources[index] ?? ''))).toBe(true);
  }
  expect(await listed(out)).toEqual(['same (1).bin', 'same.bin']);
  await dave.remove();
});
