/** Who takes part on this machine. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { age } from './contestants/age.ts';
import { jet } from './contestants/jet.ts';
import { libervia } from './contestants/libervia.ts';
import { reference } from './contestants/reference.ts';
import { scp } from './contestants/scp.ts';
import { wormhole } from './contestants/wormhole.ts';
import type { Contestant, Stage } from './contestant.ts';

const there = (program: string) =>
  spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0;

/** In the order of the tables. */
const ENTRANTS: readonly {
  readonly name: string;
  readonly needs: readonly string[];
  readonly enter: (stage: Stage) => Promise<Contestant>;
}[] = [
  { name: 'jet', needs: [], enter: (stage) => jet(stage, 'direct') },
  { name: 'reference', needs: [], enter: () => Promise.resolve(reference()) },
  { name: 'scp', needs: ['scp', '/usr/sbin/sshd'], enter: scp },
  { name: 'age', needs: ['age', 'ncat', 'bash'], enter: age },
  { name: 'libervia', needs: ['/usr/share/libervia', 'dbus-run-session'], enter: libervia },
  { name: 'wormhole', needs: ['wormhole', 'twist3'], enter: wormhole },
  { name: 'jet-proxy', needs: [], enter: (stage) => jet(stage, 'proxy', 1e9) },
  { name: 'jet-ibb', needs: [], enter: (stage) => jet(stage, 'ibb', 1e7) },
];

/** Those that are asked for and can be had; why not, of the others. */
export async function field(
  stage: Stage,
  only: readonly string[],
  quick: boolean,
): Promise<{ readonly contestants: Contestant[]; readonly missing: string[] }> {
  const contestants: Contestant[] = [];
  const missing: string[] = [];
  for (const { name, needs, enter } of ENTRANTS) {
    if (only.length > 0 && !only.includes(name)) continue;
    // It takes half a minute to come up.
    if (quick && only.length === 0 && name === 'libervia') {
      missing.push('libervia: not in a quick run, unless named by --only');
      continue;
    }
    const lacking = needs.filter((need) =>
      need.startsWith('/') ? !existsSync(need) : !there(need),
    );
    if (lacking.length > 0) missing.push(`${name}: ${lacking.join(', ')} is not installed`);
    else
      try {
        contestants.push(await enter(stage));
      } catch (error) {
        missing.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      }
  }
  return { contestants, missing };
}
