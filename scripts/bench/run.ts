/** A whole run: the limits, the contestants, the other measures; then the page. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { startProsody } from '../prosody.ts';
import type { Contestant, Stage } from './contestant.ts';
import { field } from './field.ts';
import { limits } from './limits.ts';
import type { Options } from './options.ts';
import { saveResults, writePage } from './page.ts';
import { build } from './program.ts';
import { SMALL, shown } from './tables.ts';
import { startChecks } from './checks/start.ts';
import { inBand } from './checks/inband.ts';
import { largeTree, manyFiles, sharing } from './checks/many.ts';
import { longJournal, processes } from './checks/scale.ts';
import { telling } from './checks/telling.ts';
import { targets } from './targets.ts';
import type { Check, Limit, Results, Series, Trip } from './results.ts';
import { progress, rounds } from './rounds.ts';

/** Measures all that is asked for. */
export async function run(options: Options): Promise<void> {
  const began = performance.now();
  const load = loadavg()[0] ?? 0;
  const folder = await mkdtemp(join(options.folder ?? tmpdir(), 'jet-bench-'));
  const server = await startProsody();
  let contestants: Contestant[] = [];
  try {
    progress('Building …');
    const stage: Stage = { server, folder, program: await build(join(folder, 'program')) };
    const missing: string[] = [];
    const failed = (who: string, why: string) => {
      progress(`  ${who} FAILED: ${why}`);
      const line = `${who}: ${why.split('\n')[0] ?? ''}`;
      if (!missing.includes(line)) missing.push(line);
    };
    const entered = await field(stage, options.only, options.quick);
    contestants = entered.contestants;
    for (const line of entered.missing) progress(`  left out: ${line}`);
    missing.push(...entered.missing);
    const series: Series[] = [];
    const most = options.sizes.at(-1) ?? 1e8;
    const base = { contestants, path: { rtt: 0, rate: options.rate } };
    let limit: Limit[] = [];
    if (options.parts.has('rate')) {
      progress('Limits …');
      limit = await limits(stage, Math.min(most, 1e9), options.quick ? 2 : 3);
      for (const bytes of [SMALL, ...options.sizes]) {
        progress(`Files of ${bytes} bytes`);
        const few = bytes > 2e9 ? contestants.filter(({ name }) => LARGE.has(name)) : contestants;
        const runs = bytes > 2e9 ? 2 : options.runs;
        series.push(...(await rounds(folder, { ...base, bytes, runs, contestants: few }, failed)));
      }
    }
    if (options.parts.has('delay'))
      for (const rtt of options.delays.filter((delay) => delay > 0)) {
        progress(`Round trips of ${rtt} ms`);
        const runs = options.quick ? 1 : 3;
        for (const bytes of [SMALL, Math.min(most, 1e8)]) {
          const path = { rtt, rate: options.rate };
          series.push(...(await rounds(folder, { contestants, bytes, runs, path }, failed)));
        }
      }
    const checks: Check[] = [];
    let trips: Trip[] = [];
    const attempt = async (what: string, work: () => Promise<Check[]>) => {
      progress(what);
      try {
        const found = await work();
        checks.push(...found);
        for (const { title, figure, unit } of found)
          progress(`  ${title}: ${shown(figure)} ${unit}`);
      } catch (error) {
        failed(what, error instanceof Error ? error.message : String(error));
      }
    };
    const { quick } = options;
    if (options.parts.has('start')) {
      await attempt('Start', async () => {
        const start = await startChecks(stage, quick);
        trips = start.trips;
        for (const { at, asks } of trips) progress(`  ${at.toFixed(0)} ms: ${asks.join('; ')}`);
        return start.checks;
      });
      await attempt('In-band', () => inBand(stage));
    }
    if (options.parts.has('many')) {
      await attempt('Many files', () => manyFiles(stage, quick ? 100 : 1000));
      await attempt('A large folder', () => largeTree(stage, quick ? 2_000 : 100_000));
      const scale = quick
        ? { files: 2_000, width: 4, bytes: 2e7 }
        : { files: 100_000, width: 50, bytes: 4e8 };
      await attempt('Many fetches', () => sharing(stage, scale));
    }
    if (options.parts.has('scale')) {
      await attempt('Journal', () => longJournal(stage, quick ? 50_000 : 1_000_000, quick ? 2 : 5));
      await attempt('Processes', () => processes(stage, quick ? 8 : 40));
    }
    if (options.parts.has('telling'))
      await attempt('Telling', () => telling(stage, Math.min(most, 1e9), quick ? 3 : 15));
    checks.unshift(...targets(series, limit));
    const results: Results = {
      ...{ quick: options.quick, limits: limit, series, checks, trips, missing },
      machine: await machine(folder),
      date: new Date().toISOString().slice(0, 10),
      load: [load, loadavg()[0] ?? 0],
    };
    progress(`${((performance.now() - began) / 1000).toFixed(0)} s`);
    if (!options.write) return;
    await saveResults(results);
    await writePage();
  } finally {
    for (const one of contestants) await one.close();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Those that are sent files that take minutes. */
const LARGE = new Set(['jet', 'reference']);

/** What the figures depend on. */
async function machine(folder: string): Promise<[string, string][]> {
  const say = (command: string, ...args: string[]) => {
    try {
      return execFileSync(command, args, { encoding: 'utf8', stdio: 'pipe' }).trim();
    } catch {
      return 'unknown';
    }
  };
  const system = /PRETTY_NAME="(.*)"/.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  const disk = say('df', '--output=fstype', folder).split('\n').at(-1) ?? 'unknown';
  return Promise.resolve([
    ['Processor', `${cpus().length} × ${(cpus()[0]?.model ?? 'unknown').trim()}`],
    ['Memory', `${(totalmem() / 1e9).toFixed(0)} GB`],
    ['System', `${system ?? 'unknown'}, Linux ${release()}`],
    ['Node', `${process.version}, OpenSSL ${process.versions.openssl}`],
    ['File system', disk],
    ['Virtual', say('systemd-detect-virt')],
  ]);
}
