/** A command whose connection breaks goes on by itself: with pauses, and not for ever. */
import { randomInt } from 'node:crypto';
import { randomId } from '../core/bytes.ts';
import { sleep } from '../core/clock.ts';
import { JetError, messageOf, type ExitStatus } from '../core/errors.ts';
import type { TransferEvent } from '../transfer/events.ts';
import { isBroken } from '../transfer/outcome.ts';
import { StanzaError } from '../xmpp/connection.ts';
import { goOn, type GoingOn } from './rest.ts';
import type { OnEvent } from './types.ts';
import type { Workbench } from './workbench.ts';

/** Times that a command goes on without getting any further in between. */
export const TRIES = 6;
/** Sessions in a row that may begin without getting any further: the connection is not what is wrong then. */
const FRUITLESS = 2;
/** Milliseconds before the first of them; each pause after that is twice as long. */
const PAUSE_MS = 1_000;

/** Begins a transfer; is to tell the key of its row. */
export type First = (on: OnEvent, began: (key: number) => void) => Promise<ExitStatus>;

/** What is known of the attempts so far. */
interface Seen {
  key?: number;
  /** The first one's, under which all of them are told. */
  id?: string;
  /** Bytes have moved in the first session. */
  moved: boolean;
  /** The last attempt came to a session. */
  began: boolean;
  /** How the last one ended, as long as it may not be the end. */
  held: TransferEvent[];
}

/**
 * Runs a transfer, and goes on with it when its connection breaks: the same command, the same events. How it
 * ended is told once, at the end.
 */
export async function persist(
  bench: Workbench,
  first: First,
  options: GoingOn,
  on: OnEvent,
  signal: AbortSignal,
): Promise<ExitStatus> {
  const { journal } = bench.records;
  const seen: Seen = { held: [], moved: false, began: false };
  const told = (event: TransferEvent) => {
    if (event.event === 'start') {
      seen.id ??= event.id;
      seen.began = true;
    }
    if (event.event === 'progress') seen.moved = true;
    const shown = event.event === 'notice' ? event : { ...event, id: seen.id ?? event.id };
    if (closes(event)) seen.held.push(shown);
    else on(shown);
  };
  let status = await first(told, (key) => (seen.key = key));
  let reached = 0;
  let fruitless = 0;
  for (let n = 0; n < TRIES && !signal.aborted; n++) {
    const row = seen.key === undefined ? undefined : journal.row(seen.key);
    if (row?.state !== 'interrupted' || !isBroken(row.error)) break;
    // What no byte has passed yet is no connection that broke.
    if (n === 0 && !seen.moved) break;
    const { key, name, written, size = 0 } = row;
    if (written > reached) {
      reached = written;
      n = 0;
      fruitless = 0;
    } else if (seen.began && n > 0 && ++fruitless === FRUITLESS) break;
    seen.began = false;
    const share = size > 0 ? ` at ${Math.floor((written * 100) / size)} %` : '';
    const message = `The connection broke${share} of ${name}. Trying to go on with it.`;
    on({ id: randomId(), time: bench.clock.now(), event: 'notice', code: 'broke', message });
    const before = seen.held;
    seen.held = [];
    try {
      await sleep(bench.clock, PAUSE_MS * 2 ** n + randomInt(PAUSE_MS), signal);
      status = await goOn(bench, key, options, told, signal);
    } catch (error) {
      seen.held = before;
      if (error instanceof StanzaError) continue;
      bench.log(`not gone on with: ${messageOf(error)}`);
      if (!(error instanceof JetError) && error !== signal.reason) throw error;
      break;
    }
  }
  for (const event of seen.held) on(event);
  return status;
}

/** What tells how a transfer ended. */
export function closes(event: TransferEvent): boolean {
  const { event: kind } = event;
  return kind === 'end' || kind === 'error' || (kind === 'notice' && event.code === 'resumable');
}
