/** Many files and many at once. */
import { lstatSync } from 'node:fs';
import { cpus } from 'node:os';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { makeCouple, transfer } from '../contestants/jet.ts';
import type { Stage } from '../contestant.ts';
import { makeMany, sameBytes } from '../files.ts';
import { Path } from '../path.ts';
import { runs } from '../processes.ts';
import { figure, type Check } from '../results.ts';
import { sizeName } from '../tables.ts';
import { Fetching, type Fetched } from './fetches.ts';

/** One send of many small files: in a folder, and each named. */
export async function manyFiles(stage: Stage, count: number): Promise<Check[]> {
  const folder = join(stage.folder, 'many');
  const out = join(stage.folder, 'many-out');
  await mkdir(folder);
  for (const made of [out, join(stage.folder, 'many-in')]) await mkdir(made);
  const files = Array.from({ length: count }, (_, i) => join(folder, `file-${i}.bin`));
  for (const file of files) await writeFile(file, randomBytes(10_240));
  const couple = await makeCouple(stage);
  const path = new Path({ rtt: 0 });
  await transfer(stage, couple, files.slice(0, 1), join(stage.folder), { path });
  const rateOfSend = async (items: readonly string[], into: string, within = into) => {
    const { run } = await transfer(stage, couple, items, into, { path });
    const landed = await readdir(within);
    if (landed.length !== count) throw new Error(`${landed.length} of ${count} files landed`);
    for (const name of landed) await sameBytes(join(folder, name), join(within, name));
    return {
      figure: figure([(count * 1000) / run.wall]),
      unit: 'files/s',
      target: { at: 'least', value: 200 },
    } as const;
  };
  const inFolder = await rateOfSend(
    [folder],
    join(stage.folder, 'many-in'),
    join(stage.folder, 'many-in/many'),
  );
  const named = await rateOfSend(files, out);
  await couple.alice.remove();
  await couple.bob.remove();
  const note = 'from the start of the sender to the end of both, each file compared';
  return [
    { title: `${count} files of 10 KiB in one \`jet send\`, as a folder`, ...inFolder, note },
    {
      title: `${count} files of 10 KiB in one \`jet send\`, each named`,
      ...named,
      note,
    },
  ];
}

/** A folder of very many small files: how fast, and in how much memory. */
export async function largeTree(stage: Stage, count: number): Promise<Check[]> {
  const folder = join(stage.folder, 'tree');
  const out = join(stage.folder, 'tree-in');
  await mkdir(out);
  await makeMany(folder, count, (made) => randomBytes(100 + (made % 900)));
  const couple = await makeCouple(stage);
  const { run } = await transfer(stage, couple, [folder], out, { path: new Path({ rtt: 0 }) });
  await runs(['diff', '-r', folder, join(out, 'tree')]);
  await couple.alice.remove();
  await couple.bob.remove();
  for (const made of [folder, out]) await rm(made, { recursive: true });
  const title = `A folder of ${count} files of less than 1 KiB`;
  return [
    {
      title,
      figure: figure([(count * 1000) / run.wall]),
      unit: 'files/s',
      note: 'from the start of the sender to the end of both, all compared',
    },
    ...run.roles.map(({ role, peak }) => ({
      title: `${title}: peak memory of the ${role}`,
      figure: figure([peak / 1e6]),
      unit: 'MB',
      note: 'the list of the files and where they landed is held in it, their bytes are not',
    })),
  ];
}

/** The catalogue, and one holder serving many. */
export async function sharing(
  stage: Stage,
  { files, width, bytes }: { files: number; width: number; bytes: number },
): Promise<Check[]> {
  const fetching = await Fetching.prepare(stage, width, bytes);
  const serving = await fetching.serve();
  const alone: Fetched[] = [];
  for (let i = 0; i < 3; i++) alone.push(await fetching.alone());
  await serving.running.stop();
  const { rate, fetches } = await fetching.together(width);
  const single = figure(alone.map((one) => fetching.rateOf(one))).median;
  const cpu = (of: readonly Fetched[]) =>
    figure(of.map(({ ended }) => ended.cpu)).median.toFixed(2);
  const begins = fetches.map(({ began }) => began);
  const took = fetches.map(({ began, over }) => over - began);
  const spread = Math.max(...begins) - Math.min(...begins);
  const checks: Check[] = [
    {
      title: `${width} fetches at once : one alone`,
      figure: figure([rate / single]),
      unit: '×',
      target: { at: 'least', value: 0.9 },
      note: `all verified; ${rate.toFixed(0)} MB/s together from the first byte to the last end; ${single.toFixed(0)} MB/s alone`,
      bound: `All share ${cpus().length} cores. A fetch of ${sizeName(bytes)} takes ${cpu(alone)} s of CPU alone and ${cpu(fetches)} s beside the others, its start included. From the first byte of the first to that of the last are ${spread} ms: what each does before is done by then beside the bytes of the others.`,
      measure: 'fetches',
    },
    {
      title: 'The slowest of these fetches : the fastest',
      figure: figure([Math.max(...took) / Math.min(...took)]),
      unit: '×',
      note: 'from its first byte to its end',
    },
  ];
  const near = await timesOf(fetching);
  const { folder } = fetching;
  const old = new Date(Date.now() - 600_000);
  await makeMany(folder, files, (made) => Buffer.from(String(made)), old);
  // This one hashes what is new.
  await (await fetching.serve()).running.stop();
  const far = await timesOf(fetching);
  const began = performance.now();
  for (const name of await readdir(folder, { recursive: true }))
    lstatSync(join(folder, name), { bigint: true });
  const looking = performance.now() - began;
  checks.push(
    {
      title: `\`jet share\` with a catalogue of ${files} files, from its cache`,
      figure: figure([far.ms]),
      unit: 'ms',
      target: { at: 'most', value: 2000 },
      note: 'from the start of the process until it serves',
      bound: `Each file is looked at again, for it may be another by now: in plain Node that alone takes ${looking.toFixed(0)} ms.`,
    },
    {
      title: `A fetch from ${files} files : one from a single file`,
      figure: figure([figure(far.walls).median / figure(near.walls).median]),
      unit: '×',
      note: 'wall time of the same fetch; constant time is 1',
    },
  );
  await fetching.remove();
  return checks;
}

async function timesOf(fetching: Fetching): Promise<{ ms: number; walls: number[] }> {
  const { running, ms } = await fetching.serve();
  const walls = [];
  for (let i = 0; i < 3; i++) walls.push((await fetching.alone()).wall);
  await running.stop();
  return { ms, walls };
}
