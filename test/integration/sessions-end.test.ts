/** How a transfer ends when somebody or something ends it, by real processes over a real server. */
import { spawn } from 'node:child_process';
import { readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { JetProcess } from '../support/jet.ts';
import { freshPairs } from '../support/fresh-pairs.ts';
import { ended, makePair, midway, noise, type Pair } from '../support/pair.ts';
import { hasProsody, startProsody, type Prosody } from '../support/prosody.ts';

const present = await hasProsody();
/** So slow that a transfer of `SIZE` bytes is under way for ten seconds. */
const SLOW = ['--limit-rate', '300k'];
const SIZE = 3_000_000;
const BIN = new URL('../../bin/jet', import.meta.url).pathname;

describe.skipIf(!present)('an end', () => {
  let server: Prosody;
  let pair: Pair;
  let file: string;
  freshPairs(async (made, its) => {
    pair = made;
    server = its;
    file = await pair.file('file.bin', noise(SIZE));
  });

  /** A transfer that is under way. */
  async function underWay(...args: string[]) {
    const receiver = pair.receive(['--once', '--wait', '15']);
    const sender = pair.send(file, [...SLOW, '--wait', '20', ...args]);
    await Promise.all([midway(sender), midway(receiver)]);
    return { sender, receiver };
  }

  it.each(['direct', 'proxy', 'ibb'])('Ctrl-C at the sender, %s', async (route) => {
    const { sender, receiver } = await underWay('--route', route);
    sender.child.kill('SIGINT');
    const [sent, received] = await Promise.all([ended(sender), ended(receiver)]);
    expect(sent.signal).toBe('SIGINT');
    expect(sent.event('end')).toMatchObject({ status: 'interrupted' });
    expect(sent.stderr).toMatch(/Cancelled: .* did not get file\.bin/);
    expect(received.status, received.stderr).toBe(7);
    expect(received.stderr).toMatch(/the other side cancelled the transfer/);
    expect(await pair.landed()).toEqual(['file.bin.jet-part']);
  });

  it.each(['direct', 'proxy', 'ibb'])('Ctrl-C at the receiver, %s', async (route) => {
    const { sender, receiver } = await underWay('--route', route);
    receiver.child.kill('SIGINT');
    const [sent, received] = await Promise.all([ended(sender), ended(receiver)]);
    expect(received.signal).toBe('SIGINT');
    expect(received.event('end')).toMatchObject({ status: 'interrupted' });
    expect(received.stderr).toMatch(/what has come is kept/);
    expect(sent.status, sent.stderr).toBe(7);
    expect(sent.stderr).toMatch(/the other side cancelled the transfer/);
    expect(await pair.landed()).toEqual(['file.bin.jet-part']);
  });

  it('Ctrl-C twice ends at once', async () => {
    const { sender, receiver } = await underWay();
    sender.child.kill('SIGINT');
    sender.child.kill('SIGINT');
    expect((await ended(sender)).signal).toBe('SIGINT');
    expect((await ended(receiver)).status).toBe(7);
    expect(await pair.landed()).toEqual(['file.bin.jet-part']);
  });

  it('SIGKILL of the sender', async () => {
    const { sender, receiver } = await underWay();
    sender.child.kill('SIGKILL');
    const received = await ended(receiver);
    expect(received.status, received.stderr).toBe(7);
    expect(received.stderr).toMatch(/the connection to the other side broke|went offline/);
    expect(await pair.landed()).toEqual(['file.bin.jet-part']);
  });

  it('SIGKILL of the receiver', async () => {
    const { sender, receiver } = await underWay();
    receiver.child.kill('SIGKILL');
    await receiver.ended;
    const sent = await ended(sender);
    expect(sent.status, sent.stderr).toBe(7);
    expect(sent.stderr).toMatch(/the connection to the other side broke|went offline/);
    // The part of a process that was killed stays; the name is not taken.
    expect(await pair.landed()).not.toContain('file.bin');
  });

  it.each([
    ['is cut short', (path: string) => truncate(path, 1_000_000)],
    ['is written to', (path: string) => writeFile(path, noise(SIZE))],
    ['grows', (path: string) => writeFile(path, noise(10), { flag: 'a' })],
  ])('the file %s while it is sent', async (_, change) => {
    const { sender, receiver } = await underWay();
    await change(file);
    const [sent, received] = await Promise.all([ended(sender), ended(receiver)]);
    expect(sent.status, sent.stderr).toBe(8);
    expect(sent.stderr).toMatch(/was changed while it was being sent/);
    expect(received.status, received.stderr).toBe(9);
    expect(received.stderr).toMatch(/could not go on with the file on its side/);
    expect(await pair.landed()).toEqual([]);
  });

  it('the wait for an offer is over while its bytes are still coming: they may', async () => {
    const sender = pair.send(file, SLOW);
    await sender.said(/"event":"waiting"/);
    const receiver = pair.receive(['--once', '--wait', '7']);
    const [sent, received] = await Promise.all([ended(sender), ended(receiver)]);
    expect([sent.status, received.status], sent.stderr + received.stderr).toEqual([0, 0]);
    expect(received.event('end')?.['elapsed']).toBeGreaterThan(7000);
  });

  it('a person says no', async () => {
    const { bob, out } = pair;
    const env = {
      PATH: process.env['PATH'],
      HOME: bob.home,
      JET_HOME: bob.home,
      JET_JID: bob.jid,
      JET_PASSWORD: 'secret-b',
      JET_SERVER: `127.0.0.1:${server.port}`,
      JET_CA_FILE: server.caFile,
    };
    // A terminal of its own: the question is asked there, whatever stdin is.
    const command = `exec "${BIN}" receive --out "${out}"`;
    const terminal = spawn('script', ['-qefc', command, '/dev/null'], {
      env,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const receiver = new JetProcess(terminal, 60_000);
    const sender = pair.send(file);
    await receiver.said(/Accept\?/);
    terminal.stdin.write('n\n');
    const sent = await ended(sender);
    expect(sent.status, sent.stderr).toBe(5);
    expect(sent.stderr).toMatch(/declined file\.bin/);
    await receiver.said(/You declined/);
    terminal.kill('SIGTERM');
    await receiver.ended;
    expect(await pair.landed()).toEqual([]);
  });
});

describe.skipIf(!present)('what is there already, and what is too large', () => {
  let pair: Pair;
  const old = Buffer.from('old');
  const fresh = Buffer.from('fresh');
  let file: string;
  freshPairs(async (made) => {
    pair = made;
    file = await pair.file('note.txt', fresh);
    await writeFile(join(pair.out, 'note.txt'), old);
  });
  const content = (name: string) => readFile(join(pair.out, name));

  it('rename keeps both', async () => {
    const { sent, received } = await pair.exchange(file);
    expect([sent.status, received.status]).toEqual([0, 0]);
    expect((await pair.landed()).sort()).toEqual(['note (1).txt', 'note.txt']);
    expect(await content('note.txt')).toEqual(old);
    expect(await content('note (1).txt')).toEqual(fresh);
    expect(received.event('end')?.['file']).toBe(join(pair.out, 'note (1).txt'));
  });

  it('overwrite replaces it, and only it', async () => {
    await symlink(join(pair.out, 'note.txt'), join(pair.out, 'link.txt'));
    const link = await pair.file('link.txt', fresh);
    const { sent, received } = await pair.exchange(link, {
      receive: ['--on-conflict', 'overwrite'],
    });
    expect([sent.status, received.status]).toEqual([0, 0]);
    expect(await content('link.txt')).toEqual(fresh);
    // What a link pointed to is left alone.
    expect(await content('note.txt')).toEqual(old);
  });

  it('skip declines and waits on', async () => {
    const receiver = pair.receive(['--on-conflict', 'skip', '--once']);
    const skipped = await ended(pair.send(file));
    expect(skipped.status, skipped.stderr).toBe(5);
    expect(await content('note.txt')).toEqual(old);
    const other = await ended(pair.send(await pair.file('other.txt', fresh)));
    expect(other.status).toBe(0);
    expect((await ended(receiver)).status).toBe(0);
    expect((await pair.landed()).sort()).toEqual(['note.txt', 'other.txt']);
  });

  it('fail ends with the status of a local file', async () => {
    const { sent, received } = await pair.exchange(file, { receive: ['--on-conflict', 'fail'] });
    expect([sent.status, received.status]).toEqual([9, 8]);
    expect(received.stderr).toMatch(/note\.txt exists already/);
    expect(await content('note.txt')).toEqual(old);
    expect(await pair.landed()).toEqual(['note.txt']);
  });

  it('--max-size refuses, with a sentence on both sides', async () => {
    const receiver = pair.receive(['--max-size', '4']);
    const sent = await ended(pair.send(file));
    expect(sent.status).toBe(9);
    expect(sent.stderr).toMatch(/takes none of this size/);
    await receiver.said(/larger than --max-size/);
    receiver.child.kill('SIGTERM');
    expect((await ended(receiver)).status).toBe(0);
    expect(await pair.landed()).toEqual(['note.txt']);
  });
});

describe.skipIf(!present)('the server', () => {
  it('is killed and comes back while bytes flow past it: the file lands all the same', async () => {
    const server = await startProsody();
    const pair = await makePair(server);
    const file = await pair.file('file.bin', noise(SIZE));
    const receiver = pair.receive(['--once']);
    const sender = pair.send(file, SLOW);
    await Promise.all([midway(sender), midway(receiver)]);
    await server.crash();
    await server.restart();
    const [sent, received] = await Promise.all([ended(sender), ended(receiver)]);
    // The bytes go on without it; both come back with the same address before the farewell.
    expect([sent.status, received.status], sent.stderr + received.stderr).toEqual([0, 0]);
    expect(sent.event('end')).toMatchObject({ status: 'verified' });
    expect(await pair.landed()).toEqual(['file.bin']);
    await pair.remove();
    await server.stop();
  });
});
