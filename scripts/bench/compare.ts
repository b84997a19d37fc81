/**
 * `npm run bench -- compare --before DIR --after DIR --title TEXT`: two checkouts in turns. `--measure` chooses
 * what: `data` (MB/s of one file, the default), `small` (ms of a file of 1 KiB), `version` (ms of
 * `jet --version`), `peak` (MB of the hungrier side), `fetches` (MB/s of 20 at once). `--what TEXT` says it in other words; `kept` or `dropped`
 * as a word says what became of the change. Adds to docs/benchmarks/tried.json.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { format } from 'prettier';
import { startProsody } from '../prosody.ts';
import { Fetching } from './checks/fetches.ts';
import { jet } from './contestants/jet.ts';
import type { Contestant, Stage } from './contestant.ts';
import { makeFile, sameBytes } from './files.ts';
import type { Options } from './options.ts';
import { Path } from './path.ts';
import { runs } from './processes.ts';
import { build, ROOT } from './program.ts';
import { figure, rateOf, ratio, type Measure, type Run } from './results.ts';
import { progress } from './rounds.ts';
import { SMALL, shown, sizeName } from './tables.ts';
import { style } from './page.ts';
import { readTried, TRIED, type Tried } from './tried.ts';

/** Fetches at once. */
const WIDTH = 20;
const WHAT: Readonly<Record<Measure, (bytes: number) => string>> = {
  data: (bytes) => `data phase of ${sizeName(bytes)}, MB/s`,
  small: () => 'a file of 1 KiB, ms',
  peak: (bytes) => `peak memory at ${sizeName(bytes)}, MB`,
  version: () => '`jet --version`, ms',
  fetches: (bytes) => `${WIDTH} fetches at once of ${sizeName(bytes)}, MB/s`,
};

/** Measures and writes down. @throws Error for words that are none of these */
export async function compare(
  options: Options,
  flags: Readonly<Record<string, string | boolean | undefined>>,
  words: readonly string[],
): Promise<void> {
  const text = (name: string) => (typeof flags[name] === 'string' ? flags[name] : undefined);
  const [before, title] = [text('before'), text('title')];
  if (before === undefined || title === undefined) throw new Error('--before DIR and --title TEXT');
  const measure = (text('measure') ?? 'data') as Measure;
  const bytes = measure === 'small' ? SMALL : (options.sizes.at(-1) ?? 1e9);
  const folder = await mkdtemp(join(options.folder ?? tmpdir(), 'jet-compare-'));
  const server = await startProsody();
  const sides: { stage: Stage; contestant: Contestant; seen: number[]; fetching?: Fetching }[] = [];
  try {
    for (const checkout of [before, text('after') ?? ROOT]) {
      const program = await build(join(folder, `program-${sides.length}`), { checkout });
      const stage = { server, folder, program };
      const fetching = measure === 'fetches' && (await Fetching.prepare(stage, WIDTH, bytes));
      const contestant = await jet(stage, 'direct');
      sides.push({ stage, contestant, seen: [], ...(fetching && { fetching }) });
    }
    const file = join(folder, 'file.bin');
    await makeFile(file, bytes);
    const path = new Path({ rtt: options.delays[0] ?? 0, rate: options.rate });
    for (let round = 0; round < options.runs; round++)
      for (const { stage, contestant, seen, fetching } of sides) {
        if (fetching !== undefined) {
          seen.push((await fetching.together(WIDTH)).rate);
          progress(`  jet fetch ${(seen.at(-1) ?? 0).toFixed(1)}`);
          continue;
        }
        if (measure === 'version') {
          const { began, ended } = await runs([stage.program.bin, '--version']);
          seen.push(ended - began);
          continue;
        }
        const { run, landed } = await contestant.run(file, folder, path);
        await sameBytes(file, landed);
        await rm(landed);
        seen.push(valueOf(measure, bytes, run));
        progress(`  ${contestant.name} ${(seen.at(-1) ?? 0).toFixed(1)}`);
      }
    await path.close();
  } finally {
    for (const { contestant, fetching } of sides) {
      await contestant.close();
      await fetching?.remove();
    }
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
  const [old = [], now = []] = sides.map(({ seen }) => seen);
  const tried: Tried = {
    title,
    what: text('what') ?? WHAT[measure](bytes),
    before: figure(old),
    after: figure(now),
    ratio: ratio(now, old),
    kept: !words.includes('dropped'),
    measure,
  };
  progress(`${shown(tried.before)} → ${shown(tried.after)}, × ${shown(tried.ratio, 2)}`);
  if (!options.write) return;
  const all = [
    ...readTried().filter((one) => one.title !== title || one.what !== tried.what),
    tried,
  ];
  await writeFile(TRIED, await format(JSON.stringify(all), { ...style(), parser: 'json' }));
}

function valueOf(measure: Measure, bytes: number, run: Run): number {
  if (measure === 'peak') return Math.max(...run.roles.map(({ peak }) => peak)) / 1e6;
  if (measure === 'small') return run.wall;
  return rateOf(bytes, run.data ?? run.wall);
}
