/** `jet send`: from files and an address to transfers, a few at a time. */
import { asError, Exit, JetError, listed, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { warmUp } from '../files/memory.ts';
import { inBatches, piecesOf, type Gathered } from '../transfer/items.ts';
import { unreadError } from '../transfer/outcome.ts';
import { overall } from '../transfer/several.ts';
import { approach } from './approach.ts';
import { Sender } from './sender.ts';
import type { OnEvent, SendOptions } from './types.ts';
import type { Workbench } from './workbench.ts';

/** Contents at once. */
const AT_ONCE = 3;

/** @see OpenAccount.send */
export async function send(
  bench: Workbench,
  { items: given, refused }: Gathered,
  to: Jid,
  options: SendOptions,
  on: OnEvent,
  signal: AbortSignal,
): Promise<ExitStatus> {
  const tell = (code: string, message: string, exit: ExitStatus) =>
    on({ id: 'jet', time: bench.clock.now(), event: 'error', code, message, exit });
  const said = new WeakSet<Error>();
  const tellError = (error: Error): ExitStatus => {
    const known = error instanceof JetError;
    const exit = known ? error.exit : Exit.internal;
    // That nobody is there any more is one error, however much was to be sent.
    if (!said.has(error)) tell(known ? error.code : 'internal', error.message, exit);
    said.add(error);
    return exit;
  };
  const failed = refused.map(({ label }) => label);
  let lost = refused.length;
  let unnamed = 0;
  const statuses = refused.map(({ error }) => tellError(error));
  bench.prepare(options);
  const found = await approach(bench, to, 'offer', options, on, signal);
  // Only a jet takes many files in one content; to other programs they go one by one.
  const items = found.device === undefined ? given.flatMap(piecesOf) : inBatches(given);
  warmUp();
  const sender = new Sender(bench, to, found, options, on, signal, items.length);
  try {
    await inParallel(
      items,
      // Several at once would each have the whole rate.
      options.limitRate === undefined ? AT_ONCE : 1,
      async (item, index, begun) => {
        const status = await sender.send(item, index, begun).catch((error: unknown) => {
          // Of one thing alone it is the end of the command.
          if (items.length + refused.length === 1) throw error;
          // What had not begun when the user ended it needs no sentence of its own.
          if (signal.aborted) return Exit.transport;
          return tellError(asError(error));
        });
        statuses.push(status);
        if (status === Exit.done) return;
        const { label, count = 1 } = item;
        // Of files that were named some may be there all the same.
        const missing = count > 1 ? sender.missing.get(item) : undefined;
        failed.push(...(missing?.paths ?? [label]));
        lost += missing?.count ?? count;
        unnamed += missing === undefined ? 0 : missing.count - missing.paths.length;
      },
    );
  } finally {
    await sender.close();
  }
  for (const { label, folder } of found.device === undefined ? given : [])
    if (folder !== undefined && folder.unread.length > 0) {
      const exit = tellError(unreadError(label, folder.unread));
      for (const path of folder.unread) {
        statuses.push(exit);
        failed.push(path);
        lost += 1;
      }
    }
  const status = overall(statuses);
  if (statuses.length > 1 && failed.length > 0) {
    const more = items.reduce((sum, { count = 1 }) => sum + count - 1, 0);
    const what = `${lost} of ${statuses.length + more}`;
    const names = listed(failed, failed.length + unnamed);
    tell('some-failed', `${what} did not reach ${to.bare.toString()}: ${names}.`, status);
  }
  return status;
}

/**
 * Works through a list, a few at a time; the others begin when the first has: what it finds out about
 * the peer is not found out, and asked, several times.
 */
async function inParallel<T>(
  list: readonly T[],
  atOnce: number,
  work: (one: T, index: number, begun: () => void) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (begun: () => void) => {
    for (let at = next++; at < list.length; at = next++) {
      const one = list[at];
      if (one !== undefined) await work(one, at, begun);
    }
  };
  const others: Promise<void>[] = [];
  const start = () => {
    for (let n = others.length; n < atOnce - 1; n++) others.push(worker(() => undefined));
  };
  await worker(start);
  await Promise.all(others);
}
