/** Going on with a transfer of the journal, from whichever side this is. */
import type { ExitStatus } from '../core/errors.ts';
import { Jid } from '../core/jid.ts';
import { readingMs } from '../transfer/encrypting.ts';
import { fetchFile } from '../transfer/fetch.ts';
import { checkSource, openSource } from '../transfer/going-on.ts';
import { sendFile } from '../transfer/send.ts';
import type { TransferRow } from '../transfer/journal/journal-row.ts';
import type { Membership } from '../transfer/several.ts';
import { approach, type Approached } from './approach.ts';
import type { OnEvent, RouteOptions } from './types.ts';
import type { Workbench } from './workbench.ts';

/** Milliseconds that the other side has to answer, beside those for hashing its file. */
const ANSWER_MS = 120_000;

/** How to go on. */
export type GoingOn = RouteOptions & {
  /** What the file was offered as one of. */
  readonly of?: Membership | undefined;
  /**
   * Who gets answers is decided already, and the other side may begin as well. Called with what was found;
   * resolves when this side is to begin.
   */
  readonly meets?: (found: Approached, direction: TransferRow['direction']) => Promise<void>;
};

/**
 * Goes on with a transfer, from whichever side this is.
 *
 * @throws JetError when it could not even be begun
 */
export async function goOn(
  bench: Workbench,
  key: number,
  options: GoingOn,
  on: OnEvent,
  signal: AbortSignal,
): Promise<ExitStatus> {
  const { journal } = bench.records;
  const row = journal.row(key);
  const { peer, device, direction } = row;
  const to = Jid.parse(peer);
  if (to === undefined || device === undefined) throw new Error('a row without a peer');
  // What cannot be sent is told before anybody is waited for.
  if (direction === 'send') await checkSource(row, signal);
  bench.prepare(options);
  const attended = options.meets !== undefined;
  const found = await approach(bench, to, 'resume', { ...options, device, attended }, on, signal);
  await options.meets?.(found, direction);
  if (direction === 'send') return sendRest(bench, key, found, options, on, signal);
  return fetchRest(bench, key, found, options, on, signal);
}

async function fetchRest(
  bench: Workbench,
  key: number,
  { peer: to, envelope, device }: Approached,
  options: RouteOptions,
  on: OnEvent,
  signal: AbortSignal,
): Promise<ExitStatus> {
  const { records, ui } = bench;
  const recorder = records.resume(key);
  try {
    const { size = 0 } = recorder.row();
    return await fetchFile(bench.surroundings(options), {
      ...{ to, envelope, on, signal, goesOn: recorder },
      ...(device !== undefined && { device }),
      say: (code, message) => ui.notice(code, message),
      answerMs: ANSWER_MS + readingMs(size),
    });
  } finally {
    recorder.release();
  }
}

async function sendRest(
  bench: Workbench,
  key: number,
  { peer: to, envelope, device }: Approached,
  options: GoingOn,
  on: OnEvent,
  signal: AbortSignal,
): Promise<ExitStatus> {
  const { records } = bench;
  const recorder = records.resume(key);
  try {
    const { source, sha256 } = await openSource(recorder, signal);
    const { of } = options;
    try {
      const status = await sendFile(bench.surroundings(options), {
        ...{ source, to, envelope, of, on, signal, goesOn: { recorder, sha256 } },
        ...(device !== undefined && { device }),
        ...(options.limitRate !== undefined && { limitRate: options.limitRate }),
        answerMs: ANSWER_MS,
      });
      if (status === 'renewed') throw new Error('nothing is offered again with this id');
      return status;
    } finally {
      await source.close();
    }
  } finally {
    recorder.release();
  }
}
