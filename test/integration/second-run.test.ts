/** `jet send` of what was sent before: only what is missing goes. Real processes over a real server. */
import { appendFile, open, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { interruptMidway, waitsForAny, written } from '../support/interrupting.ts';
import type { JetProcess } from '../support/jet.ts';
import { freshPairs } from '../support/fresh-pairs.ts';
import { ended, linesOf, noise, type Ended, type Pair } from '../support/pair.ts';
import { terminate } from '../support/people.ts';
import { hasProsody } from '../support/prosody.ts';

const SIZE = 400_000;

describe.skipIf(!(await hasProsody()))('a second run of jet send', () => {
  let pair: Pair;
  let receiver: JetProcess;

  freshPairs(async (made) => {
    pair = made;
    receiver = await waitsForAny(pair.bob, pair.out);
  });
  afterEach(async () => {
    if (receiver.child.exitCode === null) await terminate(receiver);
  });

  const send = (...files: string[]) =>
    ended(pair.alice.start(['send', '--json', ...files, pair.bob.jid]));
  /** By name: from which byte on each file went. */
  const begun = ({ events }: Ended) =>
    Object.fromEntries(
      events
        .filter(({ event }) => event === 'start')
        .map(({ file, resumed_from }) => [String(file), resumed_from]),
    );
  const is = async (name: string, content: Buffer) => {
    expect((await readFile(join(pair.out, name))).equals(content), name).toBe(true);
  };

  test('sends none of the files that lie there, and those that are missing', async () => {
    const contents = ['a', 'b', 'c'].map((name) => [name, noise(SIZE)] as const);
    const paths = await Promise.all(contents.map(([name, bytes]) => pair.file(name, bytes)));
    const first = await send(...paths);
    expect(first, first.stderr).toMatchObject({ status: 0 });
    expect(begun(first)).toEqual({ a: 0, b: 0, c: 0 });
    await rm(join(pair.out, 'b'));
    const second = await send(...paths);
    expect(second, second.stderr).toMatchObject({ status: 0 });
    expect(begun(second)).toEqual({ a: SIZE, b: 0, c: SIZE });
    const ends = second.events.filter(({ event }) => event === 'end');
    expect(ends.map(({ status }) => status)).toEqual(['verified', 'verified', 'verified']);
    expect((await pair.landed()).sort()).toEqual(['a', 'b', 'c']);
    for (const [name, bytes] of contents) await is(name, bytes);
  });

  test('sends what was changed there again, beside what it was changed to', async () => {
    const bytes = noise(SIZE);
    const path = await pair.file('a', bytes);
    await send(path);
    await appendFile(join(pair.out, 'a'), 'x');
    const second = await send(path);
    expect(begun(second)).toEqual({ a: 0 });
    expect((await pair.landed()).sort()).toEqual(['a', 'a (1)']);
    await is('a (1)', bytes);
    // What landed by another name is known by that.
    const third = await send(path);
    expect(begun(third)).toEqual({ a: SIZE });
    expect(await pair.landed()).toHaveLength(2);
  });

  test('sends a file of the same name and size that is another one', async () => {
    const [before, after] = [noise(SIZE), noise(SIZE)];
    const path = await pair.file('a', before);
    await send(path);
    await writeFile(path, after);
    const second = await send(path);
    expect(second, second.stderr).toMatchObject({ status: 0 });
    expect(second.event('end')).toMatchObject({ status: 'verified', bytes: SIZE });
    expect((await pair.landed()).sort()).toEqual(['a', 'a (1)']);
    await is('a', before);
    await is('a (1)', after);
  });

  test('does not learn of a file that came from elsewhere', async () => {
    const bytes = noise(SIZE);
    const path = await pair.file('a', bytes);
    await writeFile(join(pair.out, 'a'), bytes);
    expect(begun(await send(path))).toEqual({ a: 0 });
    expect((await pair.landed()).sort()).toEqual(['a', 'a (1)']);
  });

  test.each([
    ['goes on with a part that was left', false],
    ['finds out that the part is not of the file', true],
  ])('%s', async (_, changed) => {
    await terminate(receiver);
    const bytes = noise(6_000_000);
    const path = await pair.file('big', bytes);
    await interruptMidway(pair, path, 'receiver');
    const reached = written(pair.bob);
    if (changed) {
      // Of the same size and times: to the sender it is another file, to the receiver nothing has changed.
      const file = await open(path, 'r+');
      await file.write(Buffer.of((bytes[0] ?? 0) ^ 1), 0, 1, 0);
      await file.close();
      bytes[0] = (bytes[0] ?? 0) ^ 1;
      await utimes(path, 1, 1);
    }
    receiver = await waitsForAny(pair.bob, pair.out);
    const second = await send(path);
    expect(second, second.stdout).toMatchObject({ status: 0 });
    expect(Number(begun(second)['big'])).toBeGreaterThan(reached - 4096);
    expect(await pair.landed()).toEqual(['big']);
    await is('big', bytes);
    const rows = linesOf((await pair.bob.run(['transfers', '--json'])).stdout);
    expect(rows).toMatchObject([{ state: 'done', name: 'big' }]);
    if (!changed) expect((await pair.alice.run(['resume', '--list'])).stdout).toBe('');
  });
});
