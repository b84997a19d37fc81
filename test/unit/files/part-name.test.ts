/** Parts of which nothing but the name was written down: those go, and nothing else. */
import { existsSync } from 'node:fs';
import { chmod, chown, link, lstat, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Landing } from '../../../src/files/landing.ts';
import { removeUnused } from '../../../src/files/part-name.ts';
import { Staging } from '../../../src/files/staging.ts';
import { isRoot, NOBODY } from '../../support/children.ts';
import { testFolder } from '../../support/folder.ts';

const size = 5_000_000;

/** Both kinds, each with what is made and then left as by a kill. */
const KINDS = {
  file: async (target: string, naming: (path: string) => void) => {
    const landing = await Landing.open({ target, size, onConflict: 'rename', naming });
    await landing?.abort('keep');
  },
  folder: async (target: string, naming: (path: string) => void) => {
    const staging = await Staging.make(target, 10, size, naming);
    await staging.abort('keep');
  },
};

describe.each(['file', 'folder'] as const)('the part of a %s', (kind) => {
  async function made(before: readonly string[] = []) {
    const out = await testFolder();
    for (const name of before) await mkdir(join(out, name));
    const told: string[] = [];
    await KINDS[kind](join(out, 'x'), (path) => {
      expect(existsSync(path)).toBe(false);
      told.push(path);
    });
    return { out, told, part: told.at(-1) ?? '' };
  }

  test('has its name told before it is there, and goes by that', async () => {
    const { out, told, part } = await made();
    expect(told).toEqual([join(out, 'x.jet-part')]);
    expect(await readdir(out)).toEqual(['x.jet-part']);
    await removeUnused(part);
    expect(await readdir(out)).toEqual([]);
    await removeUnused(part);
  });

  test('never has a name told under which something lies', async () => {
    const { out, told, part } = await made(['x.jet-part']);
    expect(told).toHaveLength(1);
    expect(part).toMatch(/x\.[0-9a-f]{8}\.jet-part$/);
    await removeUnused(part);
    expect(await readdir(out)).toEqual(['x.jet-part']);
  });
});

describe('what is another’s', () => {
  const folder = async (path: string) => {
    await mkdir(path, { mode: 0o700 });
    await writeFile(join(path, 'pack.jet-part'), '', { mode: 0o600 });
  };
  test.each<[string, (path: string) => Promise<unknown>]>([
    ['a file with a byte in it', (path) => writeFile(path, 'x', { mode: 0o600 })],
    ['a file that others may read', (path) => writeFile(path, '', { mode: 0o644 })],
    [
      'a folder with something else in it',
      async (path) => {
        await folder(path);
        await writeFile(join(path, 'mine'), '');
      },
    ],
    [
      'a folder with a byte in its pack',
      async (path) => {
        await folder(path);
        await writeFile(join(path, 'pack.jet-part'), 'x');
      },
    ],
    [
      'a folder with a folder for a pack',
      async (path) => {
        await mkdir(path, { mode: 0o700 });
        await mkdir(join(path, 'pack.jet-part'));
      },
    ],
    [
      'a folder that others may enter',
      async (path) => {
        await folder(path);
        await chmod(path, 0o755);
      },
    ],
    [
      'a link to such a folder',
      async (path) => {
        await folder(`${path}.away`);
        await symlink(`${path}.away`, path);
      },
    ],
    [
      'a folder with a link for a pack',
      async (path) => {
        await mkdir(path, { mode: 0o700 });
        await writeFile(`${path}.away`, '', { mode: 0o600 });
        await symlink(`${path}.away`, join(path, 'pack.jet-part'));
      },
    ],
  ])('stays: %s', async (_, make) => {
    const path = join(await testFolder(), 'x.jet-part');
    await make(path);
    const before = await readdir(path).catch(() => []);
    await removeUnused(path);
    await lstat(path);
    expect(await readdir(path).catch(() => [])).toEqual(before);
    if (existsSync(`${path}.away`)) await lstat(`${path}.away`);
  });

  test.skipIf(!isRoot)('stays: a folder of another user (needs root)', async () => {
    const path = join(await testFolder(), 'x.jet-part');
    await folder(path);
    await chown(path, NOBODY, NOBODY);
    await removeUnused(path);
    expect(await readdir(path)).toEqual(['pack.jet-part']);
  });

  test('keeps its other name', async () => {
    const path = join(await testFolder(), 'x.jet-part');
    await writeFile(path, '', { mode: 0o600 });
    await link(path, `${path}.other`);
    await removeUnused(path);
    await lstat(`${path}.other`);
  });
});
