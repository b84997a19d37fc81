/** A folder lands on a file system that has no hard links: what link() says there is put in its place. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../../src/core/clock.ts';
import type { ConflictPolicy } from '../../../src/files/landing.ts';
import { LARGE } from '../../../src/files/runs.ts';
import { allowedMode } from '../../../src/files/umask.ts';
import type { TreeEntry } from '../../../src/files/walk.ts';
import { keptTarget, treeTarget } from '../../../src/transfer/targets.ts';
import { treeWords, writeTree } from '../../../src/transfer/tree/tree-list.ts';
import { TreeLanding } from '../../../src/transfer/tree/tree-target.ts';
import { testRecords } from '../../support/records.ts';
import { about, sample, write, type Sample } from '../../support/tree-sample.ts';

/** How link() fails, and how often it was asked. */
const links = vi.hoisted(() => ({ code: 'EPERM', asked: 0 }));

vi.mock('node:fs/promises', async (original) => ({
  ...(await original<object>()),
  link: () => {
    links.asked++;
    return Promise.reject(Object.assign(new Error(links.code), { code: links.code }));
  },
}));

beforeEach(() => {
  links.code = 'EPERM';
  links.asked = 0;
});

/** Small and large files in turn. */
const FILES = Array.from(
  { length: 40 },
  (_, n) => [`x/in/file ${n}`, n % 3 === 0 ? LARGE + n : 100 + n] as const,
);

/** All of it is there, once, and nothing else. */
async function isThere({ plan: { out }, files }: Sample, besides: readonly string[] = []) {
  expect(await readdir(out)).toEqual(['x']);
  const there = await readdir(join(out, 'x', 'in'));
  const names = [...files.keys()].map((path) => path.slice('x/in/'.length));
  expect(there.sort()).toEqual([...names, ...besides].sort());
  for (const [path, bytes] of files)
    expect((await readFile(join(out, path))).equals(bytes), path).toBe(true);
}

describe('a folder on a file system without hard links', () => {
  test.each(['EPERM', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])('lands (%s)', async (code) => {
    links.code = code;
    const what = await sample(FILES);
    const landing = await TreeLanding.open(what.plan);
    await write(landing, what.stream);
    expect(await landing.finish()).toBe(join(what.plan.out, 'x'));
    expect(links.asked).toBeGreaterThan(FILES.length - 1);
    await isThere(what);
    const { mode, mtimeMs } = await stat(join(what.plan.out, 'x/in/file 3'));
    expect([mode & 0o400, mtimeMs]).toEqual([0o400, about.mtime]);
  });

  test('does not take another failure for that', async () => {
    links.code = 'EIO';
    const what = await sample(FILES);
    const landing = await TreeLanding.open(what.plan);
    await write(landing, what.stream);
    await landing.finish();
    const { files } = what.plan.head;
    expect(landing.missing).toMatchObject({ count: files });
    expect(await readdir(join(what.plan.out, 'x/in'))).toEqual([]);
  });

  test.each<[ConflictPolicy, string[]]>([
    ['rename', ['file 3 (1)', 'file 4 (1)']],
    ['overwrite', []],
    ['skip', []],
  ])('leaves what is there, or not, as %s has it', async (onConflict, besides) => {
    const what = await sample(FILES, [], { onConflict });
    const inner = join(what.plan.out, 'x', 'in');
    await mkdir(inner, { recursive: true });
    // A large one, and a small one.
    for (const name of ['file 3', 'file 4']) await writeFile(join(inner, name), 'mine');
    const landing = await TreeLanding.open(what.plan);
    await write(landing, what.stream);
    await landing.finish();
    const contents = async (name: string) => readFile(join(inner, name));
    for (const name of ['file 3', 'file 4']) {
      const sent = what.files.get(`x/in/${name}`) ?? Buffer.alloc(0);
      const kept = onConflict === 'overwrite' ? sent : Buffer.from('mine');
      expect((await contents(name)).equals(kept)).toBe(true);
      if (onConflict === 'rename') expect((await contents(`${name} (1)`)).equals(sent)).toBe(true);
    }
    expect(await readdir(inner)).toHaveLength(FILES.length + besides.length);
    expect(await readdir(what.plan.out)).toEqual(['x']);
  });

  test('gives a large file that its owner may not read its permissions last', async () => {
    const secret: TreeEntry = {
      kind: 'file',
      path: 'x/secret',
      size: LARGE,
      ...about,
      mode: 0o200,
    };
    const folder: TreeEntry = { kind: 'folder', path: 'x', ...about, mode: 0o755 };
    const { bytes: list, head } = writeTree([folder, secret]);
    const bytes = randomBytes(LARGE);
    const stream = Buffer.concat([list, bytes, Buffer.from('1')]);
    const { plan } = await sample([]);
    const landing = await TreeLanding.open({ ...plan, size: stream.length, head });
    await write(landing, stream);
    await landing.finish();
    const path = join(plan.out, 'x/secret');
    expect((await stat(path)).mode & 0o777).toBe(allowedMode(0o200));
    await chmod(path, 0o600);
    expect((await readFile(path)).equals(bytes)).toBe(true);
    expect(links.asked).toBe(1);
  });

  test('and cut off while its files got their names comes again, and lands nothing twice', async () => {
    const outside: TreeEntry = { kind: 'link', path: 'x/zz', target: '/etc', ...about };
    const cut = () => {
      throw new Error('cut off');
    };
    const what = await sample(FILES, [outside], { skipped: cut });
    const { out, name, size, head } = what.plan;
    const recorder = testRecords(systemClock).begin({
      ...{ account: 'bob@b.test', peer: 'alice@a.test', direction: 'receive', jet: true },
      ...{ name, size, options: { kind: 'offer', tree: treeWords(head) } },
    });
    const first = await treeTarget(what.plan, recorder);
    await first.write(Buffer.from(what.stream));
    await expect(first.finish()).rejects.toThrow('cut off');
    await first.abort(true);
    const landed = await readdir(join(out, 'x', 'in'));
    expect(landed.length).toBeGreaterThan(0);
    expect(landed.length).toBeLessThan(FILES.length);
    const said: string[] = [];
    const next = await keptTarget({
      ...{ recorder, size, most: size, skipped: () => undefined },
      say: (code) => said.push(code),
    });
    // The large ones that have their names are gone from the parts.
    expect(said).toEqual(['starts-anew']);
    expect(next?.extent).toEqual({ offset: 0, length: size });
    await next?.target.write(Buffer.from(what.stream));
    expect(await next?.target.finish()).toBe(join(out, 'x'));
    await isThere(what);
  });
});
