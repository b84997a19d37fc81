import { randomBytes } from 'node:crypto';
import {
  chmod,
  chown,
  copyFile,
  link,
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { decodePart, encodePart, TAIL } from '../../../src/files/identity.ts';
import {
  Landing,
  type Checkpoint,
  type LandingOptions,
  type ResumeOptions,
} from '../../../src/files/landing.ts';
import { isRoot, NOBODY, startChild } from '../../support/children.ts';
import { testFolder } from '../../support/folder.ts';
import { canMount, mount } from '../../support/mounts.ts';

const MIB = 1024 * 1024;
const SIZE = 6 * MIB + 123;

interface Aside extends Checkpoint {
  readonly options: LandingOptions;
  readonly part: string;
  readonly bytes: Buffer;
}

async function land(options: Partial<LandingOptions> & { target: string }): Promise<Landing> {
  const landing = await Landing.open({ size: SIZE, onConflict: 'rename', ...options });
  if (landing === undefined) throw new Error('skipped');
  return landing;
}

async function setAside(written: number, direct = true): Promise<Aside> {
  const target = join(await testFolder(), 'a');
  const options = { target, size: SIZE, onConflict: 'rename', direct } as const;
  const bytes = randomBytes(SIZE);
  const landing = await land(options);
  await landing.write(Buffer.from(bytes.subarray(0, written)));
  return { ...(await landing.suspend()), options, part: landing.part, bytes };
}

function resumeOptions({ options, part, written, identity }: Aside): ResumeOptions {
  // Through the journal's form, as the next process has it.
  const expected = decodePart(encodePart(identity));
  if (expected === undefined) throw new Error('unreadable identity');
  return { ...options, part, offset: written, expected };
}

async function resume(aside: Aside): Promise<{ landing: Landing; start: number }> {
  const resumed = await Landing.resume(resumeOptions(aside));
  if (resumed === undefined) throw new Error('skipped');
  return resumed;
}

test.each([true, false])(
  'a part that was set aside is gone on with (direct: %s)',
  async (direct) => {
    for (const written of [0, 1, 4096, 2 * MIB + 12_345, SIZE]) {
      const aside = await setAside(written, direct);
      expect(aside.written).toBe(written);
      expect((await stat(aside.part)).size).toBe(written);
      const { landing, start } = await resume(aside);
      expect(start).toBe(landing.direct ? written - (written % 4096) : written);
      await landing.write(Buffer.from(aside.bytes.subarray(start)));
      const path = await landing.finish();
      expect(path).toBe(aside.options.target);
      expect((await readFile(String(path))).equals(aside.bytes)).toBe(true);
    }
  },
);

test('setting aside again without a byte loses nothing', async () => {
  let aside = await setAside(3 * MIB + 77);
  for (let i = 0; i < 3; i++) {
    const { landing } = await resume(aside);
    aside = { ...aside, ...(await landing.suspend()) };
    expect(aside.written).toBe(3 * MIB + 77);
  }
  const { landing, start } = await resume(aside);
  await landing.write(Buffer.from(aside.bytes.subarray(start)));
  expect((await readFile(String(await landing.finish()))).equals(aside.bytes)).toBe(true);
});

type Change = (aside: Aside, folder: string) => Promise<unknown>;
const changes: [string, Change][] = [
  [
    'another file under its name',
    async ({ part }, f) => {
      await copyFile(part, join(f, 'copy'));
      await rename(join(f, 'copy'), part);
    },
  ],
  [
    'a link to it',
    async ({ part }, f) => {
      await rename(part, join(f, 'moved'));
      await symlink('moved', part);
    },
  ],
  [
    'a folder',
    async ({ part }) => {
      await rm(part);
      await mkdir(part);
    },
  ],
  ['a second name', ({ part }, f) => link(part, join(f, 'second'))],
  ['other permissions', ({ part }) => chmod(part, 0o644)],
  ['a shorter part', ({ part }) => truncate(part, MIB)],
  ['a longer part', ({ part }) => truncate(part, 4 * MIB)],
  ['other times', ({ part }) => utimes(part, 1, 1)],
  [
    'other bytes',
    async ({ part }) => {
      const file = await open(part, 'r+');
      await file.write(Buffer.from('x'), 0, 1, 3 * MIB);
      await file.close();
    },
  ],
];

test.each(changes)('refuses %s', async (_, change) => {
  const aside = await setAside(3 * MIB + 5);
  await change(aside, join(aside.part, '..'));
  await expect(Landing.resume(resumeOptions(aside))).rejects.toMatchObject({
    code: 'part-changed',
    exit: 8,
    message: expect.stringMatching(
      /a\.jet-part is not the part .*: it.* Start the transfer again/,
    ) as string,
  });
});

test.skipIf(!isRoot)('refuses a part of another user (needs root)', async () => {
  const aside = await setAside(100);
  await chown(aside.part, NOBODY, NOBODY);
  const refusal = {
    code: 'part-changed',
    message: expect.stringContaining('another user') as string,
  };
  await expect(Landing.resume(resumeOptions(aside))).rejects.toMatchObject(refusal);
});

test('a changed last block is found by its hash where times tell nothing', async () => {
  const aside = await setAside(3 * MIB + 5);
  const { rest, ...unrested } = aside.identity;
  expect(rest?.size).toBe(BigInt(3 * MIB + 5));
  const crashed = { ...aside, identity: unrested };
  const file = await open(aside.part, 'r+');
  const first = 3 * MIB + 5 - TAIL;
  await file.write(Buffer.from([1 ^ (aside.bytes[first] ?? 0)]), 0, 1, first);
  const refusal = {
    code: 'part-changed',
    message: expect.stringContaining('last block') as string,
  };
  await expect(Landing.resume(resumeOptions(crashed))).rejects.toMatchObject(refusal);
  await file.write(aside.bytes.subarray(first, first + 1), 0, 1, first);
  await file.close();
  await (await resume(crashed)).landing.abort('remove');
});

test('a part that is gone is said to be', async () => {
  const aside = await setAside(100);
  await rm(aside.part);
  const refusal = { code: 'part-missing', exit: 8 };
  await expect(Landing.resume(resumeOptions(aside))).rejects.toMatchObject(refusal);
});

test('what landed is what was written here, not what took the part’s name', async () => {
  const folder = await testFolder();
  const landing = await land({ target: join(folder, 'a'), size: 3 });
  await landing.write(Buffer.from('new'));
  await rm(landing.part);
  await expect(landing.finish()).rejects.toMatchObject({ code: 'part-missing' });
  const other = await land({ target: join(folder, 'a'), size: 3 });
  await other.write(Buffer.from('new'));
  await rm(other.part);
  await writeFile(other.part, 'of another');
  await expect(other.finish()).rejects.toMatchObject({ code: 'part-changed' });
  await other.abort('remove');
  expect(await readdir(folder)).toEqual(['a.jet-part']);
  expect(await readFile(other.part, 'utf8')).toBe('of another');
});

const SAID = fc.constantFrom(undefined, 'checkpoint' as const, 'reached' as const);

test('a checkpoint tells what would survive, while bytes go on', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 700_000 }), SAID), { maxLength: 12 }),
      fc.boolean(),
      async (writes, direct) => {
        const target = join(await testFolder(), 'a');
        const size = Math.max(
          5 * MIB,
          writes.reduce((sum, [n]) => sum + n, 0),
        );
        const bytes = randomBytes(size);
        const landing = await land({ target, size, direct });
        let at = 0;
        const pending: Promise<void>[] = [];
        for (const [length, how] of writes) {
          await landing.write(Buffer.from(bytes.subarray(at, at + length)));
          at += length;
          const reached = at;
          if (how === undefined) continue;
          pending.push(
            landing[how]().then(async ({ written, identity }) => {
              expect(written).toBeGreaterThanOrEqual(reached - (landing.direct ? 4095 : 0));
              const part = await readFile(landing.part);
              expect(part.subarray(0, written).equals(bytes.subarray(0, written))).toBe(true);
              expect(identity.rest).toBeUndefined();
            }),
          );
        }
        await Promise.all(pending);
        await landing.write(Buffer.from(bytes.subarray(at)));
        expect((await readFile(String(await landing.finish()))).equals(bytes)).toBe(true);
      },
    ),
    { numRuns: 12 },
  );
});

test.each([
  ['checkpoint', true],
  ['reached', false],
] as const)('only what is durable waits for the disk: %s', async (how, waits) => {
  const landing = await land({ target: join(await testFolder(), 'a'), size: 5 * MIB });
  const datasync = vi.spyOn(landing.file, 'datasync');
  await landing.write(randomBytes(2 * MIB));
  await landing[how]();
  expect(datasync).toHaveBeenCalledTimes(Number(waits));
  await landing.abort('remove');
});

test.each(['checkpoint', 'reached'])(
  'a process that is killed leaves what it said: %s',
  async (how) => {
    const target = join(await testFolder(), 'a');
    const child = startChild(['checkpoints', target, String(64 * MIB), how]);
    await child.said('checkpoint 4\n');
    child.process.kill('SIGKILL');
    const { stdout } = await child.ended;
    const said = [...stdout.matchAll(/^(\d+) (.+)\ncheckpoint/gm)].at(-1);
    const expected = decodePart(said?.[2] ?? '');
    if (expected === undefined) throw new Error(stdout);
    const offset = Number(said?.[1]);
    expect(offset).toBeGreaterThan(0);
    const part = `${target}.jet-part`;
    const options = {
      target,
      size: 64 * MIB,
      onConflict: 'rename',
      part,
      offset,
      expected,
    } as const;
    const resumed = await Landing.resume(options);
    const bytes = (await readFile(part)).subarray(0, offset);
    expect(bytes.equals(Buffer.alloc(offset, 7))).toBe(true);
    await resumed?.landing.abort('remove');
  },
);

test.each([true, false])(
  'a part is known again when a range at its end was being written again (direct: %s)',
  async (direct) => {
    const written = 5 * MIB;
    const aside = await setAside(written, direct);
    const { landing } = await resume(aside);
    const range = { offset: written - 30_000, length: 10_000 };
    const known = await landing.checkpoint(range);
    const blind = await landing.checkpoint();
    const sink = await landing.range(range.offset, range.length);
    await sink.write(Buffer.alloc(range.length, 1));
    // On the disk; what a kill leaves has no more than that.
    await landing.settle();
    const again = async (checkpoint: Checkpoint) => {
      const left = await Landing.resume(resumeOptions({ ...aside, ...checkpoint }));
      await left?.landing.abort('keep');
    };
    await again(known);
    await expect(again(blind)).rejects.toMatchObject({ code: 'part-changed' });
    const part = await open(aside.part, 'r+');
    await part.write(Buffer.of(1, 2, 3, 4), 0, 4, range.offset - 10_000);
    await part.close();
    await expect(again(known)).rejects.toMatchObject({ code: 'part-changed' });
    await landing.abort('remove');
  },
);

test('ranges are written at their positions, over what stands there', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(SIZE), fc.nat(2 * MIB)), { minLength: 1, maxLength: 5 }),
      fc.boolean(),
      async (ranges, direct) => {
        const target = join(await testFolder(), 'a');
        const model = randomBytes(SIZE);
        const landing = await land({ target, direct });
        await landing.write(Buffer.from(model));
        for (const [offset, wanted] of ranges) {
          const bytes = randomBytes(Math.min(wanted, SIZE - offset));
          bytes.copy(model, offset);
          const range = await landing.range(offset, bytes.length);
          await range.write(Buffer.from(bytes));
        }
        expect(await landing.settle()).toBe(SIZE);
        expect((await readFile(landing.part)).equals(model)).toBe(true);
        expect((await readFile(String(await landing.finish()))).equals(model)).toBe(true);
      },
    ),
    { numRuns: 12 },
  );
});

test('consecutive ranges make a file, and what is set aside in between is whole', async () => {
  const bytes = randomBytes(SIZE);
  const target = join(await testFolder(), 'a');
  const options = { target, size: SIZE, onConflict: 'rename' } as const;
  const landing = await land(options);
  const piece = MIB + 1;
  const put = async (to: Landing, offset: number) => {
    const length = Math.min(piece, SIZE - offset);
    const range = await to.range(offset, length);
    await range.write(Buffer.from(bytes.subarray(offset, offset + length)));
  };
  await put(landing, 0);
  await put(landing, piece);
  const aside = { ...(await landing.suspend()), options, part: landing.part, bytes };
  expect(aside.written).toBe(2 * piece);
  const { landing: second } = await resume(aside);
  for (let offset = 2 * piece; offset < SIZE; offset += piece) await put(second, offset);
  expect((await readFile(String(await second.finish()))).equals(bytes)).toBe(true);
});

test('a range leaves no gap, takes no more than it has, and ends the one before', async () => {
  const landing = await land({ target: join(await testFolder(), 'a') });
  await landing.write(Buffer.from('abc'));
  await expect(landing.range(4, 1)).rejects.toThrow('leaves a gap');
  await expect(landing.range(0, SIZE + 1)).rejects.toThrow('leaves the file');
  const first = await landing.range(1, 2);
  await expect(landing.write(Buffer.from('x'))).rejects.toThrow('another range');
  const second = await landing.range(3, 2);
  await expect(first.write(Buffer.from('x'))).rejects.toThrow('another range');
  await expect(second.write(Buffer.from('xyz'))).rejects.toThrow('more bytes');
  await second.write(Buffer.from('de'));
  await landing.suspend();
  expect(await readFile(landing.part, 'utf8')).toBe('abcde');
});

test.skipIf(!canMount('tmpfs')).each([true, false])(
  'what stood before a disk that filled up can be gone on with (direct: %s; needs mount)',
  async (direct) => {
    const folder = mount('tmpfs', 'size=8m');
    const target = join(folder, 'a');
    const options = { target, size: 7 * MIB, onConflict: 'rename', direct } as const;
    const bytes = randomBytes(7 * MIB);
    const landing = await land(options);
    await writeFile(join(folder, 'hog'), Buffer.alloc(4 * MIB));
    const all = async () => {
      for (let i = 0; i < 7; i++)
        await landing.write(Buffer.from(bytes.subarray(i * MIB, (i + 1) * MIB)));
      await landing.checkpoint();
    };
    await expect(all()).rejects.toMatchObject({ code: 'disk-full', exit: 8 });
    const aside = { ...(await landing.suspend()), options, part: landing.part, bytes };
    expect(aside.written).toBeGreaterThan(0);
    expect(aside.written).toBeLessThan(5 * MIB);
    await rm(join(folder, 'hog'));
    const { landing: second, start } = await resume(aside);
    await second.write(Buffer.from(bytes.subarray(start)));
    expect((await readFile(String(await second.finish()))).equals(bytes)).toBe(true);
  },
);

test('the journal’s form of a part is read strictly', () => {
  const tail = Buffer.alloc(32, 9);
  const big = { dev: 2n ** 64n - 1n, ino: 2n ** 63n, uid: 0n, mode: 0o100600n, tail };
  const rest = { size: 1n, mtimeNs: -5n, ctimeNs: 2n ** 62n };
  for (const identity of [big, { ...big, until: 1 }, { ...big, rest }])
    expect(decodePart(encodePart(identity))).toEqual(identity);
  const more = (end: string) => `${encodePart(big)} ${end}`;
  const far = String(2 ** 60);
  for (const text of ['', 'x', encodePart(big).slice(2), more('-1'), more('1 2'), more(far)])
    expect(decodePart(text)).toBeUndefined();
  expect(decodePart('00 1 2 3 4')).toBeUndefined();
});
