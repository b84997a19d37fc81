/** A folder that is offered again: what has landed of it and still lies there does not come again. */
import { readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { Hasher } from '../../../src/files/hashing.ts';
import { LandedFiles, rememberFiles } from '../../../src/files/landed-files.ts';
import { TreeLanding } from '../../../src/transfer/tree/tree-target.ts';
import { testFolder } from '../../support/folder.ts';
import { about, digest, resume, sample, write, type Sample } from '../../support/tree-sample.ts';

describe('a folder of which something has landed before', () => {
  /** It has landed; then some of it is gone, or is another file. */
  async function landedBefore() {
    const what = await sample();
    let known: Buffer | undefined;
    const remember = (files: Buffer) => void (known = files);
    const first = await TreeLanding.open({ ...what.plan, remember });
    await write(first, what.stream);
    await first.finish();
    const { out } = what.plan;
    for (const name of ['x/a', 'x/c']) await rm(join(out, name));
    await writeFile(join(out, 'x/in/f'), 'mine');
    if (known === undefined) throw new Error('nothing was remembered');
    return { ...what, plan: { ...what.plan, landed: new LandedFiles(known) } };
  }

  /** Gives it what it asks for, and that alone. @returns how many bytes that was */
  async function serve({ stream }: Sample, landing: TreeLanding, most = Infinity): Promise<number> {
    let came = 0;
    for (;;) {
      const { start, end } = await landing.ahead();
      const bytes = stream.subarray(start, Math.min(end, start + most - came));
      await write(landing, bytes);
      came += bytes.length;
      if (start + bytes.length === stream.length || came >= most) return came;
    }
  }

  async function lies({ plan: { out }, files }: Sample) {
    expect(await readdir(out)).toEqual(['x']);
    const there = await readdir(join(out, 'x'), { recursive: true });
    const wanted = [...files.keys()].map((path) => path.slice(2));
    expect(there.sort()).toEqual([...wanted, 'in', 'in/f (1)', 'empty'].sort());
    expect(await readFile(join(out, 'x/in/f'), 'utf8')).toBe('mine');
    for (const [path, bytes] of files) {
      const name = path === 'x/in/f' ? `${path} (1)` : path;
      expect((await readFile(join(out, name))).equals(bytes), path).toBe(true);
      expect((await stat(join(out, name))).nlink, path).toBe(1);
    }
  }

  /** The list, the three files, and what became of all. */
  const missing = ({ plan: { head }, files }: Sample) =>
    head.list +
    head.files +
    ['x/a', 'x/c', 'x/in/f'].reduce((n, f) => n + (files.get(f)?.length ?? 0), 0);

  test('asks for its list, and then for what does not lie there any more', async () => {
    const what = await landedBefore();
    const landing = await TreeLanding.open(what.plan);
    expect(await landing.ahead()).toEqual({ start: 0, end: what.plan.head.list });
    expect(await serve(what, landing)).toBe(missing(what));
    expect(await landing.settle()).toBe(what.stream.length);
    const region = { file: landing.file, offset: 0, end: what.stream.length };
    const [hash] = await new Hasher(1).hash(region);
    expect(hash?.digest.toString('hex')).toBe(digest(what.stream));
    await landing.finish();
    await lies(what);
  });

  test('goes on wherever it was set aside, and still asks for no more', async () => {
    const whole = missing(await landedBefore());
    for (const at of [1, 400, 1000, whole - 4 * 1024 * 1024, whole - 20, whole - 1]) {
      const what = await landedBefore();
      const first = await TreeLanding.open(what.plan);
      const came = await serve(what, first, at);
      const left = await first.suspend();
      const { landing } = await resume(what, first.part, left);
      const again = came + (await serve(what, landing)) - whole;
      expect(again, `at ${at}`).toBeGreaterThanOrEqual(0);
      expect(again, `at ${at}`).toBeLessThan(4096);
      await landing.finish();
      await lies(what);
    }
  });

  test('comes as a whole where that is wanted, and still lands nothing twice', async () => {
    const what = await landedBefore();
    const landing = await TreeLanding.open({ ...what.plan, anew: true });
    expect(await landing.ahead()).toEqual({ start: 0, end: what.stream.length });
    await write(landing, what.stream);
    await landing.finish();
    await lies(what);
  });

  test('is not what was proven when a file is shorter once it is copied', async () => {
    const what = await landedBefore();
    const landing = await TreeLanding.open(what.plan);
    await write(landing, what.stream.subarray(0, what.plan.head.list));
    await landing.ahead();
    await truncate(join(what.plan.out, 'x/b'), 5);
    await serve(what, landing);
    expect(await landing.settle()).toBe(what.stream.length);
    const region = { file: landing.file, offset: 0, end: what.stream.length };
    const [hash] = await new Hasher(1).hash(region);
    expect(hash?.digest.toString('hex')).not.toBe(digest(what.stream));
    await landing.abort('remove');
    expect(await readdir(what.plan.out)).toEqual(['x']);
  });

  test('given up while it is copied leaves nothing', async () => {
    const what = await landedBefore();
    const landing = await TreeLanding.open(what.plan);
    await write(landing, what.stream.subarray(0, what.plan.head.list));
    const { start } = await landing.ahead();
    const writing = landing.write(Buffer.from(what.stream.subarray(start, start + 1)));
    await Promise.all([landing.abort('remove'), writing?.catch(() => undefined)]);
    expect(await readdir(what.plan.out)).toEqual(['x']);
  });

  test('remembers what has landed though something has not', async () => {
    const what = await sample();
    let known: Buffer | undefined;
    const remember = (files: Buffer) => void (known = files);
    const stream = Buffer.from(what.stream);
    stream[stream.length - 2] = 0x30;
    const landing = await TreeLanding.open({ ...what.plan, remember });
    await write(landing, stream);
    expect(await landing.finish()).toBe(join(what.plan.out, 'x'));
    expect(landing.missing).toEqual({ count: 1, lines: [9], paths: ['x/in/f'] });
    const landed = new LandedFiles(known ?? Buffer.alloc(0));
    const entry = (path: string, size: number) => ({ kind: 'file' as const, path, size, ...about });
    expect(await landed.find([entry('x/in/f', 4 * 1024 * 1024 + 17), entry('x/in/g', 7)])).toEqual([
      undefined,
      join(what.plan.out, 'x/in/g'),
    ]);
  });

  test('is known by nothing that is not what was written down', async () => {
    const { plan } = await landedBefore();
    const place = join(plan.out, 'x/b');
    for (const bytes of [
      '',
      'no zlib',
      ...['null', '[]', '["x/b",1]', '{}', '["x/b",1,2,"/a","1 2"]'],
    ])
      for (const form of [Buffer.from(bytes), deflateSync(bytes)])
        expect(await new LandedFiles(form).has(place)).toBe(false);
    expect(await plan.landed.has(place)).toBe(true);
    expect(await plan.landed.has(join(plan.out, 'x/in/f'))).toBe(false);
    expect(await plan.landed.has('/etc/passwd')).toBe(false);
  });
});

test('of batches the oldest are forgotten, and what comes again is the newest', async () => {
  const folder = await testFolder();
  const place = join(folder, 'x');
  await writeFile(place, 'x');
  const entry = (n: number) =>
    ({ kind: 'file', path: `f${n}`, size: 1, mode: 0o644, mtime: 0 }) as const;
  const files = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, n) => ({ entry: entry(from + n), place }));
  let known = new LandedFiles(Buffer.alloc(0));
  for (const some of [files(0, 10), files(10, 15_000), files(0, 1), files(20_000, 25_005)])
    known = new LandedFiles((await rememberFiles(some, known)) ?? Buffer.alloc(0));
  const there = async (n: number) => (await known.named(`f${n}`, 1)) !== undefined;
  // 20,000 stay: of the first those that are least old.
  expect(await Promise.all([0, 1, 5, 6, 20_000, 25_004].map(there))).toEqual([
    ...[true, false, false, true, true, true],
  ]);
});
