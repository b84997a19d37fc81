/** `jet transfers`: the journal, read and tidied up without a connection. */
import { systemClock } from '../core/clock.ts';
import type { Store } from '../store/store.ts';
import { Journal } from '../transfer/journal/journal.ts';
import { canGoOn, type TransferRow } from '../transfer/journal/journal-row.ts';
import { removePart } from '../transfer/targets.ts';
import type { OpenJournal } from './types.ts';

/** @see OpenJournal */
export function journalOf(store: Store): OpenJournal {
  const journal = new Journal(store, systemClock);
  return {
    list: () => journal.list(),
    resumable: () => resumable(journal),
    forget: async (ids) => {
      for (const id of ids) await removePart(journal.forget(journal.get(id).key));
    },
    clean: async () => {
      const rows = journal.clean(['done', 'failed', 'declined', 'expired']);
      for (const row of rows) if (row.state === 'expired') await removePart(row);
      // What had not begun when its process was killed, or is of a program that is no jet.
      const dead = journal
        .list({ states: ['interrupted', 'cancelled'] })
        .filter((row) => !canGoOn(row));
      for (const { key } of dead) await removePart(journal.forget(key));
      return rows.length + dead.length;
    },
    close: () => store.close(),
  };
}

/** What can be gone on with: both sides know the transfer id. */
export function resumable(journal: Journal, account?: string): TransferRow[] {
  const of = account === undefined ? {} : { account };
  return journal.list({ states: ['interrupted', 'cancelled'], ...of }).filter(canGoOn);
}
