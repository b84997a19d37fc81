/** `jet share` and `jet fetch` (XEP-0391 §4.2 between two jets): real processes over a real server. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jetHome, type JetHome, type JetProcess } from '../support/jet.ts';
import { linesOf, noise } from '../support/pair.ts';
import { PASSWORD, terminate } from '../support/people.ts';
import { openStore } from '../../src/store/store.ts';
import { hasProsody, startProsody, type Prosody } from '../support/prosody.ts';

const present = await hasProsody();

describe.skipIf(!present)('a file that is shared', () => {
  let server: Prosody;
  let alice: JetHome;
  let bob: JetHome;
  let carol: JetHome;
  let sharing: JetProcess;
  let folder: string;
  const file = noise(3_000_000);
  const hashOf = (algorithm: string, bytes: Buffer) => createHash(algorithm).update(bytes);
  const sha256 = hashOf('sha256', file).digest('hex');

  beforeAll(async () => {
    server = await startProsody();
    for (const name of ['alice', 'bob', 'carol']) await server.addAccount(name, PASSWORD);
    await server.befriend('alice', 'bob');
    alice = await jetHome(server, 'alice', PASSWORD);
    bob = await jetHome(server, 'bob', PASSWORD);
    carol = await jetHome(server, 'carol', PASSWORD);
    folder = join(bob.home, 'shared');
    await mkdir(join(folder, 'inner'), { recursive: true });
    await writeFile(join(folder, 'big.bin'), file);
    await writeFile(join(folder, 'inner', 'small.txt'), 'hello\n');
    await writeFile(join(folder, 'empty'), '');
    const old = new Date(Date.now() - 60_000);
    for (const name of ['big.bin', 'inner/small.txt', 'empty'])
      await utimes(join(folder, name), old, old);
    sharing = bob.start(['share', folder, '--to', alice.jid]);
    await sharing.said(/big\.bin: jet fetch sha-256:/);
  });
  afterAll(async () => {
    expect(await terminate(sharing)).toBe(0);
    for (const home of [alice, bob, carol]) await home.remove();
    await server.stop();
  });

  const fetch = (...args: string[]) => alice.run(['fetch', ...args]);

  test('is fetched by its hash, verified on both sides', async () => {
    const out = join(alice.home, 'one');
    await mkdir(out);
    const got = await fetch('--out', out, `sha-256:${sha256}`, bob.jid);
    expect(got, got.stderr).toMatchObject({ status: 0, stdout: `${join(out, 'big.bin')}\n` });
    expect(got.stderr).toMatch(/big\.bin from bob@jet\.test: verified, 3\.0 MB/);
    expect((await readFile(join(out, 'big.bin'))).equals(file)).toBe(true);
    await sharing.said(/big\.bin to alice@jet\.test: verified/);
  });

  test.each([
    ['sha256:', (hex: string) => `sha256:${hex}`],
    ['plain hex', (hex: string) => hex.toUpperCase()],
    ['base64', (hex: string) => Buffer.from(hex, 'hex').toString('base64')],
    ['ni: URI', (hex: string) => `ni:///sha-256;${Buffer.from(hex, 'hex').toString('base64url')}`],
  ])('is named by %s, too', async (_form, write) => {
    const out = join(alice.home, `form-${_form.replace(/\W/g, '')}`);
    const got = await fetch('--out', out, write(sha256), bob.jid);
    expect(got, got.stderr).toMatchObject({ status: 0 });
    expect((await readFile(out)).equals(file)).toBe(true);
  });

  test.each(['sha-512', 'sha-1'])('is named by %s', async (algorithm) => {
    const out = join(alice.home, `by-${algorithm}`);
    const hex = hashOf(algorithm.replace('-', ''), file).digest('hex');
    const got = await fetch('--out', out, `${algorithm}:${hex}`, bob.jid);
    expect(got, got.stderr).toMatchObject({ status: 0 });
    expect((await readFile(out)).equals(file)).toBe(true);
  });

  test('goes to a pipe, only data on stdout', async () => {
    const small = hashOf('sha256', Buffer.from('hello\n')).digest('hex');
    const got = await fetch('--stdout', `sha-256:${small}`, bob.jid);
    expect(got, got.stderr).toMatchObject({ status: 0, stdout: 'hello\n' });
    expect(got.stderr).toMatch(/small\.txt from bob@jet\.test: verified/);
    const json = await fetch('--json', '--stdout', `sha-256:${small}`, bob.jid);
    expect(json.stdout).toBe('hello\n');
    expect(linesOf(json.stderr).at(-1)).toMatchObject({ event: 'end', status: 'verified' });
  });

  test('is empty as well as it is large', async () => {
    const out = join(alice.home, 'nothing');
    const got = await fetch(
      '--out',
      out,
      `sha-256:${hashOf('sha256', Buffer.alloc(0)).digest('hex')}`,
      bob.jid,
    );
    expect(got, got.stderr).toMatchObject({ status: 0 });
    expect((await readFile(out)).length).toBe(0);
  });

  test.each([
    ['1000000-1999999', 1_000_000, 2_000_000],
    ['2999990-', 2_999_990, 3_000_000],
    ['0-0', 0, 1],
    ['2999999-9999999', 2_999_999, 3_000_000],
  ])('gives its bytes %s, and says that it is a part', async (range, from, to) => {
    const out = join(alice.home, `range-${range}`);
    const got = await fetch('--range', range, '--out', out, `sha-256:${sha256}`, bob.jid);
    expect(got, got.stderr).toMatchObject({ status: 0 });
    expect((await readFile(out)).equals(file.subarray(from, to))).toBe(true);
    expect(got.stderr).toMatch(/bytes \d+ to \d+ of 3\.0 MB/);
  });

  test('has no bytes behind its end', async () => {
    const out = join(alice.home, 'behind');
    const got = await fetch('--range', '3000001-', '--out', out, `sha-256:${sha256}`, bob.jid);
    expect(got).toMatchObject({ status: 9, stdout: '' });
  });

  test('is listed for those who may have it', async () => {
    const got = await fetch('--list', bob.jid);
    expect(got, got.stderr).toMatchObject({ status: 0 });
    const lines = got.stdout.trimEnd().split('\n');
    expect(lines.map((line) => line.split('  ').at(-1)).sort()).toEqual([
      ...['shared/big.bin', 'shared/empty', 'shared/inner/small.txt'],
    ]);
    expect(got.stdout).toContain(`sha-256:${sha256}  `);
  });

  test('of several one that is not there does not keep the others away', async () => {
    const out = join(alice.home, 'several');
    await mkdir(out);
    const small = hashOf('sha256', Buffer.from('hello\n')).digest('hex');
    const none = 'ab'.repeat(32);
    const got = await fetch('--out', out, none, small, sha256, bob.jid);
    expect(got.status).toBe(10);
    expect(got.stderr).toMatch(/has no such file, or does not share it with you/);
    expect((await readdir(out)).sort()).toEqual(['big.bin', 'small.txt']);
  });

  test('a file that is not there is one clear sentence', async () => {
    const got = await fetch('--out', join(alice.home, 'none'), 'ab'.repeat(32), bob.jid);
    expect(got).toMatchObject({ status: 9, stdout: '' });
    expect(got.stderr).toMatch(
      /^jet: .*bob@jet\.test.* has no such file, or does not share it with you.*\.$/m,
    );
    expect(await readdir(alice.home)).not.toContain('none');
  });

  test('a stranger is not even told that somebody is there', async () => {
    const got = await carol.run(['fetch', '--wait', '3', sha256, bob.jid]);
    expect(got).toMatchObject({ status: 4, stdout: '' });
    expect(got.stderr).toMatch(/is not online, or does not wait for you/);
  });

  test('one that changed since is not served', async () => {
    const path = join(carol.home, 'changing');
    await writeFile(path, 'before');
    const old = new Date(Date.now() - 60_000);
    await utimes(path, old, old);
    const process = carol.start(['share', path, '--to', alice.jid]);
    await process.said(/changing: jet fetch/);
    await writeFile(path, 'after!');
    const hash = hashOf('sha256', Buffer.from('before')).digest('hex');
    const got = await fetch('--out', join(alice.home, 'changed'), hash, carol.jid);
    expect(got, got.stderr).toMatchObject({ status: 9 });
    expect(process.stderr).toMatch(
      /Refused a request of alice@jet\.test: .*changing is not the file any more .*[^.]\.$/m,
    );
    expect(await terminate(process)).toBe(0);
  });

  test('one that is not what it was hashed as lands nowhere', async () => {
    await server.addAccount('dave', PASSWORD);
    await server.befriend('alice', 'dave');
    const dave = await jetHome(server, 'dave', PASSWORD);
    const rotten = join(dave.home, 'rotten.bin');
    await writeFile(rotten, noise(1_000_000));
    // What has just changed is not remembered.
    await sleep(2_500);
    const share = async () => {
      const running = dave.start(['share', rotten, '--to', alice.jid]);
      await running.said(/rotten\.bin: jet fetch sha-256:/);
      return running;
    };
    expect(await terminate(await share())).toBe(0);
    // As a disk would have it that has lost a bit, and nothing else of the file.
    const other = hashOf('sha256', Buffer.from('another')).digest();
    const store = openStore(join(dave.home, 'jet.db'), []);
    expect(store.run('UPDATE file_hash SET sha256 = ?', other)).toBe(1);
    store.close();
    const serving = await share();
    const out = join(alice.home, 'rotten');
    await mkdir(out);
    const got = await fetch('--out', out, `sha-256:${other.toString('hex')}`, dave.jid);
    expect(got.status, got.stderr).toBe(6);
    expect(got.stderr).toMatch(/rotten\.bin.*(?:hash|SHA-256)/s);
    expect(await readdir(out)).toEqual([]);
    expect(await terminate(serving)).toBe(0);
    await dave.remove();
  });

  test('what there is nothing of is shared with nobody, and a login that fails is told before', async () => {
    const missing = ['share', join(carol.home, 'missing'), '--to', alice.jid];
    const got = await carol.run(missing);
    expect(got).toMatchObject({ status: 8, stdout: '' });
    expect(got.stderr).toMatch(/missing: .*ENOENT/);
    expect(got.stderr).toMatch(/^jet: None of these can be shared\./m);
    const stranger = await carol.run(missing, { env: { JET_PASSWORD: 'wrong' } });
    expect(stranger).toMatchObject({ status: 3, stdout: '' });
    expect(stranger.stderr).not.toContain('None of these');
  });

  test('what would be hashed for hours is let go when the login fails, and when it is ended', async () => {
    const path = join(carol.home, 'sparse');
    await writeFile(path, '');
    await truncate(path, 4e12);
    const share = ['share', '--json', path, '--to', alice.jid];
    const refused = await carol.run(share, { env: { JET_PASSWORD: 'wrong' } });
    expect(refused).toMatchObject({ status: 3 });
    const process = carol.start(share);
    await process.said(/"event":"waiting".*the hashes of what is shared/);
    process.child.kill('SIGTERM');
    const ended = await process.ended;
    expect(ended).toMatchObject({ signal: 'SIGTERM', status: null });
    expect(ended.stdout).not.toMatch(/"sha256"|"error"/);
    await rm(path);
  });

  test('each of many has its line, once', async () => {
    const many = join(carol.home, 'many');
    await mkdir(many);
    const names = Array.from({ length: 2_500 }, (_, i) => `file-${i}`);
    for (const name of names) await writeFile(join(many, name), name);
    const process = carol.start(['share', many, join(many, 'file-7'), '--to', alice.jid]);
    await process.until(() => process.stdout.split('\n').length > names.length);
    expect(await terminate(process)).toBe(0);
    const [line = ''] = process.stdout.split('\n');
    const address = /'xmpp:carol@jet\.test\?omemo-sid-[0-9]+=[0-9a-f]{64}'/.exec(line)?.[0];
    expect(address).toBeDefined();
    const lineOf = (name: string) =>
      `${name.replace(/^(?!file-7$)/, 'many/')}: jet fetch sha-256:${hashOf('sha256', Buffer.from(name.slice(name.indexOf('/') + 1))).digest('hex')} ${address ?? ''}`;
    expect(process.stdout.trimEnd().split('\n').sort()).toEqual(names.map(lineOf).sort());
  });
});
