/** `jet resume [ID...]` */
import type { ExitStatus } from '../../core/errors.ts';
import { type Context, WAIT_MS, withAccount } from '../context.ts';
import { showEvents } from '../show.ts';
import { routeOptions } from './send.ts';
import { printTransfers } from './transfers.ts';

/** Goes on with what was interrupted, or lists it. */
export async function resume(
  context: Context,
  ids: readonly string[],
  flags: { list?: true },
): Promise<ExitStatus> {
  if (flags.list === true) return printTransfers(context, (journal) => journal.resumable());
  const { settings, signals } = context;
  const options = routeOptions(settings, WAIT_MS);
  return withAccount(context, (account) =>
    account.resume(ids, options, showEvents(context), signals.abort),
  );
}
