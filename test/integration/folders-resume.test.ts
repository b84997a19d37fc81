/** A folder that was interrupted is gone on with, from either side: real processes over a real server. */
import {
  appendFile,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { durable, interruptMidway, RATE, waitsForAny, written } from '../support/interrupting.ts';
import type { JetHome } from '../support/jet.ts';
import { ended, linesOf, makePair, noise, type Pair } from '../support/pair.ts';
import { terminate } from '../support/people.ts';
import { hasProsody, startProsody, type Prosody } from '../support/prosody.ts';

const LEAST = 1_500_000;
const HOW = { rate: '800k', least: LEAST };

describe.skipIf(!(await hasProsody()))('a folder that was interrupted', () => {
  let server: Prosody;
  let pair: Pair;
  let root: string;
  let contents: Map<string, Buffer>;

  beforeAll(async () => {
    server = await startProsody();
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    pair = await makePair(server);
    contents = new Map([
      ['a/empty', Buffer.alloc(0)],
      // Small ones, which stand together, on both sides of large ones.
      ...Array.from({ length: 20 }, (_, n) => [`a/small ${n}`, noise(30_000 + n)] as const),
      ['b', noise(1_000_000)],
      ['c/d/large', noise(4_000_001)],
      ...Array.from({ length: 10 }, (_, n) => [`z/small ${n}`, noise(30_000)] as const),
    ]);
    root = dirname(await pair.file('from/photos/.keep', ''));
    for (const [name, bytes] of contents) {
      await mkdir(dirname(join(root, name)), { recursive: true });
      await writeFile(join(root, name), bytes);
    }
    await mkdir(join(root, 'nothing in it'));
  });
  afterEach(() => pair.remove());

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

  /** Changes one bit of something that has come. */
  const flip = async (name: string, at: number) => {
    const part = await open(join(staging(), name), 'r+');
    const byte = Buffer.alloc(1);
    await part.read(byte, 0, 1, at);
    await part.write(Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, at);
    await part.close();
  };

  test.each([
    ['of the list', 'pack.jet-part', 10, /the list in it is another/],
    ['of a small file', 'pack.jet-part', 100_000, /starts from zero/],
    ['of a large file', '22.jet-part', 5, /starts from zero/],
  ])('never keeps a bit %s that was flipped in what had come', async (_, name, at, told) => {
    await interrupt('receiver');
    await flip(name, at);
    const holder = await waits(pair.alice);
    const got = await resume(pair.bob);
    expect(got, got.stdout + got.stderr).toMatchObject({ status: 0 });
    expect(got.stdout).toMatch(/"code":"starts-anew"/);
    expect(got.stderr).toMatch(told);
    await landed();
    expect(await terminate(holder)).toBe(0);
  });

  test.each([
    ['is a file more', () => writeFile(join(root, 'new'), 'new')],
    ['is a file less', () => rm(join(root, 'a/empty'))],
    ['is a byte more in a file', () => appendFile(join(root, 'b'), 'x')],
  ])('is refused by both sides when there %s at the sender', async (_, change) => {
    await interrupt('sender');
    await change();
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

  test.each([
    [
      'was replaced by a link',
      /it is, or holds, a link|it is no folder/,
      async (away: string) => {
        await rename(staging(), join(away, 'kept'));
        await symlink(join(away, 'kept'), staging());
      },
    ],
    [
      'was replaced by a copy',
      /it is another folder/,
      async (away: string) => {
        await rename(staging(), join(away, 'kept'));
        await mkdir(staging(), { mode: 0o700 });
        for (const name of await readdir(join(away, 'kept')))
          await writeFile(join(staging(), name), await readFile(join(away, 'kept', name)));
      },
    ],
    [
      'holds a link in place of a part',
      /it is, or holds, a link/,
      async (away: string) => {
        await rename(join(staging(), 'pack.jet-part'), join(away, 'kept'));
        await symlink(join(away, 'kept'), join(staging(), 'pack.jet-part'));
      },
    ],
    ['misses a part', /is gone/, () => rm(join(staging(), '22.jet-part'))],
  ] as const)(
    'whose folder of parts %s starts from zero, which is said',
    async (_, told, change) => {
      await interrupt('sender');
      const away = join(dirname(root), 'away');
      await mkdir(away);
      await change(away);
      const before = await readFile(join(away, 'kept')).catch(() => undefined);
      const holder = await waits(pair.alice);
      const got = await resume(pair.bob);
      expect(got, got.stderr).toMatchObject({ status: 0 });
      expect(got.event('start')).toMatchObject({ resumed_from: 0 });
      expect(got.stderr).toMatch(told);
      if (before !== undefined)
        expect((await readFile(join(away, 'kept'))).equals(before)).toBe(true);
      // What was put in its place by others is left alone.
      const others = (await pair.landed()).filter((name) => name.endsWith('jet-part'));
      for (const name of others) await rm(join(pair.out, name), { recursive: true, force: true });
      await landed();
      expect(await terminate(holder)).toBe(0);
    },
  );

  test('is forgotten with its parts, and what is in their place stays', async () => {
    await interrupt('sender');
    const [row] = linesOf((await pair.bob.run(['transfers', '--json'])).stdout);
    expect(row).toMatchObject({ state: 'interrupted', direction: 'receive', name: 'photos' });
    expect(await pair.bob.run(['transfers', 'forget', String(row?.['id'])])).toMatchObject({
      status: 0,
    });
    expect(await pair.landed()).toEqual([]);
  });

  test('is left alone by forget where another folder lies in its place', async () => {
    await interrupt('sender');
    const [row] = linesOf((await pair.bob.run(['transfers', '--json'])).stdout);
    await rename(staging(), `${staging()}.moved`);
    await mkdir(staging());
    await writeFile(join(staging(), 'mine'), 'mine');
    await pair.bob.run(['transfers', 'forget', String(row?.['id'])]);
    expect(await readdir(staging())).toEqual(['mine']);
  });

  test('by its user leaves its parts, and is gone on with by them alone', async () => {
    const receiver = pair.receive();
    await receiver.said(/"event":"waiting"/);
    const sender = pair.send(root, RATE);
    await durable(pair.bob, sender, LEAST);
    sender.child.kill('SIGINT');
    await sender.ended;
    await receiver.said(/"code":"resumable"/);
    expect(await pair.landed()).toEqual(['photos.jet-part']);
    const sent = await resume(pair.alice);
    expect(sent, sent.stderr).toMatchObject({ status: 0 });
    expect(sent.event('start')?.['resumed_from']).toBeGreaterThan(1_000_000);
    await landed();
    expect(await terminate(receiver)).toBe(0);
  });

  test('keeps times and modes when it lands in a later session', async () => {
    const old = new Date(1_600_000_000_000);
    await utimes(join(root, 'b'), old, old);
    await utimes(join(root, 'a', 'small 1'), old, old);
    await interrupt('sender');
    const holder = await waits(pair.alice);
    expect(await resume(pair.bob)).toMatchObject({ status: 0 });
    for (const name of ['b', 'a/small 1'])
      expect((await lstat(join(pair.out, 'photos', name))).mtimeMs).toBe(1_600_000_000_000);
    await landed();
    expect(await terminate(holder)).toBe(0);
  });
});
