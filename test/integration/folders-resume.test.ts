/** A folder that was interrupted is gone on with, from either side: real processes over a real server. */
import {
  chmod,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { durable, interruptMidway, RATE, waitsForAny, written } from '../support/interrupting.ts';
import type { JetHome } from '../support/jet.ts';
import { freshPairs } from '../support/fresh-pairs.ts';
import { ended, linesOf, noise, type Pair } from '../support/pair.ts';
import { terminate } from '../support/people.ts';
import { BOUND, canBind } from '../support/permissions.ts';
import { hasProsody } from '../support/prosody.ts';

const LEAST = 1_500_000;
const HOW = { rate: '800k', least: LEAST };
/** The part of the first large file, by its number. */
const LARGE_PART = '22.jet-part';
const MANY = 1500;

describe.skipIf(!(await hasProsody()))('a folder that was interrupted', () => {
  let pair: Pair;
  let root: string;
  let contents: Map<string, Buffer>;

  freshPairs(async (made) => {
    pair = made;
    contents = new Map([
      ['a/empty', Buffer.alloc(0)],
      // Small ones, which stand together, on both sides of large ones.
      ...Array.from({ length: 20 }, (_, n) => [`a/small ${n}`, noise(30_000 + n)] as const),
      ['b', noise(1_000_000)],
      ['c/d/large', noise(4_000_001)],
      ...Array.from({ length: 10 }, (_, n) => [`z/small ${n}`, noise(30_000)] as const),
    ]);
    root = dirname(await pair.file('from/photos/.keep', Buffer.alloc(0)));
    for (const [name, bytes] of contents) await make(name, bytes);
    await mkdir(join(root, 'nothing in it'));
  });

  const make = async (name: string, bytes: Buffer) => {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), bytes);
  };
  const interrupt = (victim: 'sender' | 'receiver') => interruptMidway(pair, root, victim, HOW);
  const waits = (home: JetHome) => waitsForAny(home, pair.out);
  const resume = (home: JetHome, ...ids: string[]) =>
    ended(home.start(['resume', '--json', ...ids]));
  const staging = () => join(pair.out, 'photos.jet-part');
  /** The folder and nothing else lies there, with all that is in it. */
  const landed = async () => {
    expect(await pair.landed()).toEqual(['photos']);
    const there = await readdir(join(pair.out, 'photos'), { recursive: true });
    expect(there.sort()).toEqual((await readdir(root, { recursive: true })).sort());
    for (const [name, bytes] of contents) {
      const path = join(pair.out, 'photos', name);
      expect((await readFile(path)).equals(bytes), name).toBe(true);
      expect((await lstat(path)).nlink, name).toBe(1);
    }
  };

  test.each([
    ['sender', 'receiver', 'bob', 'alice'],
    ['receiver', 'receiver', 'bob', 'alice'],
    ['sender', 'sender', 'alice', 'bob'],
    ['receiver', 'sender', 'alice', 'bob'],
  ] as const)(
    'by a kill of the %s goes on from where it was, by the %s',
    async (victim, _, who, other) => {
      await interrupt(victim);
      const reached = written(pair.bob);
      expect(await pair.landed()).toEqual(['photos.jet-part']);
      expect((await lstat(staging())).mode & 0o777).toBe(0o700);
      const waiting = await waits(pair[other]);
      const got = await resume(pair[who]);
      expect(got, got.stdout + got.stderr).toMatchObject({ status: 0 });
      // A direct write has whole blocks: the last one is written again.
      expect(Number(got.event('start')?.['resumed_from'])).toBeGreaterThan(reached - 4096);
      expect(got.event('end')).toMatchObject({ status: 'verified' });
      await landed();
      await waiting.said(/"status":"verified"/);
      expect(await terminate(waiting)).toBe(0);
      for (const home of [pair.alice, pair.bob])
        expect(await home.run(['resume', '--list'])).toMatchObject({ status: 0, stdout: '' });
    },
  );

  test('is repaired by the command that sends, when the receiver comes back', async () => {
    const receiver = pair.receive();
    await receiver.said(/"event":"waiting"/);
    const sender = pair.send(root, RATE);
    await durable(pair.bob, sender, LEAST);
    receiver.child.kill('SIGKILL');
    await receiver.ended;
    const next = await waits(pair.bob);
    const sent = await ended(sender);
    expect(sent, sent.stdout).toMatchObject({ status: 0 });
    const starts = sent.events.filter(({ event }) => event === 'start');
    expect(starts).toHaveLength(2);
    expect(starts[1]?.['resumed_from']).toBeGreaterThan(1_000_000);
    await landed();
    expect(await terminate(next)).toBe(0);
  });

  test('is gone on with by a second run of jet send', async () => {
    await interrupt('receiver');
    const reached = written(pair.bob);
    const next = await waits(pair.bob);
    const sent = await ended(pair.send(root));
    expect(sent, sent.stdout).toMatchObject({ status: 0 });
    expect(Number(sent.event('start')?.['resumed_from'])).toBeGreaterThan(reached - 4096);
    await landed();
    expect(await terminate(next)).toBe(0);
    for (const home of [pair.alice, pair.bob])
      expect(await home.run(['resume', '--list'])).toMatchObject({ status: 0, stdout: '' });
  });

  test('is put right by the block where bits were flipped in what had come', async () => {
    await interrupt('receiver');
    const part = await open(join(staging(), LARGE_PART), 'r+');
    for (const at of [5, 500_000]) {
      const byte = Buffer.alloc(1);
      await part.read(byte, 0, 1, at);
      await part.write(Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, at);
    }
    await part.close();
    const holder = await waits(pair.alice);
    const got = await resume(pair.bob);
    expect(got, got.stdout + got.stderr).toMatchObject({ status: 0 });
    const [, wrong] =
      /"message":"(\d+) bytes of what had come of photos are wrong/.exec(got.stdout) ?? [];
    expect(Number(wrong)).toBeGreaterThanOrEqual(2 * 16 * 1024);
    expect(Number(wrong)).toBeLessThanOrEqual(4 * 64 * 1024);
    expect(got.stdout).not.toMatch(/"code":"starts-anew"/);
    await landed();
    expect(await terminate(holder)).toBe(0);
  });

  test('is refused by both sides when something in it changed at the sender', async () => {
    await interrupt('sender');
    await make('a/new', Buffer.from('new'));
    const sent = await resume(pair.alice);
    expect(sent).toMatchObject({ status: 8 });
    expect(sent.stderr).toMatch(/photos is not the folder any more that it was when the transfer/);
    const holder = await waits(pair.alice);
    const got = await resume(pair.bob);
    expect(got, got.stderr).toMatchObject({ status: 9 });
    await holder.said(/Refused a request of bob.*is not the folder any more/);
    expect(await pair.landed()).toEqual(['photos.jet-part']);
    expect(await terminate(holder)).toBe(0);
  });

  test.skipIf(!canBind)(
    'without what may not be read has all the others, and says so',
    async () => {
      await make('b secret', noise(200_000));
      await make('closed/inside', noise(10));
      for (const name of ['b secret', 'closed']) await chmod(join(root, name), 0);
      const mortal = { prefix: BOUND };
      const receiver = pair.receive(['--once']);
      await receiver.said(/"event":"waiting"/);
      const to = ['send', '--json', ...RATE, root, pair.bob.jid];
      const sender = pair.alice.start(to, mortal);
      await durable(pair.bob, sender, LEAST);
      sender.child.kill('SIGKILL');
      await sender.ended;
      await receiver.said(/"code":"(broke|resumable)"/);
      await terminate(receiver);
      const reached = written(pair.bob);
      const waiting = await waits(pair.bob);
      const sent = await ended(pair.alice.start(['resume', '--json'], mortal));
      expect(sent, sent.stdout + sent.stderr).toMatchObject({ status: 10 });
      expect(Number(sent.event('start')?.['resumed_from'])).toBeGreaterThan(reached - 4096);
      expect(sent.events.at(-1)).toMatchObject({ code: 'some-unread', exit: 10 });
      expect(sent.stderr.trimEnd().split('\n').at(-1)).toMatch(
        /^jet: Not all of photos\/ could be read and sent: .*photos\/closed, .*photos\/b secret\./,
      );
      await waiting.said(/"code":"some-missing","message":"[^"]*photos\/b secret/);
      expect(await terminate(waiting)).toBe(0);
      contents.delete('b secret');
      contents.delete('closed/inside');
      const there = await readdir(join(pair.out, 'photos'), { recursive: true });
      expect(there.filter((name) => /secret|closed/.test(name))).toEqual([]);
      for (const [name, bytes] of contents)
        expect((await readFile(join(pair.out, 'photos', name))).equals(bytes), name).toBe(true);
      expect(await pair.landed()).toEqual(['photos']);
    },
  );

  test('starts from zero, which is said, when a link lies in place of its parts', async () => {
    await interrupt('sender');
    const away = join(dirname(root), 'kept');
    await rename(staging(), away);
    await symlink(away, staging());
    const before = await readFile(join(away, 'pack.jet-part'));
    const holder = await waits(pair.alice);
    const got = await resume(pair.bob);
    expect(got, got.stderr).toMatchObject({ status: 0 });
    expect(got.event('start')).toMatchObject({ resumed_from: 0 });
    expect(got.stdout).toMatch(/"code":"starts-anew"/);
    expect((await readFile(join(away, 'pack.jet-part'))).equals(before)).toBe(true);
    // What others put in its place is left alone.
    expect((await lstat(staging())).isSymbolicLink()).toBe(true);
    await rm(staging());
    await landed();
    expect(await terminate(holder)).toBe(0);
  });

  test('is forgotten with its parts, unless another folder lies in their place', async () => {
    await interrupt('sender');
    const [row] = linesOf((await pair.bob.run(['transfers', '--json'])).stdout);
    expect(row).toMatchObject({ state: 'interrupted', direction: 'receive', name: 'photos' });
    const home = await pair.bob.run(['transfers', 'forget', String(row?.['id'])]);
    expect(home).toMatchObject({ status: 0 });
    expect(await pair.landed()).toEqual([]);
    await interrupt('sender');
    const [again] = linesOf((await pair.bob.run(['transfers', '--json'])).stdout);
    await rm(staging(), { recursive: true });
    await mkdir(staging());
    await writeFile(join(staging(), 'pack.jet-part'), 'mine');
    await pair.bob.run(['transfers', 'forget', String(again?.['id'])]);
    expect(await readdir(staging())).toEqual(['pack.jet-part']);
  });

  test('while its files got their names lands whole, and nothing twice', async () => {
    // Many, so that naming them takes a while.
    for (let n = 0; n < MANY; n++) {
      const bytes = Buffer.from(`content ${n}`);
      contents.set(`many/${n}`, bytes);
      await make(`many/${n}`, bytes);
    }
    const receiver = pair.receive();
    await receiver.said(/"event":"waiting"/);
    const sender = pair.send(root);
    const named = () => readdir(join(pair.out, 'photos', 'many')).catch(() => []);
    await vi.waitFor(async () => expect((await named()).length).toBeGreaterThan(0), {
      timeout: 60_000,
      interval: 1,
    });
    receiver.child.kill('SIGKILL');
    await receiver.ended;
    expect((await named()).length).toBeLessThan(MANY);
    sender.child.kill('SIGKILL');
    await sender.ended;
    const holder = await waits(pair.alice);
    const got = await resume(pair.bob);
    expect(got, got.stdout + got.stderr).toMatchObject({ status: 0 });
    const { size, resumed_from: from } = got.event('start') ?? {};
    expect(from).toBe(size);
    await landed();
    expect(await terminate(holder)).toBe(0);
  });

  test('and is larger than one message goes in ranges, and on within one', async () => {
    const env = { JET_TEST_MESSAGE_BYTES: '1048576' };
    const start = (home: JetHome, ...args: string[]) => home.start([...args, '--json'], { env });
    const receiver = start(pair.bob, 'receive', '--yes', '--out', pair.out);
    await receiver.said(/"event":"waiting"/);
    const sender = start(pair.alice, 'send', ...RATE, root, pair.bob.jid);
    await durable(pair.bob, sender, LEAST);
    sender.child.kill('SIGKILL');
    await sender.ended;
    await receiver.said(/"code":"(broke|resumable)"/);
    const reached = written(pair.bob);
    const sent = await ended(start(pair.alice, 'resume', '-v'));
    expect(sent, sent.stderr).toMatchObject({ status: 0 });
    expect(Number(sent.event('start')?.['resumed_from'])).toBeGreaterThan(reached - 4096);
    expect(sent.stderr.match(/action="session-initiate"/g)?.length).toBeGreaterThan(3);
    await landed();
    expect(await terminate(receiver)).toBe(0);
  });
});
