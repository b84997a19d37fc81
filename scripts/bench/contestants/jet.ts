/** jet itself, over each kind of route. */
import { jetHome, type JetHome } from '../../../test/support/jet.ts';
import { join } from 'node:path';
import type { Contestant, Stage } from '../contestant.ts';
import type { Path } from '../path.ts';
import { Running, succeeded, type Ended } from '../processes.ts';
import type { Run } from '../results.ts';

/** A line of `--json`. */
export type Event = Readonly<Record<string, unknown>> & { readonly time: number };

/** The events that a process printed. */
export function eventsOf(stdout: string): Event[] {
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Event);
}

/** Two accounts that know each other, each with a home. */
export interface Couple {
  readonly alice: JetHome;
  readonly bob: JetHome;
}

let couples = 0;

/** Makes two accounts, contacts of each other, before either is online. */
export async function makeCouple({ server }: Pick<Stage, 'server'>): Promise<Couple> {
  const [a, b] = [`sender${couples}`, `receiver${couples}`];
  couples++;
  await server.addAccount(a, 'secret');
  await server.addAccount(b, 'secret');
  await server.befriend(a, b);
  return { alice: await jetHome(server, a, 'secret'), bob: await jetHome(server, b, 'secret') };
}

/** Starts a `jet` of the program under test. */
export function startJet(
  { program }: Pick<Stage, 'program'>,
  home: JetHome,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  node: readonly string[] = [],
): Running {
  const start = node.length > 0 ? [process.execPath, ...node] : [];
  return new Running([...start, program.bin, ...args], {
    env: { ...home.environment, ...env },
    cwd: home.home,
  });
}

/** What the environment of each side needs for a path; jet's bytestream goes through the receiver's proxy. */
export async function onPath(
  { server }: Pick<Stage, 'server'>,
  path: Path,
): Promise<{ sender: Record<string, string>; receiver: Record<string, string> }> {
  if (path.plain) return { sender: {}, receiver: {} };
  return {
    sender: { JET_SERVER: `127.0.0.1:${await path.through(server.port)}` },
    receiver: { JET_PROXY: `socks5://127.0.0.1:${await path.socks(server.port)}` },
  };
}

/** A transfer of one jet to another. */
export interface JetRun {
  readonly run: Run;
  readonly sent: Ended;
  readonly received: Ended;
  readonly landed: string;
}

/** Sends files to a receiver that waits already. */
export async function transfer(
  stage: Stage,
  couple: Couple,
  files: readonly string[],
  out: string,
  how: {
    readonly path: Path;
    readonly send?: readonly string[];
    readonly receive?: readonly string[];
    /** Options of Node itself, for both sides. */
    readonly node?: readonly string[];
  },
): Promise<JetRun> {
  const env = await onPath(stage, how.path);
  const { alice, bob } = couple;
  const receiver = startJet(
    stage,
    bob,
    ['receive', '--yes', '--once', '--json', '--out', out, ...(how.receive ?? [])],
    env.receiver,
    how.node,
  );
  await receiver.said(/"event":"waiting".*offers/);
  const clock = Date.now();
  const words = ['send', '--json', ...(how.send ?? []), ...files, bob.jid];
  const sender = startJet(stage, alice, words, env.sender, how.node);
  const sent = await sender.ended;
  // A receiver that took nothing would wait for ever.
  if (sent.status !== 0) receiver.child.kill('SIGTERM');
  const received = await receiver.ended;
  succeeded('jet send', sent);
  succeeded('jet receive', received);
  const there = eventsOf(received.stdout);
  const start = there.find(({ event }) => event === 'start');
  const end = there.findLast(({ event }) => event === 'end');
  const placed = there.findLast(({ event }) => event === 'finishing');
  const begins = eventsOf(sent.stdout).find(({ event }) => event === 'start');
  if (start === undefined || placed === undefined || end === undefined || begins === undefined)
    throw new Error(`jet told no start or end: ${received.stdout}`);
  const run: Run = {
    wall: Math.max(sent.ended, received.ended) - sent.began,
    data: Math.max(1, placed.time - start.time),
    first: begins.time - clock,
    roles: [
      { role: 'sender', cpu: sent.cpu, peak: sent.peak },
      { role: 'receiver', cpu: received.cpu, peak: received.peak },
    ],
  };
  return { run, sent, received, landed: String(end['file']) };
}

/** jet over one kind of route. */
export async function jet(
  stage: Stage,
  route: 'direct' | 'proxy' | 'ibb',
  most?: number,
): Promise<Contestant> {
  const couple = await makeCouple(stage);
  const args = route === 'direct' ? [] : ['--route', route];
  return {
    name: route === 'direct' ? 'jet' : `jet-${route}`,
    title: route === 'direct' ? 'jet' : `jet, ${route === 'ibb' ? 'in-band' : 'by proxy65'}`,
    delayed: route === 'direct',
    ...(most !== undefined && { most }),
    run: async (file, out, path) => {
      const { run, received, landed } = await transfer(stage, couple, [file], out, {
        path,
        send: args,
      });
      const start = eventsOf(received.stdout).find(({ event }) => event === 'start');
      const taken = (start?.['route'] as { kind: string }).kind;
      if (taken !== route) throw new Error(`jet took the route ${taken} in place of ${route}`);
      return { run, landed: landed.startsWith('/') ? landed : join(out, landed) };
    },
    close: async () => {
      await couple.alice.remove();
      await couple.bob.remove();
    },
  };
}
