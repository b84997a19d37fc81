import { randomBytes } from 'node:crypto';
import {
  chmod,
  mkdir,
  readFile,
  readdir,
  stat,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Landing, type LandingOptions } from '../../../src/files/landing.ts';
import { checkLanding } from '../../../src/files/refusal.ts';
import { FILE_MODE } from '../../../src/files/umask.ts';
import { isRoot, NOBODY, runChild } from '../../support/children.ts';
import { testFolder } from '../../support/folder.ts';
import { canMount, mount, remountReadOnly } from '../../support/mounts.ts';

const MIB = 1024 * 1024;

async function land(options: Partial<LandingOptions> & { target: string }): Promise<Landing> {
  const landing = await Landing.open({ size: 3, onConflict: 'rename', ...options });
  if (landing === undefined) throw new Error('skipped');
  return landing;
}

async function occupied(): Promise<{ folder: string; target: string }> {
  const folder = await testFolder();
  await writeFile(join(folder, 'a.txt'), 'old');
  return { folder, target: join(folder, 'a.txt') };
}

test('rename lands beside what is there, with the permissions of any new file', async () => {
  const { folder, target } = await occupied();
  for (const expected of ['a (1).txt', 'a (2).txt']) {
    const landing = await land({ target });
    await landing.write(Buffer.from('new'));
    expect(await landing.finish()).toBe(join(folder, expected));
    expect((await stat(join(folder, expected))).mode & 0o777).toBe(FILE_MODE);
  }
  expect(FILE_MODE & 0o111).toBe(0);
  expect(await readFile(target, 'utf8')).toBe('old');
  expect((await readdir(folder)).sort()).toEqual(['a (1).txt', 'a (2).txt', 'a.txt']);
});

test('overwrite replaces the file, or the link itself, at the end alone', async () => {
  const { folder, target } = await occupied();
  await symlink('a.txt', join(folder, 'link'));
  for (const path of [target, join(folder, 'link')]) {
    const before = await readFile(target, 'utf8');
    const landing = await land({ target: path, onConflict: 'overwrite' });
    await landing.write(Buffer.from('new'));
    expect(await readFile(target, 'utf8')).toBe(before);
    expect(await landing.finish()).toBe(path);
    expect(await readFile(path, 'utf8')).toBe('new');
  }
  expect((await readdir(folder)).sort()).toEqual(['a.txt', 'link']);
});

test('skip and fail see a target that is there before anything is made', async () => {
  const { folder, target } = await occupied();
  expect(await Landing.open({ target, size: 3, onConflict: 'skip' })).toBeUndefined();
  await expect(land({ target, onConflict: 'fail' })).rejects.toMatchObject({
    code: 'target-exists',
    exit: 8,
  });
  expect(await readdir(folder)).toEqual(['a.txt']);
});

test('skip and fail see a target that appears meanwhile', async () => {
  const { folder, target } = await occupied();
  await unlink(target);
  const skipping = await land({ target, onConflict: 'skip' });
  const failing = await land({ target, onConflict: 'fail' });
  await writeFile(target, 'theirs');
  expect(await skipping.finish()).toBeUndefined();
  await expect(failing.finish()).rejects.toMatchObject({ code: 'target-exists' });
  expect(await readFile(target, 'utf8')).toBe('theirs');
  await failing.abort('remove');
  expect(await readdir(folder)).toEqual(['a.txt']);
});

test('a folder is never overwritten', async () => {
  const folder = await testFolder();
  await mkdir(join(folder, 'a'));
  const plan = { target: join(folder, 'a'), size: 1, onConflict: 'overwrite' } as const;
  await expect(checkLanding(plan)).rejects.toMatchObject({ code: 'target-exists', exit: 8 });
});

test('abort decides about the part also after a finish that failed', async () => {
  const { folder, target } = await occupied();
  await unlink(target);
  const landing = await land({ target, onConflict: 'overwrite' });
  await landing.write(Buffer.from('new'));
  await mkdir(target);
  await expect(landing.finish()).rejects.toMatchObject({ code: 'write-failed', exit: 8 });
  expect(await readFile(landing.part, 'utf8')).toBe('new');
  await landing.abort('keep');
  expect((await readdir(folder)).sort()).toEqual(['a.txt', 'a.txt.jet-part']);
  await landing.abort('remove');
  expect(await readdir(folder)).toEqual(['a.txt']);
});

test('abort after a finish touches neither the file nor a later part of the same name', async () => {
  const folder = await testFolder();
  const landing = await land({ target: join(folder, 'a') });
  await landing.write(Buffer.from('new'));
  const finishing = landing.finish();
  await landing.abort('remove');
  expect(await finishing).toBe(join(folder, 'a'));
  await writeFile(landing.part, 'of another');
  await landing.abort('remove');
  expect((await readdir(folder)).sort()).toEqual(['a', 'a.jet-part']);
});

test.each([true, false])('abort keeps exactly the bytes that came (direct: %s)', async (direct) => {
  const folder = await testFolder();
  const size = 5 * MIB;
  const bytes = randomBytes(2 * MIB + 12_345);
  const landing = await land({ target: join(folder, 'a'), size, direct });
  await landing.write(Buffer.from(bytes));
  await landing.abort('keep');
  expect((await readFile(landing.part)).equals(bytes)).toBe(true);
  await expect(landing.write(Buffer.from('more'))).rejects.toMatchObject({ exit: 8 });
});

test('a buffer that was written is the landing’s own', async () => {
  const landing = await land({ target: join(await testFolder(), 'a'), size: MIB });
  const bytes = Buffer.allocUnsafeSlow(MIB).fill(7);
  const expected = Buffer.from(bytes);
  await landing.write(bytes);
  expect(bytes.length).toBe(0);
  const path = await landing.finish();
  expect((await readFile(String(path))).equals(expected)).toBe(true);
});

test('a folder that is missing or none is refused before the accept', async () => {
  const { target } = await occupied();
  for (const path of [join(target, 'b'), `${target}-missing/b`]) {
    const plan = { target: path, size: 1, onConflict: 'rename' } as const;
    const refusal = { code: 'folder-missing', exit: 8 };
    await expect(checkLanding(plan)).rejects.toMatchObject(refusal);
    await expect(Landing.open(plan)).rejects.toMatchObject(refusal);
  }
});

test('more than the disk holds is refused before the accept', async () => {
  const folder = await testFolder();
  const plan = { target: join(folder, 'a'), size: Number.MAX_SAFE_INTEGER, onConflict: 'rename' };
  await expect(checkLanding(plan as LandingOptions)).rejects.toMatchObject({ code: 'disk-full' });
  expect(await checkLanding({ ...plan, size: 10 } as LandingOptions)).toBe('clear');
  expect(await readdir(folder)).toEqual([]);
});

test.skipIf(!isRoot)(
  'another user’s folder is refused before the accept (needs root)',
  async () => {
    const folder = await testFolder();
    await chmod(folder, 0o755);
    expect(await runChild(['land', join(folder, 'a')], NOBODY)).toBe('folder-read-only');
    await chmod(folder, 0o777);
    expect(await runChild(['land', join(folder, 'a')], NOBODY)).toBe('landed');
    expect(await readdir(folder)).toEqual([]);
  },
);

const tmpfs = canMount('tmpfs');

test.skipIf(!tmpfs)('a read-only file system is refused (needs mount)', async () => {
  const folder = mount('tmpfs', 'size=1m');
  remountReadOnly(folder);
  const plan = { target: join(folder, 'a'), size: 1, onConflict: 'rename' } as const;
  await expect(checkLanding(plan)).rejects.toMatchObject({ code: 'folder-read-only', exit: 8 });
});

test.skipIf(!tmpfs).each([true, false])(
  'a disk that fills up ends the landing and spares the target (direct: %s; needs mount)',
  async (direct) => {
    const folder = mount('tmpfs', 'size=8m');
    const target = join(folder, 'a');
    await writeFile(target, 'old');
    const plan = { target, size: 7 * MIB, onConflict: 'overwrite', direct } as const;
    const landing = await land(plan);
    await writeFile(join(folder, 'hog'), Buffer.alloc(4 * MIB));
    const all = async () => {
      for (let i = 0; i < 7; i++) await landing.write(randomBytes(MIB));
      await landing.finish();
    };
    await expect(all()).rejects.toMatchObject({ code: 'disk-full', exit: 8 });
    await expect(checkLanding(plan)).rejects.toMatchObject({ code: 'disk-full' });
    await landing.abort('keep');
    const { size } = await stat(landing.part);
    expect(size).toBeGreaterThan(0);
    expect(size).toBeLessThan(5 * MIB);
    await landing.abort('remove');
    expect((await readdir(folder)).sort()).toEqual(['a', 'hog']);
    expect(await readFile(target, 'utf8')).toBe('old');
  },
);

test('large files pass by the page cache where the file system lets them', async () => {
  const folder = await testFolder();
  const size = 9 * MIB + 1;
  const bytes = randomBytes(size);
  for (const direct of [true, false]) {
    const landing = await land({ target: join(folder, `d-${String(direct)}`), size, direct });
    // The temporary folder may lie in memory.
    if (!direct) expect(landing.direct).toBe(false);
    for (let at = 0; at < size; at += 300_000)
      await landing.write(Buffer.from(bytes.subarray(at, at + 300_000)));
    expect((await readFile(String(await landing.finish()))).equals(bytes)).toBe(true);
  }
  const small = await land({ target: join(folder, 'small'), size: 100 });
  expect(small.direct).toBe(false);
  await small.abort('remove');
});

test('O_DIRECT is taken where a plain open takes it', async () => {
  const folder = await testFolder();
  const { open } = await import('node:fs/promises');
  const { O_CREAT, O_DIRECT, O_RDWR } = (await import('node:fs')).constants;
  const probe = await open(join(folder, 'probe'), O_CREAT | O_RDWR | O_DIRECT).then(
    async (file) => {
      await file.close();
      return true;
    },
    () => false,
  );
  const landing = await land({ target: join(folder, 'a'), size: 9 * MIB });
  expect(landing.direct).toBe(probe);
  await landing.abort('remove');
});

test.skipIf(!canMount('ramfs'))(
  'where O_DIRECT is refused and free space untold, bytes land all the same (needs mount)',
  async () => {
    const folder = mount('ramfs', 'mode=0700');
    const bytes = randomBytes(5 * MIB);
    const landing = await land({ target: join(folder, 'a'), size: bytes.length });
    expect(landing.direct).toBe(false);
    await landing.write(Buffer.from(bytes));
    expect((await readFile(String(await landing.finish()))).equals(bytes)).toBe(true);
    expect(await readdir(folder)).toEqual(['a']);
  },
);

test('a planted part is neither used nor harmed', async () => {
  const folder = await testFolder();
  await writeFile(join(folder, 'elsewhere'), 'precious');
  await symlink('elsewhere', join(folder, 'a.jet-part'));
  const landing = await land({ target: join(folder, 'a') });
  expect(landing.part).toMatch(/a\.[0-9a-f]{8}\.jet-part$/);
  await landing.write(Buffer.from('new'));
  await landing.finish();
  expect(await readFile(join(folder, 'elsewhere'), 'utf8')).toBe('precious');
});
