/** What has come of a folder: set aside, gone on with, and landed, whenever it was cut off. */
import { existsSync } from 'node:fs';
import {
  chmod,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { JetError } from '../../../src/core/errors.ts';
import { Hasher } from '../../../src/files/hashing.ts';
import type { Checkpoint, ConflictPolicy } from '../../../src/files/landing.ts';
import { LARGE } from '../../../src/files/runs.ts';
import { removeStaging } from '../../../src/files/staging-folder.ts';
import { allowedMode } from '../../../src/files/umask.ts';
import type { TreeEntry } from '../../../src/files/walk.ts';
import { TreeLanding } from '../../../src/transfer/tree/tree-target.ts';
import { testFolder } from '../../support/folder.ts';
import { canMount, mount } from '../../support/mounts.ts';
import {
  about,
  digest,
  resume,
  sample,
  SIZES,
  write,
  type Sample,
} from '../../support/tree-sample.ts';

/** All of it is there, once, and nothing else. */
async function isThere({ plan: { out }, files }: Sample): Promise<void> {
  expect(await readdir(out)).toEqual(['x']);
  const there = await readdir(join(out, 'x'), { recursive: true });
  const wanted = [...files.keys()].map((path) => path.slice(2));
  expect(there.sort()).toEqual([...wanted, 'in', 'empty'].sort());
  for (const [path, bytes] of files) {
    expect((await readFile(join(out, path))).equals(bytes), path).toBe(true);
    const { nlink, mode, mtimeMs } = await stat(join(out, path));
    expect({ nlink, mode: mode & 0o777, mtimeMs }, path).toEqual({
      ...{ nlink: 1, mode: allowedMode(0o644), mtimeMs: about.mtime },
    });
  }
}

/** Where a folder is cut off: names of files, and how many bytes before or behind their beginning. */
const CUTS: readonly (readonly [string, (sample: Sample) => number])[] = [
  ['in the list', () => 33],
  ['at the end of the list', ({ plan }) => plan.head.list],
  ['in a small file', ({ starts }) => (starts.get('x/a') ?? 0) + 4],
  ['where a large file begins', ({ starts }) => starts.get('x/b') ?? 0],
  ['in a large file', ({ starts }) => (starts.get('x/b') ?? 0) + 1000],
  ['between two large files', ({ starts }) => starts.get('x/c') ?? 0],
  ['behind a large file', ({ starts }) => starts.get('x/in/d') ?? 0],
  [
    'in a file that goes past the page cache',
    ({ starts }) => (starts.get('x/in/f') ?? 0) + 3e6 + 1,
  ],
  ['in what became of the files', ({ stream }) => stream.length - 3],
  ['at its end', ({ stream }) => stream.length],
];

describe('a folder that is cut off', () => {
  test.each(CUTS)('%s goes on from there, once it was set aside', async (_, cut) => {
    const what = await sample();
    const at = cut(what);
    const first = await TreeLanding.open(what.plan);
    await write(first, what.stream.subarray(0, at));
    const left = await first.suspend();
    expect(left.written).toBe(at);
    expect(await readdir(what.plan.out)).toEqual(['x.jet-part']);
    expect((await stat(first.part)).mode & 0o777).toBe(0o700);
    const { landing, start } = await resume(what, first.part, left);
    expect(start).toBeGreaterThan(at - 4096);
    expect(start).toBeLessThanOrEqual(at);
    await write(landing, what.stream.subarray(start), 77_777);
    expect(await landing.settle()).toBe(what.stream.length);
    const region = { file: landing.file, offset: 0, end: what.stream.length };
    const [hash] = await new Hasher(1).hash(region);
    expect(hash?.digest.toString('hex')).toBe(digest(what.stream));
    expect(await landing.finish()).toBe(join(what.plan.out, 'x'));
    await isThere(what);
  });

  test.each(
    CUTS.flatMap(([name, cut]) => [
      [name, 'checkpoint' as const, cut] as const,
      [name, 'reached' as const, cut] as const,
    ]),
  )('%s by a kill goes on from what was said last: %s', async (_, how, cut) => {
    const what = await sample();
    const at = cut(what);
    const first = await TreeLanding.open(what.plan);
    await write(first, what.stream.subarray(0, at));
    const checkpoint = first[how]();
    // What comes after it began does not count, and does not stay.
    const more = write(first, what.stream.subarray(at, at + 2_000_000));
    const left = await checkpoint;
    await more;
    expect(left.written).toBeGreaterThan(at - 4096);
    expect(left.written).toBeLessThanOrEqual(what.stream.length);
    await first.abort('keep');
    const { landing, start } = await resume(what, first.part, left);
    await write(landing, what.stream.subarray(start));
    await landing.finish();
    await isThere(what);
  });

  test('at every one of many checkpoints has what they say', async () => {
    const what = await sample();
    const landing = await TreeLanding.open(what.plan);
    for (let at = 0; at < what.stream.length; at += 200_000) {
      const writing = write(landing, what.stream.subarray(at, at + 200_000), 50_000);
      const { written } = await landing[at % 400_000 === 0 ? 'checkpoint' : 'reached']();
      await writing;
      expect(written).toBeLessThanOrEqual(at + 200_000);
    }
    const { written, identity } = await landing.checkpoint();
    expect(written).toBe(what.stream.length);
    await landing.abort('keep');
    const again = await resume(what, landing.part, { written, identity });
    await again.landing.finish();
    await isThere(what);
  });

  test('and leads out of itself is refused as soon as its list is there', async () => {
    const evil: TreeEntry = { kind: 'link', path: 'x/../evil', target: 'a', ...about };
    const { plan, stream } = await sample(SIZES, [evil]);
    const landing = await TreeLanding.open(plan);
    const list = stream.subarray(0, plan.head.list);
    await expect(write(landing, list)).rejects.toMatchObject({ code: 'unsafe-path', exit: 9 });
    await landing.abort('remove');
    expect(await readdir(plan.out)).toEqual([]);
  });

  test('and given up leaves nothing', async () => {
    const what = await sample();
    const landing = await TreeLanding.open(what.plan);
    await write(landing, what.stream.subarray(0, 1_000_000));
    await landing.abort('remove');
    expect(await readdir(what.plan.out)).toEqual([]);
  });

  test('and given up, or forgotten, leaves what somebody else has put among its parts', async () => {
    for (const forgotten of [false, true]) {
      const what = await sample();
      const landing = await TreeLanding.open(what.plan);
      await write(landing, what.stream.subarray(0, 1_000_000));
      const { part } = landing;
      await writeFile(join(part, 'mine'), 'mine');
      await mkdir(join(part, '77'));
      const { identity } = await landing.checkpoint();
      if (forgotten) await landing.suspend();
      if (forgotten) await removeStaging(part, identity);
      else await landing.abort('remove');
      expect((await readdir(part)).sort()).toEqual(['77', 'mine']);
    }
  });

  test('that another folder lies in place of is left alone, though it has its number', async () => {
    const part = join(await testFolder(), 'x.jet-part');
    await mkdir(part);
    await writeFile(join(part, 'pack.jet-part'), 'mine');
    const { dev, ino, uid } = await stat(part, { bigint: true });
    await removeStaging(part, { dev, ino, uid, mode: 0o40700n });
    expect(await readdir(part)).toEqual(['pack.jet-part']);
  });

  test('makes its parts beside what lies there under their name, and never in it', async () => {
    const what = await sample();
    const away = await testFolder();
    await symlink(away, join(what.plan.out, 'x.jet-part'));
    const landing = await TreeLanding.open(what.plan);
    await write(landing, what.stream);
    await landing.finish();
    expect(await readdir(away)).toEqual([]);
    await rm(join(what.plan.out, 'x.jet-part'));
    await isThere(what);
  });

  test.each([
    ['is gone', /is gone/, (part: string) => rm(part, { recursive: true })],
    ['misses a large file', /is gone/, (part: string) => rm(join(part, '2.jet-part'))],
    ['misses the small files', /is gone/, (part: string) => rm(join(part, 'pack.jet-part'))],
    [
      'has a large file that is longer',
      /the size of something in it/,
      (part: string) => truncate(join(part, '2.jet-part'), LARGE + 1),
    ],
    [
      'has small files that are fewer',
      /something in it is shorter/,
      (part: string) => truncate(join(part, 'pack.jet-part'), 100),
    ],
    [
      'has a link in place of a large file',
      /no file now/,
      async (part: string) => {
        await rename(join(part, '2.jet-part'), `${part}.moved`);
        await symlink(`${part}.moved`, join(part, '2.jet-part'));
      },
    ],
    [
      'has a link in place of the small files',
      /holds, a link/,
      async (part: string) => {
        await rename(join(part, 'pack.jet-part'), `${part}.moved`);
        await symlink(`${part}.moved`, join(part, 'pack.jet-part'));
      },
    ],
    [
      'has a second name for the small files',
      /second name/,
      (part: string) => link(join(part, 'pack.jet-part'), `${part}.second`),
    ],
    [
      'is a link',
      /a link now|no folder now/,
      async (part: string) => {
        await rename(part, `${part}.moved`);
        await symlink(`${part}.moved`, part);
      },
    ],
    [
      'is another folder',
      /another folder/,
      async (part: string) => {
        await rename(part, `${part}.moved`);
        await mkdir(part, { mode: 0o700 });
        for (const name of await readdir(`${part}.moved`))
          await rename(join(`${part}.moved`, name), join(part, name));
      },
    ],
    [
      'ends with other bytes',
      /what was written last is another/,
      async (part: string) => {
        const path = join(part, 'pack.jet-part');
        const bytes = await readFile(path);
        bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
        await writeFile(path, bytes);
      },
    ],
    ['is open to others', /permissions/, (part: string) => chmod(part, 0o755)],
    [
      'has another list',
      /the list in it is another/,
      async (part: string) => {
        const path = join(part, 'pack.jet-part');
        const bytes = await readFile(path);
        bytes[20] = (bytes[20] ?? 0) ^ 1;
        await writeFile(path, bytes);
      },
    ],
  ] as const)('whose folder of parts %s is not gone on with', async (_, told, change) => {
    const what = await sample();
    const first = await TreeLanding.open(what.plan);
    await write(first, what.stream.subarray(0, what.starts.get('x/in/e')));
    const left = await first.suspend();
    await change(first.part);
    await expect(resume(what, first.part, left)).rejects.toMatchObject({
      ...{ exit: 8, code: expect.stringMatching(/^part-/) as unknown },
      message: expect.stringMatching(told) as unknown,
    });
    expect(await readdir(what.plan.out)).not.toContain('x');
  });

  test('is written once more where it is wrong, also over the ends of files', async () => {
    const what = await sample();
    const first = await TreeLanding.open(what.plan);
    const wrong = Buffer.from(what.stream);
    const from = (what.starts.get('x/b') ?? 0) - 5;
    const to = (what.starts.get('x/in/f') ?? 0) + 100;
    wrong.fill(0, from, to);
    await write(first, wrong);
    const left = await first.suspend();
    const { landing } = await resume(what, first.part, left);
    const range = await landing.range?.(from, to - from);
    if (range === undefined) throw new Error('nothing can be put right');
    for (let at = from; at < to; at += 99_991)
      await range.write(Buffer.from(what.stream.subarray(at, Math.min(to, at + 99_991))));
    await expect(range.write(Buffer.alloc(1))).rejects.toThrow(RangeError);
    await expect(landing.range?.(to, what.stream.length)).rejects.toThrow(RangeError);
    const next = await landing.suspend();
    const again = await resume(what, first.part, next);
    expect(again.start).toBe(what.stream.length);
    await again.landing.finish();
    await isThere(what);
  });

  test('is not written once more where files may have got their names', async () => {
    const what = await sample();
    const first = await TreeLanding.open(what.plan);
    await write(first, what.stream);
    const left = await first.suspend();
    const { landing } = await resume(what, first.part, left, true);
    expect(landing.range).toBeUndefined();
    await landing.abort('remove');
  });

  test('whose folder of parts is that of another user is not gone on with', async () => {
    const what = await sample();
    const first = await TreeLanding.open(what.plan);
    await write(first, what.stream.subarray(0, what.starts.get('x/in/e')));
    const { written, identity } = await first.suspend();
    const theirs = { written, identity: { ...identity, uid: identity.uid + 1n } };
    await expect(resume(what, first.part, theirs)).rejects.toMatchObject({
      ...{ exit: 8, code: 'part-changed' },
      message: expect.stringMatching(/another user/) as unknown,
    });
  });

  test('by a full disk goes on from where it was (needs mount)', async ({ skip }) => {
    skip(!canMount('tmpfs'));
    const what = await sample(SIZES, [], { out: mount('tmpfs', 'size=8m') });
    const { out } = what.plan;
    const first = await TreeLanding.open(what.plan);
    await writeFile(join(out, 'other'), Buffer.alloc(6_000_000));
    await expect(write(first, what.stream).then(() => first.settle())).rejects.toMatchObject({
      code: 'disk-full',
    });
    const left = await first.suspend();
    expect(left.written).toBeGreaterThan(what.plan.head.list);
    expect(left.written).toBeLessThan(what.stream.length);
    await expect(TreeLanding.open({ ...what.plan, name: 'y' })).rejects.toMatchObject({
      code: 'disk-full',
    });
    await rm(join(out, 'other'));
    const { landing, start } = await resume(what, first.part, left);
    await write(landing, what.stream.subarray(start));
    await landing.finish();
    await isThere(what);
  });
});

describe('a folder that is being landed', () => {
  const MANY: readonly (readonly [string, number])[] = Array.from({ length: 50 }, (_, n) => [
    `x/in/file ${n}`,
    n % 10 === 5 ? LARGE + n : 100 + n,
  ]);
  const outside: TreeEntry = { kind: 'link', path: 'x/zz', target: '/etc', ...about };
  const cut = () => {
    throw new Error('cut off');
  };

  /** Some of the files, not all, have their names; then nothing more happens, as after a kill. */
  async function cutOff(onConflict: ConflictPolicy = 'rename') {
    // A link that is told of cuts it: 40 files lie before it, of which those in whole groups have landed.
    const before = MANY.slice(0, 40);
    const what = await sample(before, [outside], { onConflict });
    let left: Checkpoint | undefined;
    const proven = (all: Checkpoint) => void (left = all);
    const first = await TreeLanding.open({ ...what.plan, skipped: cut, proven });
    await write(first, what.stream);
    await expect(first.finish()).rejects.toThrow('cut off');
    await first.abort('keep');
    if (left === undefined) throw new Error('nothing was written down');
    const there = await readdir(join(what.plan.out, 'x', 'in'));
    expect(there.length).toBeGreaterThan(0);
    expect(there.length).toBeLessThan(40);
    return { what, part: first.part, left };
  }

  test.each(['rename', 'overwrite', 'skip', 'fail'] as const)(
    'and cut off in the middle lands the rest, and nothing twice (%s)',
    async (onConflict) => {
      const { what, part, left } = await cutOff(onConflict);
      expect(left.written).toBe(what.stream.length);
      const { landing, start } = await resume(what, part, left, true);
      expect(start).toBe(what.stream.length);
      await landing.settle();
      const [hash] = await new Hasher(1).hash({ file: landing.file, offset: 0, end: start });
      expect(hash?.digest.toString('hex')).toBe(digest(what.stream));
      expect(await landing.finish()).toBe(join(what.plan.out, 'x'));
      await isThere(what);
    },
  );

  test('and cut off in the middle lands nothing twice, though its parts are gone', async () => {
    const { what, part } = await cutOff();
    await rm(part, { recursive: true });
    const landing = await TreeLanding.open({ ...what.plan, again: true });
    await write(landing, what.stream);
    await landing.finish();
    await isThere(what);
  });

  test.each(['mine', 'm'.repeat(103)])(
    'and changed by its user keeps what it was changed to: %s',
    async (mine) => {
      const { what, part, left } = await cutOff();
      const name = join(what.plan.out, 'x/in/file 3');
      await writeFile(name, mine);
      const { landing } = await resume(what, part, left, true);
      await landing.finish();
      expect(await readFile(name, 'utf8')).toBe(mine);
      const beside = await readFile(join(what.plan.out, 'x/in/file 3 (1)')).catch(() => undefined);
      const there = await readdir(join(what.plan.out, 'x/in'));
      expect(there).toHaveLength(41);
      expect(beside?.equals(what.files.get('x/in/file 3') ?? Buffer.alloc(0)), there.join()).toBe(
        true,
      );
    },
  );

  test('tells once, before the first file has its name, that all is there', async () => {
    const what = await sample();
    const seen: unknown[] = [];
    const proven = (all: Checkpoint) =>
      void seen.push(all.written, existsSync(join(what.plan.out, 'x')));
    const landing = await TreeLanding.open({ ...what.plan, proven });
    await write(landing, what.stream);
    await landing.finish();
    expect(seen).toEqual([what.stream.length, false]);
  });

  test('holds another file system, and lands there, too (needs mount)', async ({ skip }) => {
    skip(!canMount('tmpfs'));
    for (const again of [false, true]) {
      const what = await sample(undefined, undefined, { again });
      const inner = join(what.plan.out, 'x', 'in');
      await mkdir(inner, { recursive: true });
      mount('tmpfs', 'mode=0700', inner);
      const landing = await TreeLanding.open(what.plan);
      await write(landing, what.stream);
      if (again) await writeFile(join(inner, 'd'), what.files.get('x/in/d') ?? '');
      await landing.finish();
      expect((await stat(join(inner, 'f'))).dev).not.toBe((await stat(what.plan.out)).dev);
      for (const name of ['f', 'g'])
        expect(digest(await readFile(join(inner, name)))).toBe(
          digest(what.files.get(`x/in/${name}`) ?? Buffer.alloc(0)),
        );
      expect((await readdir(inner)).sort()).toEqual(['d', 'e', 'f', 'g']);
    }
  });

  test('does not follow a link that took the place of its folder', async () => {
    const what = await sample();
    const away = await testFolder();
    await symlink(away, join(what.plan.out, 'x'));
    const refused = TreeLanding.open(what.plan);
    await expect(refused).rejects.toBeInstanceOf(JetError);
    await expect(refused).rejects.toMatchObject({ code: 'link-in-the-way' });
    await rm(join(what.plan.out, 'x'));
    const landing = await TreeLanding.open(what.plan);
    await write(landing, what.stream);
    await symlink(away, join(what.plan.out, 'x'));
    await expect(landing.finish()).rejects.toMatchObject({ code: 'link-in-the-way', exit: 8 });
    await landing.abort('remove');
    expect(await readdir(away)).toEqual([]);
    expect(await readdir(what.plan.out)).toEqual(['x']);
  });
});
