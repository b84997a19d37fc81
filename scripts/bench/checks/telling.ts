/** What progress, journal and events cost while bytes flow. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cpuOf } from '../bounds.ts';
import { jet } from '../contestants/jet.ts';
import type { Stage } from '../contestant.ts';
import { build } from '../program.ts';
import { dataTimes, figure, rateOf, ratio, type Check, type Series } from '../results.ts';
import { rounds } from '../rounds.ts';
import { SMALL, sizeName } from '../tables.ts';

/** Beside a build of the same sources that tells and writes none of it, run by run. */
export async function telling(stage: Stage, bytes: number, times: number): Promise<Check[]> {
  const folder = join(stage.folder, 'telling');
  await mkdir(folder);
  const program = await build(join(folder, 'silent'), { main: 'scripts/bench/silent.ts' });
  const contestants = [];
  for (const one of [stage, { ...stage, program }]) contestants.push(await jet(one, 'direct'));
  const plan = { contestants, path: { rtt: 0, rate: undefined } };
  const failed = (who: string, why: string) => {
    throw new Error(`${who}: ${why}`);
  };
  // The first one makes devices and sessions.
  await rounds(folder, { ...plan, bytes: SMALL, runs: 1 }, failed);
  const [told, silent] = await rounds(folder, { ...plan, bytes, runs: times }, failed);
  for (const contestant of contestants) await contestant.close();
  await rm(folder, { recursive: true });
  if (told === undefined || silent === undefined) throw new Error('two builds were to run');
  const rates = (of: Series) => dataTimes(of, undefined).map((ms) => rateOf(bytes, ms));
  const [rate, quiet] = [rates(told), rates(silent)];
  return [
    {
      title: 'jet : jet without progress, journal and events on the way',
      figure: ratio(rate, quiet),
      unit: '×',
      target: { at: 'least', value: 0.98 },
      note: `data phase, ${sizeName(bytes)}, run beside run; ${figure(rate).median.toFixed(0)} and ${figure(quiet).median.toFixed(0)} MB/s`,
      bound: `Both sides take ${cpuOf(told).toFixed(2)} s of CPU with them and ${cpuOf(silent).toFixed(2)} s without.`,
      measure: 'data',
    },
  ];
}
