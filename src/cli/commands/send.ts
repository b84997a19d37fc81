/** `jet send FILE... JID` */
import type { RouteOptions } from '../../app/types.ts';
import type { ExitStatus } from '../../core/errors.ts';
import { gather } from '../../transfer/items.ts';
import { splitSend } from '../arguments.ts';
import { type Context, WAIT_MS, withAccount } from '../context.ts';
import type { Settings } from '../settings.ts';
import { showEvents } from '../show.ts';

/** Sends what was named. */
export async function send(
  context: Context,
  items: readonly string[],
  to: string | undefined,
): Promise<ExitStatus> {
  const { files, to: address } = splitSend(items, to);
  // What cannot be sent is told before anybody is asked for a password.
  const gathered = await gather(files);
  const [first] = gathered.refused;
  if (first !== undefined && gathered.items.length === 0) throw first.error;
  const options = routeOptions(context.settings, WAIT_MS);
  return withAccount(context, async (account) => {
    await account.pin(address.jid, address.devices);
    return account.send(gathered, address.jid, options, showEvents(context), context.signals.abort);
  });
}

/** How a transfer may travel; a proxy of the user's rules out direct connections. */
export function routeOptions(settings: Settings, wait: number): RouteOptions {
  const route = settings.route();
  const limitRate = settings.size('limit-rate');
  const ports = settings.ports();
  return {
    direct: !settings.on('no-direct') && settings.proxy() === undefined,
    allInterfaces: settings.on('all-interfaces'),
    verifiedOnly: settings.on('verified-only'),
    wait: settings.wait(wait),
    ...(route === undefined ? {} : { route }),
    ...(limitRate === undefined ? {} : { limitRate }),
    ...(ports === undefined ? {} : { ports }),
  };
}
