/**
 * The contestants one after another, round by round: what disturbs one disturbs its neighbours, too. Each round goes
 * the other way than the one before it: nobody always comes behind the same one, whose memory the system may have just
 * taken back, or kept.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Contestant } from './contestant.ts';
import { makeFile, sameBytes } from './files.ts';
import { Path, type PathOptions } from './path.ts';
import type { Run, Series } from './results.ts';

/** What is measured. */
export interface Plan {
  readonly contestants: readonly Contestant[];
  readonly bytes: number;
  readonly runs: number;
  readonly path: PathOptions;
}

/** Says what happens, on standard error. */
export function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

let count = 0;

/**
 * Measures a file of one size with every contestant, comparing each result byte by byte.
 *
 * @param failed - told who could not do it; it is left out from then on
 */
export async function rounds(
  folder: string,
  { contestants, bytes, runs, path: options }: Plan,
  failed: (who: string, why: string) => void,
): Promise<Series[]> {
  const work = join(folder, `rounds-${count++}`);
  await mkdir(work);
  const file = join(work, 'file.bin');
  await makeFile(file, bytes);
  const path = new Path(options);
  const all = new Map<Contestant, Run[]>();
  for (const one of contestants)
    if ((one.delayed || path.plain) && bytes <= (one.most ?? Infinity)) all.set(one, []);
  try {
    for (let round = 0; round < runs; round++) {
      const order = [...all];
      for (const [one, done] of round % 2 === 0 ? order : order.reverse()) {
        const out = join(work, `out-${one.name}-${round}`);
        await mkdir(out);
        try {
          const { run, landed } = await one.run(file, out, path);
          await sameBytes(file, landed);
          await rm(landed);
          done.push(run);
          const rate = (bytes / 1e3 / run.wall).toFixed(1);
          const data = run.data === undefined ? '' : `, ${(bytes / 1e3 / run.data).toFixed(1)}`;
          progress(
            `  ${one.name.padEnd(10)} ${(bytes / 1e6).toFixed(3)} MB: ${run.wall.toFixed(0)} ms, ${rate}${data} MB/s`,
          );
        } catch (error) {
          all.delete(one);
          failed(one.name, error instanceof Error ? error.message : String(error));
        }
        await rm(out, { recursive: true });
      }
    }
  } finally {
    await path.close();
    await rm(work, { recursive: true, force: true });
  }
  return [...all].map(([{ name, title, note }, done]) => ({
    contestant: name,
    title,
    ...(note !== undefined && { note }),
    bytes,
    rtt: options.rtt,
    runs: done,
  }));
}
