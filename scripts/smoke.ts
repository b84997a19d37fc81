/** How fast an installed `jet` starts, and one transfer by it: `tsx scripts/smoke.ts PATH-OF-JET`. */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetHome } from '../test/support/jet.ts';
import { startProsody } from './prosody.ts';

const bin = process.argv[2];
if (bin === undefined) throw new Error('usage: tsx scripts/smoke.ts PATH-OF-JET');

/** Most times that `jet --version` may take of what an empty Node takes. */
const SLOWEST_START = 2.5;

/** Milliseconds of the quickest of several runs: what else the machine does only ever adds to it. */
function quickest(program: string, ...args: string[]): number {
  const times = Array.from({ length: 10 }, () => {
    const begun = performance.now();
    spawnSync(program, args, { stdio: 'ignore' });
    return performance.now() - begun;
  });
  return Math.min(...times);
}

const ratio = quickest(bin, '--version') / quickest(process.execPath, '-e', '0');
console.log(`jet --version takes ${ratio.toFixed(2)} times what an empty Node takes.`);
if (ratio > SLOWEST_START) throw new Error('The installed program starts too slowly.');

const server = await startProsody();
const folder = await mkdtemp(join(tmpdir(), 'jet-smoke-'));
try {
  await server.addAccount('alice', 'secret-a');
  await server.addAccount('bob', 'secret-b');
  await server.befriend('alice', 'bob');
  const alice = await jetHome(server, 'alice', 'secret-a');
  const bob = await jetHome(server, 'bob', 'secret-b');
  const bytes = randomBytes(3_000_001);
  const file = join(folder, 'report.pdf');
  await writeFile(file, bytes);
  const receive = bob.start(['receive', '--yes', '--once'], { bin });
  const sent = await alice.run(['send', file, bob.jid], { bin });
  const received = await receive.ended;
  process.stdout.write(`${sent.stderr}${received.stderr}${received.stdout}`);
  const landed = await readFile(join(bob.home, 'report.pdf'));
  const same = createHash('sha256')
    .update(landed)
    .digest()
    .equals(createHash('sha256').update(bytes).digest());
  if (sent.status !== 0 || received.status !== 0 || !same) {
    throw new Error(
      `The transfer failed: send ${String(sent.status)}, receive ${String(received.status)}.`,
    );
  }
  await alice.remove();
  await bob.remove();
  console.log('The installed package moved a file.');
} finally {
  await rm(folder, { recursive: true, force: true });
  await server.stop();
}
