/** `npm run bench -- profile`: a CPU profile of each side of one large transfer, and where the time goes. */
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { startProsody } from '../prosody.ts';
import { makeCouple, transfer } from './contestants/jet.ts';
import { makeFile, sameBytes } from './files.ts';
import type { Options } from './options.ts';
import { Path } from './path.ts';
import { build } from './program.ts';
import { rateOf } from './results.ts';
import { table } from './tables.ts';

/** How many functions are named. */
const TOP = 25;

/** What is read of a profile of V8. */
interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Leaves `.cpuprofile` files in a folder and says what they show. */
export async function profile(options: Options): Promise<void> {
  const folder = await mkdtemp(join(options.folder ?? tmpdir(), 'jet-profile-'));
  const kept = join(folder, 'profiles');
  await mkdir(kept);
  const server = await startProsody();
  try {
    const program = await build(join(folder, 'program'));
    const stage = { server, folder, program };
    const couple = await makeCouple(stage);
    const bytes = options.sizes.at(-1) ?? 1e9;
    const file = join(folder, 'file.bin');
    await makeFile(file, bytes);
    const path = new Path({ rtt: 0, rate: options.rate });
    // The first transfer makes devices and sessions, which is not what is looked at.
    for (const node of [[], ['--cpu-prof', `--cpu-prof-dir=${kept}`]]) {
      const { run, landed } = await transfer(stage, couple, [file], folder, { path, node });
      await sameBytes(file, landed);
      await rm(landed);
      console.log(`${rateOf(bytes, run.data ?? run.wall).toFixed(0)} MB/s`);
    }
    await couple.alice.remove();
    await couple.bob.remove();
    for (const name of await readdir(kept)) show(join(kept, name));
    await rm(file);
    await rm(program.folder, { recursive: true });
    console.log(`\nThe profiles stay in ${kept}: open them in the developer tools of a browser.`);
  } finally {
    await server.stop();
  }
}

/** Self time by function, as a table. */
function show(path: string): void {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(path, 'utf8')) as Profile;
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url } }) => [
      id,
      `${functionName === '' ? '(anonymous)' : functionName} ${basename(url)}`.trim(),
    ]),
  );
  const self = new Map<string, number>();
  let all = 0;
  samples.forEach((id, i) => {
    const name = names.get(id) ?? '';
    const time = (timeDeltas[i] ?? 0) / 1000;
    self.set(name, (self.get(name) ?? 0) + time);
    all += time;
  });
  const sends = [...names.values()].some((name) => name.startsWith('sendStream'));
  console.log(`\n${sends ? 'Sender' : 'Receiver'}, ${all.toFixed(0)} ms\n`);
  const rows = [...self]
    .sort((a, b) => b[1] - a[1])
    .slice(0, TOP)
    .map(([name, ms]) => [name, ms.toFixed(0), `${((100 * ms) / all).toFixed(1)} %`]);
  console.log(table(['Function', 'ms', 'share'], rows));
}
