/** A folder as one content: from the walk to the tree that is rebuilt, and what a peer that cheats gets. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { SealedError } from '../../../src/jet/sealed.ts';
import type { TreeEntry } from '../../../src/files/walk.ts';
import { gather, piecesOf } from '../../../src/transfer/items.ts';
import type { Sendable } from '../../../src/transfer/send.ts';
import type { TransferRow } from '../../../src/transfer/journal/journal-row.ts';
import {
  decodeTree,
  encodeTree,
  treeWords,
  writeTree,
} from '../../../src/transfer/tree/tree-list.ts';
import { reopenTree, walkWords } from '../../../src/transfer/tree/tree-source.ts';
import { xml } from '../../../src/xmpp/xml.ts';
import { createExchange } from '../../support/exchange.ts';

async function scratch(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'jet-tree-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function gathered(path: string, more: { links?: boolean; exclude?: string[] } = {}) {
  const left: string[] = [];
  const { items } = await gather([path], {
    ...{ links: false, exclude: [], ...more },
    skipped: (source, why) => void left.push(`${source}: ${why}`),
    signal: new AbortController().signal,
    kept: () => undefined,
  });
  const [item] = items;
  if (item === undefined) throw new Error('nothing was gathered');
  return { item, left };
}

/** Everything under a folder. */
async function names(path: string): Promise<string[]> {
  return (await readdir(path, { recursive: true })).sort();
}

async function sample(): Promise<string> {
  const root = join(await scratch(), 'photos');
  await mkdir(join(root, 'in', 'deep'), { recursive: true });
  await mkdir(join(root, 'empty'));
  await writeFile(join(root, 'a.txt'), 'aaa');
  await writeFile(join(root, 'nothing'), '');
  await writeFile(join(root, 'in', 'deep', 'big'), Buffer.alloc(5_000_000, 7));
  await writeFile(join(root, 'z.sh'), '#!/bin/sh\n');
  await chmod(join(root, 'z.sh'), 0o4755);
  await symlink('../a.txt', join(root, 'in', 'link'));
  await symlink('/etc/passwd', join(root, 'outside'));
  const old = new Date(1_600_000_000_000);
  for (const name of ['a.txt', 'empty', 'in']) await utimes(join(root, name), old, old);
  return root;
}

describe('a folder', () => {
  test('is rebuilt with modes, times, empty folders and links that stay inside', async () => {
    const { offer, folder, bob } = await createExchange({ sealed: true });
    const { item, left } = await gathered(await sample(), { links: true });
    expect(left).toEqual([expect.stringMatching(/outside: it is a link that leads outside/)]);
    expect(await offer(await item.open())).toBe(0);
    expect(await bob.told('end')).toMatchObject({ file: join(folder, 'photos'), exit: 0 });
    const root = join(folder, 'photos');
    expect(await names(root)).toEqual(
      ['a.txt', 'empty', 'in', 'in/deep', 'in/deep/big', 'in/link', 'nothing', 'z.sh'].sort(),
    );
    expect(await readFile(join(root, 'a.txt'), 'utf8')).toBe('aaa');
    const big = await readFile(join(root, 'in/deep/big'));
    expect(big.equals(Buffer.alloc(5_000_000, 7))).toBe(true);
    expect(await readlink(join(root, 'in/link'))).toBe('../a.txt');
    const script = await stat(join(root, 'z.sh'));
    expect([script.mode & 0o7000, script.mode & 0o100]).toEqual([0, 0o100]);
    expect((await stat(join(root, 'a.txt'))).mtimeMs).toBe(1_600_000_000_000);
    expect((await stat(join(root, 'empty'))).mtimeMs).toBe(1_600_000_000_000);
  });

  test('comes without links and what is excluded', async () => {
    const { item, left } = await gathered(await sample(), { exclude: ['*.sh', 'in/deep'] });
    expect(item.folder?.entries.map(({ path }) => path)).toEqual([
      ...['photos', 'photos/a.txt', 'photos/empty', 'photos/in', 'photos/nothing'],
    ]);
    expect(left).toHaveLength(2);
  });

  test('goes to other programs file by file, each with a name of its own', async () => {
    const { item } = await gathered(await sample());
    const pieces = await Promise.all(piecesOf(item).map((piece) => piece.open()));
    expect(pieces.map(({ name }) => name)).toEqual([
      ...['photos_a.txt', 'photos_in_deep_big', 'photos_nothing', 'photos_z.sh'],
    ]);
    for (const piece of pieces) await piece.close();
  });

  test('with a file that changed since arrives without it, and both sides say so', async () => {
    const { offer, folder, alice, bob, skipped } = await createExchange({ sealed: true });
    const root = await sample();
    const { item } = await gathered(root);
    await writeFile(join(root, 'a.txt'), 'another');
    expect(await offer(await item.open())).toBe(10);
    expect(alice.events.at(-1)).toMatchObject({ event: 'error', code: 'some-unread', exit: 10 });
    expect(alice.events.at(-1)).toHaveProperty('message', expect.stringContaining('photos/a.txt'));
    // Once: that it has not landed, either, is no news.
    expect(alice.events.filter(({ event }) => event === 'error')).toHaveLength(1);
    const missing = { count: 1, paths: [join(root, 'a.txt')] };
    expect(await alice.told('end')).toMatchObject({ status: 'partial', missing, exit: 10 });
    expect(await bob.told('end')).toMatchObject({ status: 'partial', exit: 10 });
    expect(await bob.told('end')).toMatchObject({ missing: { count: 1, paths: ['photos/a.txt'] } });
    expect(skipped).toEqual(['photos/a.txt: it could not be read there']);
    const there = await names(join(folder, 'photos'));
    expect(there).toContain('z.sh');
    expect(there.filter((name) => name.includes('a.txt') || name.includes('part'))).toEqual([]);
  });

  test('whose bytes were changed on the way leaves nothing', async () => {
    const { offer, folder, bob, network } = await createExchange({ sealed: true });
    const { item } = await gathered(await sample());
    let seen = 0;
    network.tap((stanza) => {
      const data = stanza.getChild('data', 'http://jabber.org/protocol/ibb');
      if (data === undefined || ++seen !== 3) return undefined;
      const bytes = Buffer.from(data.getText(), 'base64');
      bytes[0] = (bytes[0] ?? 0) ^ 1;
      data.children = [bytes.toString('base64')];
      return undefined;
    });
    expect(await offer(await item.open())).not.toBe(0);
    expect(await bob.told('end')).toMatchObject({ status: 'failed' });
    expect(seen).toBeGreaterThan(2);
    expect(await readdir(folder)).toEqual([]);
  });

  test('merges with one that is there, and replaces nothing', async () => {
    const { offer, folder } = await createExchange({ sealed: true });
    await mkdir(join(folder, 'photos'));
    await writeFile(join(folder, 'photos', 'a.txt'), 'mine');
    const { item } = await gathered(await sample());
    expect(await offer(await item.open())).toBe(0);
    expect(await readFile(join(folder, 'photos', 'a.txt'), 'utf8')).toBe('mine');
    expect(await readFile(join(folder, 'photos', 'a (1).txt'), 'utf8')).toBe('aaa');
  });
});

describe('a folder that is read again', () => {
  async function sent() {
    const root = await sample();
    const { item } = await gathered(root, { links: true, exclude: ['*.tmp'] });
    const source = await item.open();
    const { walked, tree, name } = source;
    if (walked === undefined || tree === undefined) throw new Error('no folder');
    const options = { kind: 'offer', tree: treeWords(tree), ...walkWords(walked) };
    return { root, source, row: { path: walked.path, name, options } as unknown as TransferRow };
  }

  const bytesOf = async (source: Sendable) => {
    const blocks: Buffer[] = [];
    for await (const block of source.read(0, source.size)) blocks.push(Buffer.from(block));
    return Buffer.concat(blocks);
  };

  test('in the same way is the same stream', async () => {
    const { root, source, row } = await sent();
    const inner = join(root, 'in');
    const { mtime } = await stat(inner);
    await writeFile(join(inner, 'x.tmp'), 'left out, as before');
    await utimes(inner, mtime, mtime);
    const again = await reopenTree(row);
    expect((await bytesOf(again)).equals(await bytesOf(source))).toBe(true);
    expect(again.tree?.files).toBe(4);
  });

  test.each([
    ['a file more', (root: string) => writeFile(join(root, 'new'), '')],
    ['a file less', (root: string) => rm(join(root, 'nothing'))],
    ['a byte more', (root: string) => writeFile(join(root, 'a.txt'), 'aaaa')],
    ['another time', (root: string) => utimes(join(root, 'z.sh'), 1, 1)],
    ['other permissions', (root: string) => chmod(join(root, 'z.sh'), 0o600)],
    ['nothing any more', (root: string) => rm(root, { recursive: true })],
  ])('with %s is refused', async (_, change) => {
    const { root, row } = await sent();
    await change(root);
    await expect(reopenTree(row)).rejects.toMatchObject({ exit: 8, code: 'source-changed' });
  });

  test('without a file that is gone since it was looked at has the others, each time', async () => {
    const { root, source, row } = await sent();
    const big = join(root, 'in/deep/big');
    const expected = await bytesOf(source);
    const again = await reopenTree(row);
    const { list = 0, files = 0 } = again.tree ?? {};
    expected.fill(0, list + 'aaa'.length, list + 'aaa'.length + 5_000_000);
    expected.write('1011', expected.length - files);
    const { mtime } = await stat(big);
    await rm(big);
    expect((await bytesOf(again)).equals(expected)).toBe(true);
    expect(again.unread).toEqual([big]);
    await writeFile(big, Buffer.alloc(5_000_000, 7));
    await utimes(big, mtime, mtime);
    expect((await bytesOf(again)).equals(expected)).toBe(true);
    expect(again.unread).toEqual([big]);
  });

  test('with a file that was read and is gone is refused', async () => {
    const { root, row } = await sent();
    const again = await reopenTree(row);
    await bytesOf(again);
    await rm(join(root, 'a.txt'));
    await expect(bytesOf(again)).rejects.toMatchObject({ exit: 8, code: 'source-changed' });
  });
});

describe('a folder of which some does not land', () => {
  test('has the rest there, and its sender knows of what, by the word of the receiver', async () => {
    const { offer, folder, alice, bob, records, theirs } = await createExchange({ sealed: true });
    const root = await sample();
    await mkdir(join(folder, 'photos', 'in'), { recursive: true });
    await writeFile(join(folder, 'photos', 'in', 'deep'), 'mine');
    await writeFile(join(folder, 'photos', 'empty'), 'mine');
    const { item } = await gathered(root, { links: true });
    expect(await offer(await item.open())).toBe(10);
    const lost = ['empty', 'in/deep', 'in/deep/big'];
    const end = { event: 'end', status: 'partial', exit: 10 };
    expect(await bob.told('end')).toMatchObject({
      ...{ ...end, file: join(folder, 'photos') },
      missing: { count: 3, paths: lost.map((path) => `photos/${path}`) },
    });
    expect(await alice.told('end')).toMatchObject({
      ...end,
      missing: { count: 3, paths: lost.map((path) => join(root, path)) },
    });
    expect(await alice.told('end')).not.toHaveProperty('sha256');
    expect(alice.events.at(-1)).toMatchObject({ event: 'error', code: 'some-missing', exit: 10 });
    expect(await names(join(folder, 'photos'))).toEqual(
      ['a.txt', 'empty', 'in', 'in/deep', 'in/link', 'nothing', 'z.sh'].sort(),
    );
    for (const { journal } of [records, theirs.records])
      expect(journal.list()).toMatchObject([{ state: 'done', status: 'partial', exit: 10 }]);
  });
});

describe('a folder of which more does not land than is named', () => {
  test('has it counted, and the first of it named', async () => {
    const { offer, folder, alice, bob } = await createExchange({ sealed: true });
    const root = join(await scratch(), 'photos');
    await mkdir(join(root, 'in'), { recursive: true });
    const inner = Array.from({ length: 1200 }, (_, n) => `in/${n}`);
    for (const name of inner) await writeFile(join(root, name), '');
    await mkdir(join(folder, 'photos'));
    await writeFile(join(folder, 'photos', 'in'), 'mine');
    const { item } = await gathered(root);
    expect(await offer(await item.open())).toBe(10);
    const ends = [await alice.told('end'), await bob.told('end')];
    for (const [n, end] of ends.entries()) {
      if (end.event !== 'end') throw new Error('no end');
      const { count = 0, paths = [] } = end.missing ?? {};
      expect([count, paths.length]).toEqual([1201, 1000]);
      expect(paths[0]).toBe(n === 0 ? join(root, 'in') : 'photos/in');
      expect(new Set(paths).size).toBe(1000);
    }
    for (const { events } of [alice, bob])
      expect(events.at(-1)).toHaveProperty(
        'message',
        expect.stringMatching(/1201 did not land.*\/in, .* and 1181 more\. /),
      );
  });
});

describe('a folder whose receipt was lost', () => {
  test.each([true, false])(
    'comes again when its sender goes on, and lands once (%s)',
    async (whole) => {
      const { offer, folder, alice, records, theirs } = await createExchange({ sealed: true });
      if (!whole) {
        await mkdir(join(folder, 'photos'));
        await writeFile(join(folder, 'photos', 'empty'), 'mine');
      }
      const exit = whole ? 0 : 10;
      const { item } = await gathered(await sample(), { links: true });
      const source = await item.open();
      let key = 0;
      expect(await offer(source, { began: (begun) => (key = begun) })).toBe(exit);
      const before = await names(join(folder, 'photos'));
      const row = records.journal.forget(key);
      const { account, peer, direction, jet, name, size, path, options, identity = '' } = row;
      const about = { account, peer, direction, jet, name, size, path, options };
      const recorder = records.begin(about);
      recorder.agreed(() => row.id, Buffer.from(identity, 'hex'), row.device ?? 0);
      const sha256 = Buffer.from(row.sha256 ?? '', 'hex');
      expect(sha256).toHaveLength(32);
      let parts: (string | undefined)[] = [];
      const watched: Sendable = {
        ...source,
        async *read(from, to) {
          for await (const block of source.read(from, to)) {
            parts = theirs.records.journal.list({ states: ['open'] }).map(({ part }) => part);
            yield block;
          }
        },
      };
      expect(await offer(watched, { goesOn: { recorder, sha256 } })).toBe(exit);
      // A kill would have left nothing that nobody knows of.
      expect(parts).toEqual([join(folder, 'photos.jet-part')]);
      const status = whole ? 'verified' : 'partial';
      expect(alice.events.findLast(({ event }) => event === 'end')).toMatchObject({ status, exit });
      expect(await readdir(folder)).toEqual(['photos']);
      expect(await names(join(folder, 'photos'))).toEqual(before);
    },
  );
});

/** A stream as a peer that cheats may make it: any list, `bytes` for the files, all of them marked whole. */
function forged(
  name: string,
  entries: readonly TreeEntry[],
  bytes: string,
  batch = false,
): Sendable {
  const { bytes: list, head } = writeTree(entries, batch);
  const stream = Buffer.concat([list, Buffer.from(bytes), Buffer.alloc(head.files, '1')]);
  return {
    ...{ name, size: stream.length, mtime: new Date(0), tree: head },
    async *read(offset, end) {
      await Promise.resolve();
      yield Buffer.from(stream.subarray(offset, end));
    },
    close: () => Promise.resolve(),
  };
}

const about = { mode: 0o755, mtime: 0 };
const dir = (path: string): TreeEntry => ({ kind: 'folder', path, ...about });
const file = (path: string, size = 1): TreeEntry => ({ kind: 'file', path, size, ...about });
const link = (path: string, target: string): TreeEntry => ({
  kind: 'link',
  path,
  target,
  ...about,
});

describe('a peer that cheats', () => {
  test.each<[string, string, TreeEntry[], string]>([
    ['dot-dot', 'x', [dir('x'), file('x/../../evil')], 'e'],
    ['dot-dot as the name', '..', [dir('..'), file('../evil')], 'e'],
    ['an absolute path', 'x', [dir('x'), file('/tmp/evil')], 'e'],
    ['an absolute name', '/tmp', [dir('/tmp'), file('/tmp/evil')], 'e'],
    ['another folder beside the one that was offered', 'x', [dir('x'), file('y/evil')], 'e'],
    ['another folder in place of the one that was offered', 'x', [dir('y'), file('x/evil')], 'e'],
    ['a file in place of the folder', 'x', [file('x')], 'e'],
    ['an empty step', 'x', [dir('x'), file('x//evil')], 'e'],
    ['fewer bytes than the list says', 'x', [dir('x'), file('x/evil', 9)], 'e'],
    ['more bytes than the list says', 'x', [dir('x'), file('x/evil')], 'e111'],
    ['a mode that is none', 'x', [{ ...dir('x'), mode: 0o7777 }, file('x/evil')], 'e'],
  ])('%s leaves nothing anywhere', async (_what, name, entries, bytes) => {
    const { offer, folder, bob } = await createExchange({ sealed: true });
    expect(await offer(forged(name, entries, bytes))).not.toBe(0);
    expect(await bob.told('end')).toMatchObject({ status: 'failed' });
    expect(await readdir(folder)).toEqual([]);
    for (const path of [join(folder, '..', 'evil'), '/tmp/evil'])
      await expect(lstat(path)).rejects.toThrow('ENOENT');
  });

  test.each<[string, string, TreeEntry[], string]>([
    ['a path into a folder', 'x', [file('x'), file('y/evil')], 'ee'],
    ['dot-dot', '..', [file('..')], 'e'],
    ['an absolute path', '/tmp/evil', [file('/tmp/evil')], 'e'],
    ['a folder', 'x', [file('x'), dir('evil')], 'e'],
    ['a link', 'x', [file('x'), link('evil', 'x')], 'e'],
    ['another first file than was offered', 'x', [file('evil'), file('x')], 'ee'],
    ['fewer bytes than the list says', 'x', [file('x'), file('evil', 9)], 'e'],
  ])('%s in a batch leaves nothing anywhere', async (_what, name, entries, bytes) => {
    const { offer, folder, bob } = await createExchange({ sealed: true });
    expect(await offer(forged(name, entries, bytes, true))).not.toBe(0);
    expect(await bob.told('end')).toMatchObject({ status: 'failed' });
    expect(await readdir(folder)).toEqual([]);
    for (const path of [join(folder, '..', 'evil'), '/tmp/evil'])
      await expect(lstat(path)).rejects.toThrow('ENOENT');
  });

  test('names that are one by folding, or begin with a dot, are names of their own in a batch', async () => {
    const { offer, folder } = await createExchange({ sealed: true });
    const entries = [file('a'), file('A'), file('a'), file('.profile')];
    expect(await offer(forged('a', entries, 'wxyz', true))).toBe(0);
    const found = await readdir(folder);
    expect(found).toHaveLength(4);
    expect(found.filter((each) => each.startsWith('.'))).toEqual([]);
    const bytes = found.map((each) => readFileSync(join(folder, each), 'utf8'));
    expect(bytes.sort()).toEqual(['w', 'x', 'y', 'z']);
  });

  test('a link first, and a file through it: both stay inside, side by side', async () => {
    const { offer, folder } = await createExchange({ sealed: true });
    const away = await scratch();
    const entries = [
      dir('x'),
      link('x/d', away),
      link('x/e', '..'),
      link('x/f', 'g'),
      file('x/d/evil'),
      file('x/e/evil'),
      file('x/f/evil'),
    ];
    expect(await offer(forged('x', entries, 'abc'))).toBe(0);
    expect(await readdir(away)).toEqual([]);
    expect((await names(join(folder, 'x'))).filter((name) => name.endsWith('evil'))).toEqual([
      ...['d (1)/evil', 'e (1)/evil', 'f (1)/evil'],
    ]);
    expect(await readlink(join(folder, 'x', 'f'))).toBe('g');
    for (const name of ['d', 'e']) expect(await readdir(join(folder, 'x'))).not.toContain(name);
  });

  test('a link that lies in the target is not followed', async () => {
    const { offer, folder } = await createExchange({ sealed: true });
    const away = await scratch();
    await symlink(away, join(folder, 'x'));
    expect(await offer(forged('x', [dir('x'), file('x/evil')], 'e'))).not.toBe(0);
    expect(await readdir(away)).toEqual([]);
  });

  test('names that are one on other systems land under names of their own', async () => {
    const { offer, folder } = await createExchange({ sealed: true });
    const twins = ['x/Name', 'x/name', 'x/\u00e9', 'x/e\u0301', 'x/name'].map((path) => file(path));
    expect(await offer(forged('x', [dir('x'), ...twins], 'abcde'))).toBe(0);
    const there = await readdir(join(folder, 'x'));
    const folded = there.map((name) => name.normalize('NFC').toLowerCase());
    expect(new Set(folded).size).toBe(5);
    const bytes = await Promise.all(there.map((name) => readFile(join(folder, 'x', name), 'utf8')));
    expect(bytes.sort().join('')).toBe('abcde');
  });

  test('a list that is not the one of the offer is not read', async () => {
    const { offer, folder, bob } = await createExchange({ sealed: true });
    const source = forged('x', [dir('x'), file('x/a')], 'e');
    const sha256 = createHash('sha256').update('other').digest();
    const lying = { ...source, ...(source.tree && { tree: { ...source.tree, sha256 } }) };
    expect(await offer(lying)).not.toBe(0);
    expect((await bob.told('error')) as unknown).toMatchObject({ code: 'bad-list', exit: 9 });
    expect(await readdir(folder)).toEqual([]);
  });

  test('a list of fewer files than were offered is not read', async () => {
    const { offer, folder, bob } = await createExchange({ sealed: true });
    const { tree, ...source } = forged('x', [dir('x'), file('x/a')], 'e1');
    expect(await offer({ ...source, ...(tree && { tree: { ...tree, files: 2 } }) })).not.toBe(0);
    expect((await bob.told('error')) as unknown).toMatchObject({ code: 'bad-list', exit: 9 });
    expect(await readdir(folder)).toEqual([]);
  });

  const sha256 = Buffer.alloc(32).toString('base64');
  test.each([
    [{ list: '11', files: '0', sha256 }],
    [{ list: '5', files: '6', sha256 }],
    [{ list: '67108865', files: '0', sha256 }],
    [{ list: '5', files: '-1', sha256 }],
    [{ list: '5', files: '1', sha256: 'AAAA' }],
    [{ list: '5', files: '1' }],
    [{ list: '5', files: '1', sha256, batch: 'maybe' }],
    [{ list: '5', files: '0', sha256, batch: 'true' }],
  ])('%j is no head of a list', (attrs) => {
    expect(() => decodeTree(xml('tree', attrs), 10)).toThrow(SealedError);
  });

  test('a head survives the way through XML', () => {
    const { head } = writeTree([dir('x'), file('x/a')]);
    expect(decodeTree(encodeTree(head), 1000)).toEqual(head);
    const batch = writeTree([file('a')], true).head;
    expect(decodeTree(encodeTree(batch), 1000)).toEqual(batch);
    expect(batch.batch).toBe(true);
  });
});
