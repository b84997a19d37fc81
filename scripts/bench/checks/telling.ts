/** What progress, journal and events cost while bytes flow. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { jet } from '../contestants/jet.ts';
import type { Contestant, Stage } from '../contestant.ts';
import { makeFile, sameBytes } from '../files.ts';
import { Path } from '../path.ts';
import { build } from '../program.ts';
import { figure, rateOf, ratio, type Check, type Run } from '../results.ts';
import { sizeName } from '../tables.ts';

/** Beside a build of the same sources that tells and writes none of it, run by run. */
export async function telling(stage: Stage, bytes: number, times: number): Promise<Check[]> {
  const folder = join(stage.folder, 'telling');
  await mkdir(folder);
  const program = await build(join(folder, 'silent'), { main: 'scripts/bench/silent.ts' });
  const path = new Path({ rtt: 0 });
  const file = join(folder, 'file.bin');
  await makeFile(file, bytes);
  const sides = [];
  for (const one of [stage, { ...stage, program }])
    sides.push({ contestant: await jet(one, 'direct'), runs: [] as Run[] });
  const once = async (contestant: Contestant) => {
    const { run, landed } = await contestant.run(file, folder, path);
    await sameBytes(file, landed);
    await rm(landed);
    return run;
  };
  // The first one makes devices and sessions.
  for (const { contestant } of sides) await once(contestant);
  for (let round = 0; round < times; round++)
    // Whoever is second has the memory of the first one: they change places.
    for (const { contestant, runs } of round % 2 === 0 ? sides : sides.toReversed())
      runs.push(await once(contestant));
  for (const { contestant } of sides) await contestant.close();
  await rm(folder, { recursive: true });
  const [told = [], silent = []] = sides.map(({ runs }) => runs);
  const rates = (runs: readonly Run[]) => runs.map(({ wall, data }) => rateOf(bytes, data ?? wall));
  const cpu = (runs: readonly Run[]) =>
    figure(runs.map(({ roles }) => roles.reduce((sum, one) => sum + one.cpu, 0))).median;
  return [
    {
      title: 'jet : jet without progress, journal and events on the way',
      figure: ratio(rates(told), rates(silent)),
      unit: '×',
      target: { at: 'least', value: 0.98 },
      note: `data phase, ${sizeName(bytes)}, run beside run; ${figure(rates(told)).median.toFixed(0)} and ${figure(rates(silent)).median.toFixed(0)} MB/s`,
      bound: `Both sides take ${cpu(told).toFixed(2)} s of CPU with them and ${cpu(silent).toFixed(2)} s without.`,
      measure: 'data',
    },
  ];
}
