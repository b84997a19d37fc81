/** `jet send` of many small files that were named one by one: they share a content. Real processes over a real server. */
import { chmod, lstat, open, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { interruptMidway, waitsForAny, written } from '../support/interrupting.ts';
import type { JetProcess } from '../support/jet.ts';
import { ended, linesOf, makePair, noise, type Pair } from '../support/pair.ts';
import { terminate } from '../support/people.ts';
import { hasProsody } from '../support/prosody.ts';
import { tappedProxy } from '../support/tapped-proxy.ts';

/** More than the list, what became of the files, tags and handshakes have together. */
const FRAME = 8_000;
const MTIME = 1_600_000_000;

describe.skipIf(!(await hasProsody()) || process.platform !== 'linux')('many small files', () => {
  const tapped = tappedProxy();
  let pair: Pair;
  let receiver: JetProcess | undefined;

  beforeEach(async () => {
    pair = await makePair(tapped.server());
    receiver = undefined;
  });
  afterEach(async () => {
    if (receiver !== undefined) await terminate(receiver);
    await pair.remove();
  });

  /** Files of one size a piece, under `from`. */
  const make = async (from: number, to: number, size = 20_000) => {
    const paths = [];
    for (let n = from; n < to; n++) paths.push(await pair.file(`from/${n}.txt`, noise(size + n)));
    return paths;
  };
  /** What was sent lies there, and nothing else. */
  const lie = async (paths: readonly string[], ...beside: readonly string[]) => {
    const names = paths.map((path) => basename(path));
    expect((await pair.landed()).sort()).toEqual([...names, ...beside].sort());
    for (const path of paths)
      expect((await readFile(join(pair.out, basename(path)))).equals(await readFile(path))).toBe(
        true,
      );
  };
  const started = async () => {
    receiver = await waitsForAny(pair.bob, pair.out);
    return receiver;
  };
  const send = (paths: readonly string[]) => tapped.send(pair, paths);

  test('go in one session, and each lands under its name, with its time and mode', async () => {
    const paths = await make(0, 30);
    const [first = '', second = ''] = paths;
    await chmod(first, 0o640);
    await utimes(second, MTIME, MTIME);
    // It says nothing before it is offered something; the sender waits for it.
    const waiting = pair.bob.start(['receive', '--yes', '--once', '--out', pair.out]);
    const sent = await ended(pair.send(paths, ['--wait', '60']));
    expect(sent, sent.stderr).toMatchObject({ status: 0 });
    expect(sent.events.filter(({ event }) => event === 'start')).toHaveLength(1);
    expect(sent.event('end')).toMatchObject({ status: 'verified', file: '0.txt and 29 more' });
    const received = await waiting.ended;
    expect(received, received.stderr).toMatchObject({ status: 0 });
    // Each has its line on standard output.
    expect(received.stdout.trimEnd().split('\n')).toEqual(
      paths.map((path) => join(pair.out, basename(path))),
    );
    await lie(paths);
    expect((await lstat(join(pair.out, '0.txt'))).mode & 0o777).toBe(0o640);
    expect((await lstat(join(pair.out, '1.txt'))).mtimeMs).toBe(MTIME * 1000);
  });

  test('leave to a large one, a folder and standard input sessions of their own', async () => {
    const paths = await make(0, 9);
    const large = await pair.file('large.bin', noise(1_100_000));
    const inFolder = await pair.file('album/one', noise(10));
    const receiving = pair.receive(['--once']);
    await receiving.said(/"event":"waiting"/);
    const album = join(inFolder, '..');
    const args = ['send', '--json', large, ...paths, album, '-', pair.bob.jid];
    const sent = await ended(
      pair.alice.start(args, { prefix: ['sh', '-c', 'printf hello | "$0" "$@"'] }),
    );
    expect(sent, sent.stderr).toMatchObject({ status: 0 });
    const names = sent.events.filter(({ event }) => event === 'end').map(({ file }) => file);
    expect(names.sort()).toEqual(['0.txt and 8 more', 'album/', 'large.bin', 'stdin']);
    const received = await ended(receiving);
    expect(received, received.stderr).toMatchObject({ status: 0 });
    const batch = received.events.find(({ files }) => files !== undefined);
    expect(batch?.['files']).toEqual(paths.map((path) => join(pair.out, basename(path))));
    await lie([...paths, large], 'album', 'stdin');
  });

  test('of one name each get a name of their own, and what lies there stays', async () => {
    await started();
    await writeFile(join(pair.out, '3.txt'), 'mine');
    const paths = await make(0, 9);
    const twin = await pair.file('other/5.txt', noise(77));
    await send([...paths, twin]);
    const names = paths.map((path) => basename(path));
    expect((await pair.landed()).sort()).toEqual([...names, '3 (1).txt', '5 (1).txt'].sort());
    expect(await readFile(join(pair.out, '3.txt'), 'utf8')).toBe('mine');
    const there = async (name: string) => readFile(join(pair.out, name));
    expect((await there('3 (1).txt')).equals(await readFile(paths[3] ?? ''))).toBe(true);
    expect((await there('5 (1).txt')).equals(await readFile(twin))).toBe(true);
  });

  test('of which some cannot land, or are not there, do not keep the others away', async () => {
    await started();
    const paths = await make(0, 9);
    await writeFile(join(pair.out, '3.txt'), 'mine');
    const waiting = receiver;
    if (waiting !== undefined) await terminate(waiting);
    receiver = await waitsForAny(pair.bob, pair.out, ['--on-conflict', 'fail']);
    const sent = await ended(pair.send(['nowhere', ...paths]));
    expect(sent, sent.stderr).toMatchObject({ status: 10 });
    expect(sent.stderr.trimEnd().split('\n').at(-1)).toMatch(
      /2 of 10 did not reach [^ ]*: nowhere, [^ ]*\/from\/3\.txt\.$/,
    );
    await lie(
      paths.filter((path) => !path.endsWith('/3.txt')),
      '3.txt',
    );
    await receiver.said(/Of 0\.txt and 8 more from [^ ]*, 1 did not land: 3\.txt/);
    expect(await readFile(join(pair.out, '3.txt'), 'utf8')).toBe('mine');
  });

  test('that were sent before do not travel again, with others or alone', async () => {
    await started();
    const paths = await make(0, 12);
    expect((await send(paths)).passed).toBeGreaterThan(240_000);
    const { ino } = await lstat(join(pair.out, '4.txt'));
    const more = [...(await make(20, 22)), ...paths];
    const { passed } = await send(more);
    expect(passed).toBeGreaterThan(40_000);
    expect(passed).toBeLessThan(40_000 + FRAME);
    await lie(more);
    // What the second one left out is not forgotten.
    expect((await send(paths.slice(0, 9))).passed).toBeLessThan(FRAME);
    expect((await send(more)).passed).toBeLessThan(FRAME);
    expect((await send(paths.slice(4, 5))).passed).toBeLessThan(FRAME);
    expect((await lstat(join(pair.out, '4.txt'))).ino).toBe(ino);
    await lie(more);
  });

  test('of which some were sent alone do not travel again, either', async () => {
    await started();
    const paths = await make(0, 10);
    await send(paths.slice(0, 3));
    const { passed } = await send(paths);
    expect(passed).toBeGreaterThan(7 * 20_000);
    expect(passed).toBeLessThan(7 * 20_100 + FRAME);
    await lie(paths);
  });

  test('of which one was changed, on either side, are right again', async () => {
    await started();
    const paths = await make(0, 9);
    await send(paths);
    // By size and time it is what it was.
    const path = paths[2] ?? '';
    await utimes(path, MTIME, MTIME);
    await send(paths);
    const bytes = await readFile(path);
    bytes[7] = (bytes[7] ?? 0) ^ 1;
    const file = await open(path, 'r+');
    await file.write(bytes);
    await file.utimes(MTIME, MTIME);
    await file.close();
    await rm(join(pair.out, '6.txt'));
    const { sent } = await send(paths);
    expect(sent.event('end')).toMatchObject({ status: 'verified' });
    const names = paths.map((each) => basename(each));
    expect((await pair.landed()).sort()).toEqual([...names, '2 (1).txt'].sort());
    expect((await readFile(join(pair.out, '2 (1).txt'))).equals(bytes)).toBe(true);
  });

  test.each(['sender', 'receiver'] as const)(
    'that were interrupted by a kill are gone on with, by the %s',
    async (who) => {
      const paths = await make(0, 9, 900_000);
      await interruptMidway(pair, paths, 'receiver', { rate: '1500k', least: 1_500_000 });
      const reached = written(pair.bob);
      expect(await pair.landed()).toEqual(['0.txt.jet-part']);
      const [home, other] = who === 'sender' ? [pair.alice, pair.bob] : [pair.bob, pair.alice];
      receiver = await waitsForAny(other, pair.out);
      const got = await ended(home.start(['resume', '--json']));
      expect(got, got.stdout + got.stderr).toMatchObject({ status: 0 });
      expect(Number(got.event('start')?.['resumed_from'])).toBeGreaterThan(reached - 4096);
      await lie(paths);
    },
  );

  test('of which one was changed since are not gone on with', async () => {
    const paths = await make(0, 9, 900_000);
    await interruptMidway(pair, paths, 'receiver', { rate: '1500k', least: 1_500_000 });
    await writeFile(paths[8] ?? '', 'another');
    await started();
    const got = await ended(pair.alice.start(['resume', '--json']));
    expect(got).toMatchObject({ status: 8 });
    expect(got.stdout).toMatch(
      /0\.txt and the files that were sent with it are not what they were/,
    );
    expect(await readdir(pair.out)).toEqual(['0.txt.jet-part']);
  });

  test('beyond a receiver that writes to standard output are declined', async () => {
    const waiting = pair.bob.start(['receive', '--json', '--yes', '--stdout']);
    await waiting.said(/"event":"waiting"/);
    const sent = await ended(pair.send(await make(0, 9)));
    expect(sent).toMatchObject({ status: 5 });
    waiting.child.kill('SIGTERM');
    const got = await waiting.ended;
    expect(got.stdout).toBe('');
    expect(got.stderr).toMatch(/--stdout takes one file alone/);
    expect(linesOf(sent.stdout).find(({ event }) => event === 'start')).toBeUndefined();
  });
});
