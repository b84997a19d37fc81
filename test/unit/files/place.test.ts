import { chmod, chown, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { placeNew } from '../../../src/files/place.ts';
import { isRoot, NOBODY, runChild } from '../../support/children.ts';
import { testFolder } from '../../support/folder.ts';

function linksProtected(): boolean {
  try {
    return readFileSync('/proc/sys/fs/protected_hardlinks', 'latin1').trim() === '1';
  } catch {
    return false;
  }
}

/** Where the system lets nobody link another user's file, a link fails as on file systems without. */
const canRefuse = isRoot && linksProtected();

async function foreignPart(folderMode: number): Promise<{ folder: string; args: string[] }> {
  const outer = await testFolder();
  await chmod(outer, 0o755);
  const folder = join(outer, 'in');
  await mkdir(folder);
  await chmod(folder, folderMode);
  await writeFile(join(folder, 'part'), 'new');
  return { folder, args: ['place', join(folder, 'part'), join(folder, 'a')] };
}

test('a name that is taken, by a folder too, stays what it is', async () => {
  const folder = await testFolder();
  await writeFile(join(folder, 'part'), 'new');
  await mkdir(join(folder, 'dir'));
  expect(await placeNew(join(folder, 'part'), join(folder, 'dir'))).toBe(false);
  expect(await placeNew(join(folder, 'part'), join(folder, 'a'))).toBe(true);
  expect((await readdir(folder)).sort()).toEqual(['a', 'dir']);
});

test.skipIf(!canRefuse)('without hard links the part is renamed (needs root)', async () => {
  const { folder, args } = await foreignPart(0o777);
  expect(await runChild(args, NOBODY)).toBe('true');
  expect(await readFile(join(folder, 'a'), 'utf8')).toBe('new');
  expect(await readdir(folder)).toEqual(['a']);
});

test.skipIf(!canRefuse)('without hard links a taken name stays (needs root)', async () => {
  const { folder, args } = await foreignPart(0o777);
  await writeFile(join(folder, 'a'), 'old');
  expect(await runChild(args, NOBODY)).toBe('false');
  expect(await readFile(join(folder, 'a'), 'utf8')).toBe('old');
  expect((await readdir(folder)).sort()).toEqual(['a', 'part']);
});

test.skipIf(!canRefuse)('a rename that fails leaves no placeholder (needs root)', async () => {
  // In a sticky folder a name is its owner's to change.
  const { folder, args } = await foreignPart(0o1777);
  await chown(join(folder, 'part'), 1, 1);
  expect(await runChild(args, NOBODY)).toBe('EPERM');
  expect(await readdir(folder)).toEqual(['part']);
});
