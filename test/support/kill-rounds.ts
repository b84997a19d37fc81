/** Rounds of a transfer in which one of those who take part is killed at a random moment. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { JetProcess } from './jet.ts';
import { ended, linesOf, makePair, noise, type Pair } from './pair.ts';
import { terminate } from './people.ts';
import type { Prosody } from './prosody.ts';

/** Bytes of each round's file: what is written down every 64th of it is far below the bound. */
const SIZE = 64 * 1024 * 1024;
/** Bytes a second: slow enough to be met in the middle. */
const RATE = 8_000_000;
/** What the rest may take until the round counts as hung, ms. */
const GUARD = 240_000;

/** Who is killed. */
export const VICTIMS = ['sender', 'receiver', 'server'] as const;

/** What is to happen in a round. */
export interface Plan {
  /** From 1. */
  readonly number: number;
  readonly victim: (typeof VICTIMS)[number];
  /** Milliseconds after the first byte. */
  readonly moment: number;
}

/** What a round came to. */
export interface Round extends Plan {
  /** Bytes that were sent more than once. */
  readonly again: number;
}

/** Numbers from 0 up to 1 that follow from the seed (the mixing function of MurmurHash3 over a counter). */
function randomFrom(seed: number): () => number {
  let count = seed >>> 0;
  return () => {
    count = (count + 0x9e3779b9) >>> 0;
    let mixed = count;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
}

/** Rounds that follow from the seed; a moment may also lie behind the last byte. */
export function* drawPlans(seed: number, rounds: number): Generator<Plan, undefined> {
  const random = randomFrom(seed);
  for (let number = 1; number <= rounds; number++) {
    const victim = VICTIMS[Math.floor(random() * VICTIMS.length)] ?? 'sender';
    yield { number, victim, moment: Math.floor(random() * 1.1 * (SIZE / RATE) * 1000) };
  }
  return undefined;
}

/** Plays a round to its end: the right file, whole, under its name, and nothing beside it. */
export async function playRound(server: Prosody, plan: Plan): Promise<Round> {
  const pair = await makePair(server);
  try {
    const content = noise(SIZE);
    const file = await pair.file('big.bin', content);
    const again = await interrupted(server, pair, file, plan);
    expect(await pair.landed(), `round ${plan.number}`).toEqual(['big.bin']);
    const landed = await readFile(join(pair.out, 'big.bin'));
    expect(landed.equals(content), `round ${plan.number}`).toBe(true);
    return { ...plan, again };
  } finally {
    await pair.remove();
  }
}

async function interrupted(
  server: Prosody,
  pair: Pair,
  file: string,
  { number, victim, moment }: Plan,
): Promise<number> {
  const receive = async () => {
    const args = ['receive', '--yes', '--json', '--out', pair.out];
    const process = pair.bob.start(args, { guard: GUARD });
    await process.said(/"event":"waiting"/);
    return process;
  };
  const limit = ['--limit-rate', String(RATE), '--wait', '60'];
  let receiver = await receive();
  const sender = pair.alice.start(['send', '--json', ...limit, file, pair.bob.jid], {
    guard: GUARD,
  });
  await sender.said(/"event":"start"/);
  await new Promise((resolve) => setTimeout(resolve, moment));

  const processes = [sender];
  if (victim === 'sender') {
    sender.child.kill('SIGKILL');
    await sender.ended;
  } else if (victim === 'receiver') {
    receiver.child.kill('SIGKILL');
    await receiver.ended;
    receiver = await receive();
  } else {
    await server.crash();
    await server.restart();
  }
  const sent = await ended(sender);
  if (receiver.child.exitCode !== null) receiver = await receive();
  // What was over when the moment came is not gone on with.
  if (sent.status !== 0) {
    const resumed = pair.alice.start(['resume', '--json', ...limit], { guard: GUARD });
    processes.push(resumed);
    const rest = await ended(resumed);
    expect(rest, `round ${number}: ${rest.stdout}${rest.stderr}`).toMatchObject({ status: 0 });
  }
  expect(await terminate(receiver)).toBe(0);
  return sentAgain(processes);
}

/** Bytes that were taken from the sender in one session and sent again in a later one. */
function sentAgain(processes: readonly JetProcess[]): number {
  let [reached, again] = [0, 0];
  for (const line of processes.flatMap(({ stdout }) => linesOf(stdout)))
    if (line['event'] === 'start') {
      again += Math.max(0, reached - Number(line['resumed_from']));
      reached = Number(line['resumed_from']);
    } else if (line['event'] === 'progress') reached = Math.max(reached, Number(line['bytes']));
  return again;
}

/** The share of all files that was sent more than once. */
export function shareSentAgain(rounds: readonly Round[]): number {
  return rounds.reduce((sum, { again }) => sum + again, 0) / (rounds.length * SIZE);
}
