/** Many files and many at once. */
import { lstatSync } from 'node:fs';
import { cpus } from 'node:os';
import { mkdir, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { basename, join } from 'node:path';
import { jetHome, type JetHome } from '../../../test/support/jet.ts';
import { eventsOf, makeCouple, startJet, transfer } from '../contestants/jet.ts';
import type { Stage } from '../contestant.ts';
import { makeFile, sameBytes } from '../files.ts';
import { Path } from '../path.ts';
import { type Ended, type Running, runs, succeeded } from '../processes.ts';
import { figure, rateOf, type Check } from '../results.ts';
import { sizeName } from '../tables.ts';

/** Processes of one account that may be connected at once. */
const SLOTS = 4;

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
  for (let made = 0; made < count; made++) {
    const into = join(folder, String(Math.floor(made / 1000)));
    if (made % 1000 === 0) await mkdir(into, { recursive: true });
    await writeFile(join(into, `${made}.bin`), randomBytes(100 + (made % 900)));
  }
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

/** A holder and those who may fetch from it. */
interface Holding {
  readonly holder: JetHome;
  readonly fetchers: readonly JetHome[];
}

async function holding({ server }: Stage, count: number): Promise<Holding> {
  await server.addAccount('holder', 'secret');
  const names = Array.from({ length: count }, (_, i) => `fetcher${i}`);
  for (const name of names) {
    await server.addAccount(name, 'secret');
    await server.befriend('holder', name);
  }
  return {
    holder: await jetHome(server, 'holder', 'secret'),
    fetchers: await Promise.all(names.map((name) => jetHome(server, name, 'secret'))),
  };
}

/** Milliseconds from the start of `jet share` until it serves. */
async function serve(
  stage: Stage,
  holder: JetHome,
  folder: string,
): Promise<{ running: Running; ms: number; lines: () => string[] }> {
  const running = startJet(stage, holder, ['share', folder, '--contacts', '--json']);
  await running.said(/"event":"waiting"[^\n]*(?:request|fetch)/);
  const ms = performance.now() - running.began;
  return {
    running,
    ms,
    lines: () => running.stdout.split('\n').filter((line) => line.includes('"sha256"')),
  };
}

/** The catalogue, and one holder serving many. */
export async function sharing(
  stage: Stage,
  { files, width, bytes }: { files: number; width: number; bytes: number },
): Promise<Check[]> {
  const checks: Check[] = [];
  const { holder, fetchers } = await holding(stage, Math.ceil(width / SLOTS));
  const folder = join(stage.folder, 'shared');
  await mkdir(folder);
  await makeFile(join(folder, 'large.bin'), bytes);
  // What has just changed may change again: only older files are cached.
  const old = new Date(Date.now() - 600_000);
  await utimes(join(folder, 'large.bin'), old, old);
  const first = fetchers[0];
  if (first === undefined) throw new Error('nobody fetches');
  let count = 0;
  const begin = async (from: JetHome, hash: string) => {
    const out = join(stage.folder, `fetched-${count++}`);
    await mkdir(out);
    const how = ['fetch', '--json', '--wait', '300', '--out', out, `sha-256:${hash}`, holder.jid];
    return startJet(stage, from, how);
  };
  const look = async (outcome: Ended) => {
    const ended = succeeded('jet fetch', outcome);
    const end = eventsOf(ended.stdout).find(({ event }) => event === 'end');
    const landed = String(end?.['file']);
    await sameBytes(join(folder, basename(landed)), landed);
    return { ended, wall: ended.ended - ended.began, events: eventsOf(ended.stdout) };
  };
  const fetch = async (from: JetHome, hash: string) => look(await (await begin(from, hash)).ended);
  const hashOf = (lines: readonly string[], name: string) => {
    const line = lines.find((text) => text.includes(`${name}"`)) ?? '{}';
    return String((JSON.parse(line) as { sha256?: string }).sha256);
  };

  let sharing = await serve(stage, holder, folder);
  const { lines } = sharing;
  const large = hashOf(lines(), 'large.bin');
  for (const one of fetchers) await fetch(one, large);
  const alone = [];
  const cpuAlone = [];
  for (let i = 0; i < 3; i++) {
    const { events, ended } = await fetch(first, large);
    cpuAlone.push(ended.cpu);
    const times = ['start', 'end'].map((name) => events.find(({ event }) => event === name)?.time);
    alone.push(rateOf(bytes, Math.max(1, (times[1] ?? NaN) - (times[0] ?? NaN))));
  }
  await sharing.running.stop();
  // All are there before the holder is: what is measured is the fetches, and not the starts of the processes.
  const waiting: Running[] = [];
  for (let i = 0; i < width; i++)
    waiting.push(await begin(fetchers[i % fetchers.length] ?? first, large));
  for (const one of waiting) await one.said(/"event":"waiting"[^\n]*online/);
  sharing = await serve(stage, holder, folder);
  const outcomes = await Promise.all(waiting.map(({ ended }) => ended));
  const all = [];
  for (const outcome of outcomes) all.push(await look(outcome));
  const begins = all.flatMap(({ events }) => events.filter(({ event }) => event === 'start'));
  const ends = all.flatMap(({ events }) => events.filter(({ event }) => event === 'end'));
  const span =
    Math.max(...ends.map(({ time }) => time)) - Math.min(...begins.map(({ time }) => time));
  const took = all.map(({ events }) => {
    const [start, end] = ['start', 'end'].map((name) => events.find(({ event }) => event === name));
    return (end?.time ?? NaN) - (start?.time ?? NaN);
  });
  const together = rateOf(bytes * width, span);
  checks.push({
    title: `${width} fetches at once : one alone`,
    figure: figure([together / figure(alone).median]),
    unit: '×',
    target: { at: 'least', value: 0.9 },
    note: `all verified; ${together.toFixed(0)} MB/s together from the first byte to the last end; ${figure(alone).median.toFixed(0)} MB/s alone`,
    bound: `All share ${cpus().length} cores. A fetch of ${sizeName(bytes)} takes ${figure(cpuAlone).median.toFixed(2)} s of CPU alone and ${figure(all.map(({ ended }) => ended.cpu)).median.toFixed(2)} s beside the others, its start included.`,
  });
  checks.push({
    title: 'The slowest of these fetches : the fastest',
    figure: figure([Math.max(...took) / Math.min(...took)]),
    unit: '×',
    note: 'from its first byte to its end',
  });
  await sharing.running.stop();

  const near = await timesOf(fetch, first, large, stage, holder, folder);
  for (let made = 0; made < files; made++) {
    const into = join(folder, String(Math.floor(made / 1000)));
    if (made % 1000 === 0) await mkdir(into);
    const path = join(into, `${made}.txt`);
    await writeFile(path, String(made));
    await utimes(path, old, old);
  }
  // This one hashes what is new.
  await (await serve(stage, holder, folder)).running.stop();
  const far = await timesOf(fetch, first, large, stage, holder, folder);
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
      bound: `Each file is looked at again, for it may be another by now: in plain Node that alone takes ${looking.toFixed(0)} ms, and finding as many rows and making as many entries about as long again; the start comes before, and the login waits for the same processor.`,
    },
    {
      title: `A fetch from ${files} files : one from a single file`,
      figure: figure([figure(far.walls).median / figure(near.walls).median]),
      unit: '×',
      note: 'wall time of the same fetch; constant time is 1',
    },
  );
  for (const home of [holder, ...fetchers]) await home.remove();
  return checks;
}

async function timesOf(
  fetch: (from: JetHome, hash: string) => Promise<{ wall: number }>,
  from: JetHome,
  hash: string,
  stage: Stage,
  holder: JetHome,
  folder: string,
): Promise<{ ms: number; walls: number[] }> {
  const { running, ms } = await serve(stage, holder, folder);
  const walls = [];
  for (let i = 0; i < 3; i++) walls.push((await fetch(from, hash)).wall);
  await running.stop();
  return { ms, walls };
}
