/** Transfers that are broken off in the middle by a kill, and what is left of them. */
import { setTimeout } from 'node:timers/promises';
import { expect, vi } from 'vitest';
import { openJournal } from '../../src/app.ts';
import type { JetHome, JetProcess } from './jet.ts';
import { midway, type Pair } from './pair.ts';

/** Slow enough to be met in the middle also where much else runs. */
export const RATE = ['--limit-rate', '600k'];

/** Bytes of the newest transfer that are durable: the journal of the receiver says so. */
export function written(home: JetHome): number {
  const journal = openJournal({ config: home.home, data: home.home });
  try {
    return journal.list()[0]?.written ?? 0;
  } finally {
    journal.close();
  }
}

/** Resolves when more than `bytes` are durable at the receiver, while a process runs. */
export function durable(receiver: JetHome, running: JetProcess, bytes: number): Promise<void> {
  return vi.waitFor(
    () => {
      expect(running.child.exitCode).toBe(null);
      expect(written(receiver)).toBeGreaterThan(bytes);
    },
    { timeout: 60_000, interval: 50 },
  );
}

/**
 * A transfer of which some is through, then one side is killed and the other sees it.
 *
 * @param how - bytes a second, and how many are durable at least
 */
export async function interruptMidway(
  pair: Pair,
  files: string | readonly string[],
  victim: 'sender' | 'receiver',
  { rate, least } = { rate: '600k', least: 1_500_000 },
): Promise<void> {
  const receiver = pair.receive(['--once']);
  await receiver.said(/"event":"waiting"/);
  const sender = pair.send(files, ['--limit-rate', rate]);
  await midway(receiver);
  // What is durable, not what has come: a kill loses what was not written down.
  await durable(pair.bob, receiver, least);
  const [killed, left] = victim === 'sender' ? [sender, receiver] : [receiver, sender];
  killed.child.kill('SIGKILL');
  await killed.ended;
  await left.said(/"code":"(broke|resumable)"/);
  left.child.kill('SIGTERM');
  await left.ended;
}

/**
 * Kills the sender of 12,000,000 bytes when all of them are out and it has heard nothing yet.
 *
 * @returns the receiver, which is about to land them
 */
export async function killUnheard(
  pair: Pair,
  files: string,
  args: readonly string[] = [],
): Promise<JetProcess> {
  const receiver = pair.receive(args);
  await receiver.said(/"event":"waiting"/);
  const sender = pair.send(files, ['--limit-rate', '4M']);
  await sender.said(/"bytes":11[0-9]{6}/);
  // What is left, and its checksum, wait in the receiver's sockets.
  receiver.child.kill('SIGSTOP');
  await sender.said(/to confirm/);
  await setTimeout(500);
  sender.child.kill('SIGKILL');
  await sender.ended;
  receiver.child.kill('SIGCONT');
  return receiver;
}

/** `jet receive` into a folder, without anybody to answer anything. */
export async function waitsForAny(
  home: JetHome,
  out: string,
  args: readonly string[] = [],
): Promise<JetProcess> {
  const process = home.start(['receive', '--yes', '--json', '--out', out, ...args]);
  await process.said(/"event":"waiting"/);
  return process;
}
