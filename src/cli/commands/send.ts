/** `jet send ITEM... JID` */
import { existsSync } from 'node:fs';
import type { RouteOptions } from '../../app/types.ts';
import type { ExitStatus } from '../../core/errors.ts';
import { gather, STDIN } from '../../transfer/items.ts';
import { splitSend, usage } from '../arguments.ts';
import { type Context, WAIT_MS, withAccount } from '../context.ts';
import type { Settings } from '../settings.ts';
import { formatSize } from '../format.ts';
import { showEvents } from '../show.ts';

/** The flags of send. */
export interface SendFlags {
  readonly to?: string;
  readonly name?: string;
  /** Every `--text`, in order. */
  readonly text?: readonly string[];
  readonly links?: true;
  readonly exclude?: readonly string[];
}

/** Sends what was named. */
export async function send(
  context: Context,
  items: readonly string[],
  flags: SendFlags,
): Promise<ExitStatus> {
  const { name, text: texts = [] } = flags;
  const [text] = texts;
  const { files, to: address } = splitSend(items, flags.to, existsSync, text !== undefined);
  if (texts.length > 1) throw usage('one-text', '--text can be given once.');
  if (name !== undefined && files.length + texts.length > 1)
    throw usage('one-name', '--name goes with one file, one text, or standard input alone.');
  if (files.filter((file) => file === STDIN).length > 1)
    throw usage('one-input', 'Standard input can be sent once.');
  const on = showEvents(context);
  // What cannot be sent is told before anybody is asked for a password.
  const gathered = await gather(files, {
    ...(name !== undefined && { name }),
    ...(text !== undefined && { text }),
    links: flags.links === true,
    exclude: flags.exclude ?? [],
    skipped: (path, why) =>
      on({
        ...{ id: 'jet', time: Date.now(), event: 'notice', code: 'left-out' },
        message: `Left out ${path}: ${why}.`,
      }),
    signal: context.signals.abort,
    kept: (size) =>
      on({
        ...{ id: 'jet', time: Date.now(), event: 'notice', code: 'input-kept' },
        message: `Standard input (${formatSize(size)}) is kept in a temporary file until it is sent.`,
      }),
  });
  const [first] = gathered.refused;
  if (first !== undefined && gathered.items.length === 0) throw first.error;
  const options = routeOptions(context.settings, WAIT_MS);
  return withAccount(context, async (account) => {
    await account.pin(address.jid, address.devices);
    return account.send(gathered, address.jid, options, on, context.signals.abort);
  }).finally(() => gathered.close());
}

/** How a transfer may travel. */
export function routeOptions(settings: Settings, wait: number): RouteOptions {
  const route = settings.route();
  const limitRate = settings.size('limit-rate');
  const ports = settings.ports();
  return {
    direct: !settings.on('no-direct'),
    allInterfaces: settings.on('all-interfaces'),
    verifiedOnly: settings.on('verified-only'),
    wait: settings.wait(wait),
    ...(route === undefined ? {} : { route }),
    ...(limitRate === undefined ? {} : { limitRate }),
    ...(ports === undefined ? {} : { ports }),
  };
}
