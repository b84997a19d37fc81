import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, sep } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FoldersThere } from '../../../src/files/folders-there.ts';
import { Landing } from '../../../src/files/landing.ts';
import { foldName, safeInnerName } from '../../../src/files/names.ts';
import { staysInside } from '../../../src/files/links.ts';
import { TreeNames } from '../../../src/files/tree-names.ts';
import { Tree } from '../../../src/files/tree.ts';
import { allowedMode } from '../../../src/files/umask.ts';
import { walk, type TreeEntry, type WalkOptions, type Walked } from '../../../src/files/walk.ts';
import { testFolder } from '../../support/folder.ts';

type Skips = string[];

async function walked(root: string, options: Partial<WalkOptions> = {}, skips: Skips = []) {
  const entries: Walked[] = [];
  const skipped = (path: string, why: string) =>
    skips.push(`${path.slice(root.length + 1)}: ${why}`);
  for await (const slice of walk(root, { skipped, ...options })) entries.push(...slice);
  return entries;
}

const file = (path: string, more: Partial<TreeEntry> = {}): TreeEntry =>
  ({ kind: 'file', path, mode: 0o644, mtime: 1_000_000_000_000, size: 3, ...more }) as TreeEntry;
const folder = (
  path: string,
  more: Partial<Pick<TreeEntry, 'mode' | 'mtime'>> = {},
): TreeEntry => ({
  ...{ kind: 'folder' as const, path, mode: 0o755, mtime: 1_000_000_000_000 },
  ...more,
});
const link = (path: string, target: string): TreeEntry => ({
  kind: 'link',
  path,
  mode: 0o777,
  mtime: 0,
  target,
});

/** Builds a tree as a receiver does; what is refused is told by its code. */
async function build(
  out: string,
  entries: readonly TreeEntry[],
  options: { before?: FoldersThere; most?: number } = {},
): Promise<{ skips: Skips; refused: string[] }> {
  const skips: Skips = [];
  const refused: string[] = [];
  const tree = await Tree.open(out, { skipped: (path) => skips.push(path), ...options });
  for (const entry of entries) {
    try {
      if (entry.kind === 'folder') await tree.folder(entry);
      else if (entry.kind === 'link') tree.link(entry);
      else {
        const target = await tree.file(entry);
        const landing = await Landing.open({ target, size: 3, onConflict: 'rename' });
        await landing?.write(Buffer.from('new'));
        await tree.settle((await landing?.finish()) ?? '', entry);
      }
    } catch (error) {
      refused.push((error as { code: string }).code);
    }
  }
  await tree.finish();
  return { skips, refused };
}

/** All paths below a folder, links not followed. */
function below(path: string, at = ''): string[] {
  return readdirSync(join(path, at), { withFileTypes: true }).flatMap((entry) => {
    const inner = join(at, entry.name);
    return entry.isDirectory() ? [inner, ...below(path, inner)] : [inner];
  });
}

async function outFolder(): Promise<{ base: string; out: string }> {
  const base = await testFolder();
  const out = join(base, 'out');
  mkdirSync(out);
  writeFileSync(join(base, 'precious'), 'old');
  mkdirSync(join(base, 'elsewhere'));
  return { base, out };
}

function expectUnharmed(base: string): void {
  expect(readdirSync(base).sort()).toEqual(['elsewhere', 'out', 'precious']);
  expect(readdirSync(join(base, 'elsewhere'))).toEqual([]);
  expect(readFileSync(join(base, 'precious'), 'utf8')).toBe('old');
}

/** A folder with something of everything. */
async function sample(): Promise<string> {
  const root = join(await testFolder(), 'Top');
  for (const path of ['', 'b', 'b/deep', 'empty', '.hidden']) mkdirSync(join(root, path));
  for (const path of ['a.txt', 'b/x', 'b/deep/y.tmp', '.hidden/-z', 'Z'])
    writeFileSync(join(root, path), 'new');
  chmodSync(join(root, 'a.txt'), 0o4755);
  chmodSync(join(root, 'b'), 0o1500);
  symlinkSync('../Z', join(root, 'b/deep/no'));
  symlinkSync('../../Z', join(root, 'b/deep/up'));
  symlinkSync('b/x', join(root, 'down'));
  symlinkSync('gone', join(root, 'dangling'));
  symlinkSync('/etc/passwd', join(root, 'absolute'));
  symlinkSync('../..', join(root, 'outside'));
  for (const path of ['b/x', 'b', 'empty', 'b/deep', '']) utimesSync(join(root, path), 1e9, 1e9);
  return root;
}

describe('walking a folder', () => {
  it('gives everything in one order, links and special files told apart', async () => {
    const root = await sample();
    execFileSync('mkfifo', [join(root, 'fifo')]);
    const skips: Skips = [];
    const entries = await walked(root, {}, skips);
    expect(entries.map(({ kind, path }) => `${kind} ${path}`)).toEqual([
      'folder Top',
      'folder Top/.hidden',
      'file Top/.hidden/-z',
      'file Top/Z',
      'file Top/a.txt',
      'folder Top/b',
      'folder Top/b/deep',
      'file Top/b/deep/y.tmp',
      'file Top/b/x',
      'folder Top/empty',
    ]);
    expect(entries[4]).toMatchObject({ mode: 0o755, size: 3, source: join(root, 'a.txt') });
    expect(entries[8]).toMatchObject({ mtime: 1e12 });
    expect(skips).toContain('fifo: it is no file, folder or link');
    expect(skips).toContain('down: it is a link (--links sends links)');
    expect(skips).toHaveLength(7);
  });

  it('takes links that stay inside when told to', async () => {
    const root = await sample();
    // Inside by its letters, outside by where the link on the way leads.
    symlinkSync('..', join(root, 'b/parent'));
    symlinkSync('b/parent/..', join(root, 'sly'));
    const skips: Skips = [];
    const links = (await walked(root, { links: true }, skips)).flatMap((entry) =>
      entry.kind === 'link' ? [`${entry.path} -> ${entry.target}`] : [],
    );
    expect(links).toEqual([
      'Top/b/deep/no -> ../Z',
      'Top/b/deep/up -> ../../Z',
      'Top/b/parent -> ..',
      'Top/dangling -> gone',
      'Top/down -> b/x',
    ]);
    expect(skips.sort()).toEqual(
      ['absolute', 'outside', 'sly'].map((name) => `${name}: it is a link that leads outside`),
    );
  });

  it.each([
    [['*.tmp'], ['Top/b/deep/y.tmp']],
    [['.*'], ['Top/.hidden', 'Top/.hidden/-z']],
    [['b/'], ['Top/b', 'Top/b/deep', 'Top/b/deep/y.tmp', 'Top/b/x']],
    [['b/*'], ['Top/b/deep', 'Top/b/deep/y.tmp', 'Top/b/x']],
    [['**/deep/**'], ['Top/b/deep', 'Top/b/deep/y.tmp']],
    [['z', 'x'], ['Top/b/x']],
  ])('leaves out %j', async (exclude, gone) => {
    const root = await sample();
    const all = (await walked(root)).map(({ path }) => path);
    const left = (await walked(root, { exclude })).map(({ path }) => path);
    expect(all.filter((path) => !left.includes(path))).toEqual(gone);
  });

  it('refuses what is no folder and a pattern that is none; skips names that are no UTF-8', async () => {
    const root = await sample();
    const name = Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0x61])]);
    writeFileSync(name, 'x');
    const skips: Skips = [];
    await walked(root, {}, skips);
    expect(skips.some((skip) => skip.endsWith('its name is no UTF-8'))).toBe(true);
    const refusal = (code: string, exit: number) => ({ code, exit });
    await expect(walked(join(root, 'Z'))).rejects.toMatchObject(refusal('not-a-folder', 8));
    await expect(walked(join(root, 'down'))).rejects.toMatchObject(refusal('not-a-folder', 8));
    await expect(walked(join(root, 'none'))).rejects.toMatchObject(refusal('folder-unreadable', 8));
    await expect(walked(root, { exclude: ['/'] })).rejects.toMatchObject(refusal('bad-glob', 2));
  });
});

describe('building a tree', () => {
  it('makes again what was walked', async () => {
    const root = await sample();
    const { out } = await outFolder();
    const entries = await walked(root, { links: true });
    expect(await build(out, entries)).toEqual({ skips: [], refused: [] });
    const made = await walked(join(out, 'Top'), { links: true });
    const plain = (list: Walked[]) =>
      list.map((entry) => ({ ...entry, source: '', mode: allowedMode(entry.mode) }));
    const timeless = (list: Walked[]) =>
      plain(list).map((entry) => (entry.kind === 'link' ? { ...entry, mtime: 0 } : entry));
    expect(timeless(made)).toEqual(timeless(entries));
    expect(lstatSync(join(out, 'Top/a.txt')).mode & 0o7777).toBe(allowedMode(0o755));
  });

  it.each([
    '../precious',
    'top/../../precious',
    '..',
    '/etc/jet-test',
    '/',
    '',
    'top//x',
    'top/./x',
    'top/',
    './x',
    `${'d/'.repeat(300)}x`,
    'x'.repeat(5000),
  ])('refuses the path %j', async (path) => {
    const { base, out } = await outFolder();
    const { refused } = await build(out, [file(path), folder(path)]);
    expect(refused).toEqual(['unsafe-path', 'unsafe-path']);
    expectUnharmed(base);
    expect(readdirSync(out)).toEqual([]);
  });

  it.each([
    ['..\\..\\precious', 'precious'],
    ['top/..\\..\\precious', 'top/.._.._precious'],
    ['top/.\u200b.', 'top/file'],
    ['top/..\u202e', 'top/file'],
    ['top/...', 'top/file'],
    ['top/nul', 'top/_nul'],
    ['COM1.txt/aux', '_COM1.txt/_aux'],
    ['-rf/-rf', 'rf/-rf'],
    ['.ssh/.config', 'ssh/.config'],
    ['top/a\u0000b', 'top/ab'],
    ['top/a\nb:c', 'top/ab_c'],
  ])('makes %j a name of this system: %s', async (path, local) => {
    const { base, out } = await outFolder();
    expect((await build(out, [file(path)])).refused).toEqual([]);
    expect(below(out).at(-1)).toBe(local);
    expectUnharmed(base);
  });

  it('never goes through a link that the same tree planted first', async () => {
    const { base, out } = await outFolder();
    const { skips } = await build(out, [
      folder('top'),
      link('top/a', '../../elsewhere'),
      link('top/b', '/etc'),
      link('top/c', 'd'),
      folder('top/d'),
      link('top/e', 'c/..'),
      file('top/a/x'),
      file('top/c/y'),
    ]);
    expectUnharmed(base);
    expect(skips).toEqual(['top/a', 'top/b', 'top/e']);
    expect(readlinkSync(join(out, 'top/c'))).toBe('d');
    expect(existsSync(join(out, 'top/c (1)/y'))).toBe(true);
    expect(readdirSync(join(out, 'top/d'))).toEqual([]);
  });

  it('makes no link before all else is there', async () => {
    const { out } = await outFolder();
    const tree = await Tree.open(out, { skipped: () => undefined });
    await tree.folder(folder('top'));
    tree.link(link('top/l', 'x') as TreeEntry & { kind: 'link' });
    const landing = await Landing.open({
      ...{ target: await tree.file(file('top/l/x')), size: 0, onConflict: 'rename' },
    });
    await landing?.finish();
    expect(below(out)).toEqual(['top', 'top/l (1)', 'top/l (1)/x']);
    await tree.finish();
    expect(readlinkSync(join(out, 'top/l'))).toBe('x');
  });

  it('never goes through a link or a file that lies there', async () => {
    const { base, out } = await outFolder();
    symlinkSync('../elsewhere', join(out, 'top'));
    mkdirSync(join(out, 'other'));
    symlinkSync('../../elsewhere', join(out, 'other/sub'));
    writeFileSync(join(out, 'plain'), 'old');
    const { refused } = await build(out, [
      folder('top'),
      file('top/x'),
      file('other/sub/x'),
      file('other/sub/deep/x'),
      file('plain/x'),
    ]);
    expect(refused).toEqual([
      ...Array.from({ length: 4 }, () => 'link-in-the-way'),
      'file-in-the-way',
    ]);
    expectUnharmed(base);
  });

  it('sees a link that takes the place of a folder while the tree is built', async () => {
    const { base, out } = await outFolder();
    const tree = await Tree.open(out, { skipped: () => undefined });
    await tree.folder(folder('top/sub'));
    execFileSync('rmdir', [join(out, 'top/sub')]);
    symlinkSync('../../elsewhere', join(out, 'top/sub'));
    const refusal = { code: 'link-in-the-way', exit: 8 };
    await expect(tree.file(file('top/sub/x'))).rejects.toMatchObject(refusal);
    await expect(tree.finish()).rejects.toMatchObject(refusal);
    const target = join(out, 'top/file');
    symlinkSync('../../precious', target);
    await expect(tree.settle(target, file('x'))).rejects.toMatchObject(refusal);
    expectUnharmed(base);
    expect(lstatSync(join(base, 'elsewhere')).mode & 0o777).toBe(allowedMode(0o777));
  });

  it.each([
    ['letters of either case', 'Readme', 'README'],
    ['forms of Unicode', '\u00e9', 'e\u0301'],
    ['what folds to more letters', 'stra\u00dfe', 'STRASSE'],
    ['what has a capital of its own', 'stra\u00dfe', 'STRA\u1e9eE'],
    ['one letter that stands for two', '\ufb01le', 'file'],
    ['a dot on a capital', '\u0130x', 'i\u0307X'],
    ['a long s', 'us', 'u\u017f'],
    ['what is not seen', 'a\ufe0f', 'a'],
    ['what the sanitiser makes equal', 'a:b', 'a?b'],
    ['what is equal', 'same', 'same'],
    ['dots at the end', 'x', 'x..'],
  ])('two names that differ by %s: both are kept', async (_, a, b) => {
    const { out } = await outFolder();
    await build(out, [file(`top/${a}`), file(`top/${b}`)]);
    const names = readdirSync(join(out, 'top'));
    expect(names).toHaveLength(2);
    expect(names.filter((name) => name.includes(' (1)'))).toHaveLength(1);
    const folders = await outFolder();
    await build(folders.out, [file(`top/${a}/x`), file(`top/${b}/x`)]);
    expect(readdirSync(join(folders.out, 'top'))).toHaveLength(a === b ? 1 : 2);
    expect(below(folders.out).filter((path) => path.split('/').length === 3)).toHaveLength(2);
  });

  it('points links at what things are called here', async () => {
    const { out } = await outFolder();
    await build(out, [
      folder('.top'),
      folder('.top/A'),
      folder('.top/a'),
      file('.top/a/x:y'),
      link('.top/to', 'a/x:y'),
      link('.top/a/up', '../A'),
      link('.top/self', '.'),
      link('.top/gone', 'no:where'),
    ]);
    const top = join(out, 'top');
    expect(readlinkSync(join(top, 'to'))).toBe('a (1)/x_y');
    expect(readlinkSync(join(top, 'a (1)/up'))).toBe('../A');
    expect(readlinkSync(join(top, 'self'))).toBe('.');
    expect(readlinkSync(join(top, 'gone'))).toBe('no_where');
  });

  it('keeps modes within what is allowed and times within what there is', async () => {
    const { out } = await outFolder();
    const before = Date.now() - 10_000;
    await build(out, [
      folder('top', { mode: 0o7500 }),
      file('top/a', { mode: 0o6777 }),
      file('top/b', { mode: 0o400, mtime: Infinity }),
      file('top/c', { mtime: -1 }),
      file('top/d', { mtime: NaN }),
      file('implied/e'),
    ]);
    const mode = (path: string) => lstatSync(join(out, path)).mode & 0o7777;
    expect(['top', 'top/a', 'top/b', 'implied'].map(mode)).toEqual([
      0o500,
      allowedMode(0o777),
      0o400,
      allowedMode(0o777),
    ]);
    expect(lstatSync(join(out, 'top')).mtimeMs).toBe(1e12);
    for (const path of ['top/b', 'top/c', 'top/d'])
      expect(lstatSync(join(out, path)).mtimeMs).toBeGreaterThan(before);
  });

  it('leaves folders that were there as they are, unless they are its own', async () => {
    const { out } = await outFolder();
    mkdirSync(join(out, 'top'), { mode: 0o700 });
    await build(out, [folder('top'), file('top/a')]);
    expect(lstatSync(join(out, 'top')).mode & 0o777).toBe(0o700);
    await build(out, [folder('top')], { before: FoldersThere.all });
    expect(lstatSync(join(out, 'top')).mode & 0o777).toBe(0o700);
    await build(out, [folder('top')], { before: FoldersThere.none });
    expect(lstatSync(join(out, 'top')).mode & 0o777).toBe(allowedMode(0o755));
    expect(lstatSync(join(out, 'top')).mtimeMs).toBe(1e12);
  });

  it('tells folders that were there from all else, by the names that they get', async () => {
    const { out } = await outFolder();
    const paths = [
      'top',
      'top/a',
      'top/A',
      'top/a/in',
      'top/new',
      'top/new/in',
      'top/link',
      'top/f',
    ];
    const entries = [...paths, ...Array.from({ length: 20 }, (_, n) => `top/${n}`)].map((path) =>
      folder(path),
    );
    const seen = async () => {
      const { words } = await FoldersThere.look(out, entries, 100);
      const there = FoldersThere.of(words);
      return entries.filter((_, n) => there.has(n)).map(({ path }) => path);
    };
    expect(await seen()).toEqual([]);
    expect((await FoldersThere.look(out, entries, 100)).words).toBe('');
    for (const path of ['top', 'top/a', 'top/A (1)', 'top/a/in', 'top/17', 'top/mine'])
      mkdirSync(join(out, path));
    symlinkSync('a', join(out, 'top', 'link'));
    writeFileSync(join(out, 'top', 'f'), '');
    expect(await seen()).toEqual(['top', 'top/a', 'top/A', 'top/a/in', 'top/17']);
  });

  it('does not write over what is there with a link', async () => {
    const { out } = await outFolder();
    mkdirSync(join(out, 'top'));
    writeFileSync(join(out, 'top/l'), 'old');
    const { skips } = await build(out, [link('top/l', 'x'), link('top/m', 'x')]);
    expect(skips).toEqual([join(realpathSync(out), 'top/l')]);
    expect(readFileSync(join(out, 'top/l'), 'utf8')).toBe('old');
    expect((await build(out, [link('top/m', 'x')])).skips).toEqual([]);
  });

  it('takes a bounded number of entries, and many of one name in bounded time', async () => {
    const { out } = await outFolder();
    const { refused } = await build(out, [folder('a/b'), folder('a/c'), file('a/d')], { most: 3 });
    expect(refused).toEqual(['too-many-entries']);
    const names = new TreeNames(100_000);
    for (let i = 0; i < 50_000; i++) names.leaf('a');
    expect(names.leaf('A')).toBe('A (50000)');
  });

  it('stays inside, whatever comes', async () => {
    const segment = fc.constantFrom(
      'a',
      'A',
      '..',
      '.',
      '',
      'b',
      'l',
      '.x',
      'nul',
      'a\\b',
      '\u200b..',
    );
    const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((list) => list.join('/'));
    const entry = fc.oneof(
      path.map((p) => file(`top/${p}`)),
      path.map((p) => folder(`top/${p}`)),
      path.map((p) => file(p)),
      fc.tuple(path, path).map(([p, target]) => link(`top/${p}`, target)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { maxLength: 12 }), async (entries) => {
        const { base, out } = await outFolder();
        await build(out, entries);
        expectUnharmed(base);
        const real = realpathSync(out);
        for (const inner of below(out)) {
          const at = join(out, inner);
          if (!lstatSync(at).isSymbolicLink()) continue;
          // A link that dangles or goes round leads nowhere.
          if (existsSync(at)) expect(realpathSync(at).startsWith(real + sep)).toBe(true);
        }
        // A second run over what the first has left is no way out either.
        await build(out, entries, { before: FoldersThere.none });
        expectUnharmed(base);
      }),
      { numRuns: 60 },
    );
  });
});

describe('names in a tree', () => {
  it('are the same for the same list, unique under folding, and safe', () => {
    const name = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 5 }),
      fc.constantFrom('a', 'A', 'á'),
    );
    fc.assert(
      fc.property(fc.array(name, { maxLength: 20 }), (list) => {
        const given = () => {
          const names = new TreeNames(1000);
          return list.flatMap((n) => {
            try {
              return [names.leaf(`top/${n}`)];
            } catch {
              return [];
            }
          });
        };
        const locals = given();
        expect(given()).toEqual(locals);
        expect(new Set(locals.map((local) => foldName(local))).size).toBe(locals.length);
        for (const local of locals)
          for (const part of local.split('/').slice(1)) expect(safeInnerName(part)).toBe(part);
      }),
    );
  });

  it('are no alternative of another that has a name of its own', () => {
    const names = new TreeNames(100);
    const given = ['a (1)', 'a', 'A', 'A (2)'].map((name) => names.leaf(`top/${name}`));
    expect(given).toEqual(['top/a (1)', 'top/a', 'top/A (2)', 'top/A (2) (1)']);
    const folders = ['B (1)', 'b', 'B'].map((name) => names.folder(`top/${name}`));
    expect(folders).toEqual(['top/B (1)', 'top/b', 'top/B (2)']);
  });

  it('a link stays inside only where no link on its way could lead out', () => {
    const inside = ['x', '../x', 'x/y', '.', './x', '..', 'x//y'];
    expect(inside.filter((target) => !staysInside('top/sub/l', target))).toEqual([]);
    const outside = ['', '/x', '../..', '../../x', 'x/..', 'x/../y', '../x/../..', 'a\0b'];
    expect(outside.filter((target) => staysInside('top/sub/l', target))).toEqual([]);
    expect(staysInside('l', 'x')).toBe(false);
  });
});

it('a hard link in the walked folder is a file like any other', async () => {
  const root = await sample();
  linkSync(join(root, 'Z'), join(root, 'Z2'));
  const kinds = (await walked(root)).filter(({ path }) => dirname(path) === 'Top');
  expect(kinds.find(({ path }) => path === 'Top/Z2')?.kind).toBe('file');
});
