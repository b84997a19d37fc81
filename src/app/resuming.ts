/** `jet resume`: goes on with what was interrupted. */
import { randomId } from '../core/bytes.ts';
import { Exit, JetError, type ExitStatus } from '../core/errors.ts';
import { warmUp } from '../files/memory.ts';
import { checkNotOver } from '../transfer/journal/journal.ts';
import type { TransferEvent } from '../transfer/events.ts';
import type { TransferRow } from '../transfer/journal/journal-row.ts';
import { isBroken } from '../transfer/outcome.ts';
import { Meeting } from './meeting.ts';
import { closes, persist, TRIES, type First } from './persisting.ts';
import { goOn } from './rest.ts';
import { resumable } from './transfers.ts';
import type { OnEvent, RouteOptions } from './types.ts';
import type { Workbench } from './workbench.ts';

/** @see OpenAccount.resume */
export async function resume(
  bench: Workbench,
  ids: readonly string[],
  options: RouteOptions,
  on: OnEvent,
  signal: AbortSignal,
): Promise<ExitStatus> {
  const { journal } = bench.records;
  const account = bench.connection.jid.bare.toString();
  const rows =
    ids.length === 0 ? resumable(journal, account) : ids.map((id) => journal.get(id, account));
  for (const row of rows) checkResumable(row);
  if (rows.length === 0) return Exit.done;
  warmUp();
  const statuses: ExitStatus[] = [];
  const meeting = await Meeting.open(bench, rows, options, on);
  const stop = () => void meeting.stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    for (const { key } of rows.reverse()) {
      signal.throwIfAborted();
      statuses.push(await attempt(bench, meeting, key, rows.length === 1, options, on, signal));
    }
  } finally {
    signal.removeEventListener('abort', stop);
    await meeting.close();
  }
  const [only = Exit.done, ...more] = statuses.filter((status) => status !== Exit.done);
  return more.length > 0 || (only !== Exit.done && statuses.length > 1) ? Exit.partial : only;
}

/** @throws JetError (exit 2) for what nobody can go on with */
function checkResumable(row: TransferRow): void {
  const { id, adopted, jet } = row;
  const word = id.slice(0, 8);
  checkNotOver(row, word);
  if (adopted) return;
  throw new JetError(
    Exit.usage,
    'not-resumable',
    jet
      ? `Transfer ${word} had not begun yet when it ended. Send or fetch it again.`
      : `Transfer ${word} is one with a program that is no jet: what has come cannot be proven to belong to the file. Send or fetch it again, from its beginning.`,
  );
}

/** @param alone - its error is that of the command */
async function attempt(
  bench: Workbench,
  meeting: Meeting,
  key: number,
  alone: boolean,
  options: RouteOptions,
  on: OnEvent,
  signal: AbortSignal,
): Promise<ExitStatus> {
  try {
    return await meet(bench, meeting, key, options, on, signal);
  } catch (error) {
    if (alone || !(error instanceof JetError)) throw error;
    const { code, message, exit } = error;
    on({ id: randomId(), time: bench.clock.now(), event: 'error', code, message, exit });
    return exit;
  }
}

/** Goes on with it from this side, or sees the other side do so; and again where that breaks. */
async function meet(
  bench: Workbench,
  meeting: Meeting,
  key: number,
  options: RouteOptions,
  on: OnEvent,
  signal: AbortSignal,
): Promise<ExitStatus> {
  const { journal } = bench.records;
  for (let n = 1; ; n++) {
    // How this side's own attempt ended means nothing where the other side's took its place.
    const held: TransferEvent[] = [];
    const told = (event: TransferEvent) => {
      if (closes(event)) held.push(event);
      else on(event);
    };
    const status = await meeting.both(
      key,
      (meets, either) => {
        const going = { ...options, meets };
        const first: First = (tell, began) => {
          began(key);
          return goOn(bench, key, going, tell, either);
        };
        return persist(bench, first, going, told, either);
      },
      signal,
    );
    if (status !== 'met') {
      for (const event of held) on(event);
      return status;
    }
    const { state, error, exit = Exit.transport } = journal.row(key);
    if (state === 'done') return exit;
    if (signal.aborted || n === TRIES || state !== 'interrupted' || !isBroken(error)) return exit;
  }
}
