/** `jet share PATH...` */
import type { OnShared, OpenAccount, SharedFile } from '../../app/types.ts';
import { Exit, type ExitStatus } from '../../core/errors.ts';
import type { Jid } from '../../core/jid.ts';
import { fingerprintUri } from '../../omemo/uri.ts';
import { parseAddress, usage } from '../arguments.ts';
import { chosenAccount, type Context, userInterface, withAccount } from '../context.ts';
import { escapeText } from '../escape.ts';
import { showEvents } from '../show.ts';
import { unitOf } from '../unit.ts';
import { routeOptions } from './send.ts';

/** The flags of share. */
export interface ShareFlags {
  readonly to?: readonly string[];
  readonly contacts?: true;
  readonly allowPlain?: readonly string[];
  readonly until?: string;
  readonly count?: string;
  readonly links?: true;
  readonly exclude?: readonly string[];
  readonly printUnit?: true;
}

/** Serves files until it is ended. */
export async function share(
  context: Context,
  paths: readonly string[],
  flags: ShareFlags,
): Promise<ExitStatus> {
  if (flags.printUnit === true) {
    process.stdout.write(unitOf('share', context.home));
    return Exit.done;
  }
  if (paths.length === 0)
    throw usage('no-file', 'Nothing to share: write jet share PATH --to JID.');
  const addresses = (flags.to ?? []).map(parseAddress);
  const plainly = (flags.allowPlain ?? []).map(parseAddress);
  const to = addresses.map(({ jid }) => jid);
  const plain = plainly.map(({ jid }) => jid);
  const contacts = flags.contacts === true;
  if (to.length === 0 && plain.length === 0 && !contacts)
    throw usage('nobody', 'Say who may fetch: --to JID (as often as you like), or --contacts.');
  const { terminal, settings } = context;
  for (const jid of plain)
    terminal.line(
      `Warning: while this runs, a server can turn a file that ${jid.toString()} offers to you into a request and so learn about both; --allow-plain is for programs that know no sealed elements.`,
    );
  const count = flags.count === undefined ? undefined : readCount(flags.count);
  const until = flags.until === undefined ? undefined : readTime(flags.until);
  const options = {
    ...routeOptions(settings, Infinity),
    ...{ to, contacts, plain, links: flags.links === true, exclude: flags.exclude ?? [] },
    ...(count !== undefined && { count }),
    ...(until !== undefined && { until }),
  };
  // Who has no account need not wait for hashes.
  chosenAccount(context);
  const { fillCatalogue } = await import('../../app.ts');
  const on = showEvents(context);
  const { abort } = context.signals;
  const filling = fillCatalogue(context.home, paths, options, userInterface(context), on, abort);
  const serve = async (account: OpenAccount) => {
    for (const { jid, devices } of [...addresses, ...plainly]) await account.pin(jid, devices);
    const print: OnShared = (files, own) => {
      const address = addressOf(account.jid.bare, own);
      const line = ({ path, name, size, sha256 }: SharedFile) =>
        settings.on('json')
          ? JSON.stringify({ path, name, size, sha256, from: address })
          : `${escapeText(name)}: jet fetch sha-256:${sha256} '${address}'`;
      return written(files.map((file) => `${line(file)}\n`).join(''));
    };
    return account.share(filling, options, print, on, abort);
  };
  try {
    return await withAccount(context, serve, true);
  } finally {
    await filling.stop();
  }
}

/** Who shares, as the other side writes it. */
function addressOf(bare: Jid, own: Parameters<OnShared>[1]): string {
  if (own?.fingerprint === undefined) return bare.toString();
  return fingerprintUri(bare, own.id, own.fingerprint);
}

/** Resolves when stdout took it, or takes nothing any more. */
function written(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(text, () => resolve()));
}

function readCount(text: string): number {
  const count = /^[0-9]{1,9}$/.test(text) ? Number(text) : 0;
  if (count === 0) throw usage('bad-count', `--count must be a number of files, not "${text}".`);
  return count;
}

/** A date and time, or a span from now such as 90m, 8h or 3d. */
function readTime(text: string): number {
  const span = /^([0-9]{1,6})([smhd])$/.exec(text);
  const unit = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[span?.[2] ?? 's'] ?? 0;
  const time = span ? Date.now() + Number(span[1]) * unit : Date.parse(text);
  if (Number.isNaN(time) || time <= Date.now())
    throw usage(
      'bad-time',
      `--until must be a time to come (2030-01-31T18:00) or a span (8h), not "${text}".`,
    );
  return time;
}
