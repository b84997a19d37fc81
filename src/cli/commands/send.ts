/** `jet send FILE JID` */
import { accessSync, constants, statSync } from 'node:fs';
import type { RouteOptions } from '../../app/types.ts';
import { Exit, type ExitStatus, JetError, systemCode } from '../../core/errors.ts';
import { splitSend } from '../arguments.ts';
import { type Context, WAIT_MS, withAccount } from '../context.ts';
import type { Settings } from '../settings.ts';
import { showEvents } from '../show.ts';

/** Sends one regular file. */
export async function send(
  context: Context,
  items: readonly string[],
  to: string | undefined,
): Promise<ExitStatus> {
  const { files, to: jid } = splitSend(items, to);
  for (const file of files) checkFile(file);
  const options = routeOptions(context.settings, WAIT_MS);
  return withAccount(context, (account) =>
    account.send(files, jid, options, showEvents(context), context.signals.abort),
  );
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

function checkFile(file: string): void {
  const fail = (code: string, message: string) => new JetError(Exit.localFile, code, message);
  try {
    const found = statSync(file);
    if (found.isDirectory())
      throw fail('is-folder', `${file} is a folder: pack it into an archive first.`);
    if (!found.isFile()) throw fail('not-regular', `${file} is not a regular file.`);
    accessSync(file, constants.R_OK);
  } catch (error) {
    if (error instanceof JetError) throw error;
    const missing = systemCode(error) === 'ENOENT';
    throw missing
      ? fail('no-such-file', `There is no file ${file}.`)
      : fail('unreadable', `${file} cannot be read: check its permissions.`);
  }
}
