/** `jet fetch HASH... JID` */
import { resolve } from 'node:path';
import { Exit, type ExitStatus } from '../../core/errors.ts';
import { shellCommand } from '../../core/shell.ts';
import { parseRange, parseSelector } from '../../transfer/selector.ts';
import { statSync } from 'node:fs';
import { parseAddress, usage } from '../arguments.ts';
import { type Context, WAIT_MS, withAccount } from '../context.ts';
import { escapeText } from '../escape.ts';
import { formatSize } from '../format.ts';
import { showEvents } from '../show.ts';
import { routeOptions } from './send.ts';

/** The flags of fetch. */
export interface FetchFlags {
  readonly list?: true;
  readonly range?: string;
  readonly stdout?: true;
}

/** Pulls files by their hashes, or lists what there is. */
export async function fetch(
  context: Context,
  words: readonly string[],
  flags: FetchFlags,
): Promise<ExitStatus> {
  const last = words.at(-1);
  if (last === undefined) throw usage('no-hash', 'Nothing to fetch: write jet fetch HASH JID.');
  const { jid, devices } = parseAddress(last);
  const hashes = words.slice(0, -1).map(parseSelector);
  if (flags.list === true) return list(context, last, hashes.length > 0);
  if (hashes.length === 0)
    throw usage(
      'no-hash',
      `No hash given: write ${shellCommand('jet fetch', 'HASH', last)}, or ${shellCommand('jet fetch --list', last)}.`,
    );
  const { settings } = context;
  const out = resolve(settings.text('out') ?? '.');
  const stdout = flags.stdout === true;
  const range = flags.range === undefined ? undefined : parseRange(flags.range);
  const several = hashes.length > 1;
  if (several && !stdout && !statSync(out, { throwIfNoEntry: false })?.isDirectory())
    throw usage(
      'out-folder',
      `Several files need a folder: ${out} is none. Make it, or name another with --out.`,
    );
  if (several && (range !== undefined || stdout))
    throw usage('one-hash', `${stdout ? '--stdout' : '--range'} goes with one hash.`);
  const onConflict = settings.find('on-conflict') === undefined ? undefined : settings.onConflict();
  const options = {
    ...routeOptions(settings, WAIT_MS),
    ...{ out, stdout },
    ...(range && { range }),
    ...(onConflict && { onConflict }),
  };
  return withAccount(context, async (account) => {
    await account.pin(jid, devices);
    return account.fetch(
      hashes,
      jid,
      options,
      showEvents(context, stdout ? 'data' : 'paths'),
      context.signals.abort,
    );
  });
}

async function list(context: Context, name: string, hashed: boolean): Promise<ExitStatus> {
  if (hashed) throw usage('list-or-hash', 'Ask for the list or for a hash, not for both at once.');
  const { jid, devices } = parseAddress(name);
  const json = context.settings.on('json');
  const options = routeOptions(context.settings, WAIT_MS);
  const found = await withAccount(context, async (account) => {
    await account.pin(jid, devices);
    return account.list(jid, options, showEvents(context, 'list'), context.signals.abort);
  });
  if (typeof found === 'number') return found;
  for (const { name: file, size, date, sha256 } of found) {
    const day = date.toISOString().slice(0, 10);
    const line = json
      ? JSON.stringify({ name: file, size, date: date.toISOString(), sha256 })
      : `sha-256:${sha256}  ${day}  ${formatSize(size)}  ${escapeText(file)}`;
    process.stdout.write(`${line}\n`);
  }
  return Exit.done;
}
