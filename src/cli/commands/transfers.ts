/** `jet transfers [forget ID... | clean]` */
import type { OpenJournal } from '../../app/types.ts';
import { Exit, type ExitStatus } from '../../core/errors.ts';
import type { TransferRow } from '../../transfer/journal/journal-row.ts';
import { usage } from '../arguments.ts';
import type { Context } from '../context.ts';
import { escapeText } from '../escape.ts';
import { formatSize } from '../format.ts';

/** Prints the journal, or tidies it up. */
export async function transfers(
  context: Context,
  action: string | undefined,
  ids: readonly string[],
): Promise<ExitStatus> {
  switch (action) {
    case undefined:
      return printTransfers(context, (journal) => journal.list());
    case 'forget':
      if (ids.length === 0) throw usage('no-id', 'Name what to forget: jet transfers forget ID.');
      return withJournal(context, async (journal) => {
        await journal.forget(ids);
        return Exit.done;
      });
    case 'clean':
      if (ids.length > 0) throw usage('clean-all', 'jet transfers clean takes no ids.');
      return withJournal(context, async (journal) => {
        context.terminal.line(`${await journal.clean()} transfers forgotten.`);
        return Exit.done;
      });
    default:
      throw usage('bad-action', `"${action}" is none of: jet transfers, forget ID, clean.`);
  }
}

/** Prints some rows of the journal, one a line. */
export function printTransfers(
  context: Context,
  rows: (journal: OpenJournal) => readonly TransferRow[],
): Promise<ExitStatus> {
  const write = context.settings.on('json') ? json : text;
  return withJournal(context, (journal) => {
    for (const row of rows(journal)) process.stdout.write(`${write(row)}\n`);
    return Promise.resolve(Exit.done);
  });
}

async function withJournal(
  { home }: Context,
  action: (journal: OpenJournal) => Promise<ExitStatus>,
): Promise<ExitStatus> {
  const { openJournal } = await import('../../app.ts');
  const journal = openJournal(home);
  try {
    return await action(journal);
  } finally {
    journal.close();
  }
}

function text(row: TransferRow): string {
  const { id, direction, peer, name, size, written, created } = row;
  const state = row.status === 'partial' ? 'done in part' : row.state;
  const way = direction === 'send' ? 'to' : 'from';
  const day = new Date(created).toISOString().slice(0, 16).replace('T', ' ');
  const unfinished = row.state !== 'done' && size !== undefined && size > 0;
  const share = unfinished ? ` at ${Math.floor((written * 100) / size)} %` : '';
  const bytes = size === undefined ? '' : `, ${formatSize(size)}`;
  return `${id.slice(0, 8)}  ${day}  ${escapeText(name)}${bytes} ${way} ${escapeText(peer)}: ${state}${share}`;
}

function json(row: TransferRow): string {
  const { id, direction, account, peer, device, name, size, sha256, path } = row;
  const { written, verified, attempt, state, status, exit, error, created, updated, ended } = row;
  const time = (ms: number | undefined) => ms && new Date(ms).toISOString();
  return JSON.stringify({
    ...{ id, direction, account, peer, device, name, size, sha256, path, written, verified },
    ...{ attempt, state, status, exit, error },
    ...{ created: time(created), updated: time(updated), ended: time(ended) },
  });
}
