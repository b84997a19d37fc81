/** What the journal knows of what is received, from before there is anything of it until it has its name. */
import { existsSync } from 'node:fs';
import { chmod, link, mkdir, readdir, rename, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.ts';
import { allowedMode } from '../../../src/files/umask.ts';
import type { TreeEntry } from '../../../src/files/walk.ts';
import { takesPart } from '../../../src/transfer/journal/earlier.ts';
import type { Recorder } from '../../../src/transfer/journal/recorder.ts';
import { fileTarget, keptTarget, treeTarget } from '../../../src/transfer/targets.ts';
import { treeWords } from '../../../src/transfer/tree/tree-list.ts';
import { TreeLanding } from '../../../src/transfer/tree/tree-target.ts';
import { testRecords } from '../../support/records.ts';
import { testFolder } from '../../support/folder.ts';
import { about, digest, sample, type Sample } from '../../support/tree-sample.ts';

/** The row of a new offer; `part` is all that it knows of what was kept. */
function rowOf(
  { plan: { out, name, size, head } }: Sample,
  part?: string,
  records = testRecords(systemClock),
): Recorder {
  return records.begin({
    ...{ account: 'bob@b.test', peer: 'alice@a.test', direction: 'receive', jet: true },
    ...{ name, size, options: { kind: 'offer', tree: treeWords(head) } },
    ...{ identity: 'a'.repeat(64), device: 1 },
    ...(part !== undefined && { path: join(out, name), part }),
  });
}

const notSaid = () => undefined;

/** What a recorder's row has kept, as the next process finds it. */
function kept(recorder: Recorder) {
  const { size = 0 } = recorder.row();
  return keptTarget({ recorder, size, most: size, say: notSaid, skipped: notSaid });
}

describe('a folder whose process was killed before the first byte', () => {
  test('is known by its row before there is anything', async () => {
    const what = await sample();
    const recorder = rowOf(what);
    const seen: unknown[] = [];
    const note = recorder.note.bind(recorder);
    recorder.note = (details) => {
      note(details);
      const { path, part, partIdentity } = recorder.row();
      seen.push({ path, part, partIdentity, there: existsSync(part ?? '') });
    };
    const target = await treeTarget(what.plan, recorder);
    const part = join(what.plan.out, 'x.jet-part');
    const path = join(what.plan.out, 'x');
    expect(seen).toEqual([{ path, part, partIdentity: undefined, there: false }]);
    expect(recorder.row().partIdentity).toBeDefined();
    await target.abort(false);
  });

  test('has what it made taken away by the next run', async () => {
    const what = await sample();
    const { part } = await TreeLanding.open(what.plan).then(async (landing) => {
      await landing.abort('keep');
      return landing;
    });
    expect(await readdir(what.plan.out)).toEqual(['x.jet-part']);
    const recorder = rowOf(what, part);
    const { size } = what.plan;
    const next = await kept(recorder);
    expect(next).toMatchObject({ fresh: true, extent: { offset: 0, length: size } });
    expect(await readdir(what.plan.out)).toEqual(['x.jet-part']);
    expect(recorder.row().partIdentity).toBeDefined();
    await next?.target.abort(false);
    expect(await readdir(what.plan.out)).toEqual([]);
  });
});

describe('a folder whose process was killed while its files got their names', () => {
  const files = Array.from({ length: 40 }, (_, n) => [`x/in/file ${n}`, 100 + n] as const);
  const outside: TreeEntry = { kind: 'link', path: 'x/zz', target: '/etc', ...about };
  const then = new Date(1_000_000_000_000);

  /** With one folder that was there before, and all others new, or all of them new. */
  async function cutOff(there: boolean, records = testRecords(systemClock)) {
    const cut = () => {
      throw new Error('cut off');
    };
    // A link that is told of cuts it, when some of the files have landed.
    const what = await sample(files, [outside], { skipped: cut });
    const empty = join(what.plan.out, 'x', 'empty');
    if (there) {
      await mkdir(empty, { recursive: true });
      await chmod(empty, 0o711);
      await utimes(empty, then, then);
      await chmod(join(what.plan.out, 'x'), 0o750);
    }
    const recorder = rowOf(what, undefined, records);
    recorder.agreed(() => 'b'.repeat(32), Buffer.alloc(32, 0xaa), 1);
    const target = await treeTarget(what.plan, recorder);
    await target.write(Buffer.from(what.stream));
    await expect(target.finish()).rejects.toThrow('cut off');
    // Its files are closed, as by the kill; what it says of them is not written down.
    await target.abort(true);
    expect((await readdir(join(what.plan.out, 'x', 'in'))).length).toBeGreaterThan(0);
    return { what, recorder, empty };
  }

  const modes = async ({ plan: { out } }: Sample) => {
    const all = ['x', 'x/in', 'x/empty'].map(async (path) => (await stat(join(out, path))).mode);
    return (await Promise.all(all)).map((mode) => mode & 0o777);
  };

  test.each([true, false])(
    'leaves its folders that were there as they were (%s)',
    async (there) => {
      const { what, recorder, empty } = await cutOff(there);
      expect(recorder.row().options).toMatchObject({ landing: true });
      expect('there' in recorder.row().options).toBe(there);
      const next = await kept(recorder);
      expect(await next?.target.finish()).toBe(join(what.plan.out, 'x'));
      const made = allowedMode(0o755);
      expect(await modes(what)).toEqual(there ? [0o750, made, 0o711] : [made, made, made]);
      expect((await stat(empty)).mtimeMs).toBe(there ? then.getTime() : about.mtime);
      expect(await readdir(join(what.plan.out, 'x', 'in'))).toHaveLength(files.length);
    },
  );

  test('leaves them so, too, when it is offered once more', async () => {
    const records = testRecords(systemClock);
    const { what, recorder, empty } = await cutOff(true, records);
    recorder.release();
    const again = rowOf(what, undefined, records);
    expect(takesPart(records, again, what.plan.out)).toBe(true);
    const next = await kept(again);
    await next?.target.finish();
    expect(await modes(what)).toEqual([0o750, allowedMode(0o755), 0o711]);
    expect((await stat(empty)).mtimeMs).toBe(then.getTime());
  });
});

describe('a file whose process was killed when it had its name', () => {
  const size = 5;
  const bytes = Buffer.from('right');

  /** It lies there, and nobody has heard of it. */
  async function landed(already: readonly string[] = []) {
    const out = await testFolder();
    for (const name of already) await writeFile(join(out, name), 'other');
    const recorder = testRecords(systemClock).begin({
      ...{ account: 'bob@b.test', peer: 'alice@a.test', direction: 'receive', jet: true },
      ...{ name: 'x.bin', size, options: { kind: 'offer' }, identity: 'a'.repeat(64), device: 1 },
    });
    const plan = { target: join(out, 'x.bin'), size, onConflict: 'rename' as const };
    const target = await fileTarget(plan, 'file', recorder);
    await target?.write(Buffer.from(bytes));
    const path = (await target?.finish()) ?? '';
    return { out, recorder, path };
  }

  test.each([[[]], [['x.bin', 'x (1).bin']]])(
    'is found, and not taken again, beside %j',
    async (already) => {
      const { out, recorder, path } = await landed(already);
      const before = await readdir(out);
      const next = await kept(recorder);
      expect(next).toMatchObject({ fresh: false, extent: { offset: size, length: 0 } });
      expect(await next?.target.built?.taken()).toBe(true);
      const [hash] = (await next?.target.built?.digests(['sha-256'])) ?? [];
      expect(hash?.digest.toString('hex')).toBe(digest(bytes));
      expect(await next?.target.finish()).toBe(path);
      expect(recorder.row().path).toBe(path);
      expect(await readdir(out)).toEqual(before);
    },
  );

  test('loses the name of its part, where it still has that', async () => {
    const { out, recorder, path } = await landed();
    await link(path, join(out, 'x.bin.jet-part'));
    const next = await kept(recorder);
    expect(next?.extent).toEqual({ offset: size, length: 0 });
    expect(await readdir(out)).toEqual(['x.bin']);
  });

  test('comes again where its user has changed it since, and leaves that alone', async () => {
    const { out, recorder, path } = await landed();
    await writeFile(path, 'mine!');
    const next = await kept(recorder);
    next?.target.built?.doubt(new Error('another hash'));
    const again = await kept(recorder);
    expect(again).toMatchObject({ fresh: true, extent: { offset: 0, length: size } });
    await again?.target.write(Buffer.from(bytes));
    expect(await again?.target.finish()).toBe(join(out, 'x (1).bin'));
    expect((await readdir(out)).sort()).toEqual(['x (1).bin', 'x.bin']);
  });

  test('is not what another file is that lies there', async () => {
    const { out, recorder, path } = await landed();
    // Another inode under the name, as an editor leaves it.
    await rename(path, join(out, 'moved'));
    await writeFile(path, bytes);
    const next = await kept(recorder);
    expect(next).toMatchObject({ fresh: true, extent: { offset: 0, length: size } });
    await next?.target.abort(false);
  });
});
