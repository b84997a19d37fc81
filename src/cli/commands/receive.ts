/** `jet receive [JID...]` */
import { accessSync, constants, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { Exit, type ExitStatus, JetError } from '../../core/errors.ts';
import { parseAddress, usage } from '../arguments.ts';
import { type Context, withAccount } from '../context.ts';
import { canAsk } from '../prompt.ts';
import { showEvents } from '../show.ts';
import { routeOptions } from './send.ts';

/** The flags of receive. */
export interface ReceiveFlags {
  readonly yes?: true;
  readonly once?: true;
  readonly stdout?: true;
}

/** Waits for offers and takes what is accepted. */
export async function receive(
  context: Context,
  names: readonly string[],
  flags: ReceiveFlags,
): Promise<ExitStatus> {
  const { settings } = context;
  const addresses = names.map(parseAddress);
  if (!flags.yes && !canAsk())
    throw usage(
      'nobody-to-ask',
      'There is no terminal to ask at: use --yes to accept without asking.',
    );
  const stdout = flags.stdout === true;
  const out = resolve(settings.text('out') ?? '.');
  if (!stdout) checkFolder(out);
  const maxSize = settings.size('max-size');
  const options = {
    ...routeOptions(settings, Infinity),
    yes: flags.yes === true,
    // There is no second file for one stream.
    once: flags.once === true || stdout,
    ...{ out, stdout },
    onConflict: settings.onConflict(),
    ...(maxSize === undefined ? {} : { maxSize }),
  };
  const from = addresses.map(({ jid }) => jid);
  return withAccount(
    context,
    async (account) => {
      for (const { jid, devices } of addresses) await account.pin(jid, devices);
      return account.receive(
        from,
        options,
        showEvents(context, stdout ? 'data' : 'paths'),
        context.signals.abort,
      );
    },
    true,
  );
}

/** @throws JetError (exit 8) where nothing could land */
function checkFolder(out: string): void {
  if (!statSync(out, { throwIfNoEntry: false })?.isDirectory())
    throw new JetError(
      Exit.localFile,
      'no-folder',
      `${out} is not a folder: make it first, or choose another with --out.`,
    );
  try {
    accessSync(out, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new JetError(
      Exit.localFile,
      'folder-read-only',
      `${out} may not be written to: change its permissions, or choose another with --out.`,
      { cause: error },
    );
  }
}
