/** `jet distrust JID FINGERPRINT` */
import { Exit, type ExitStatus } from '../../core/errors.ts';
import { groupFingerprint } from '../../omemo/uri.ts';
import { parseBareAddress } from '../arguments.ts';
import { type Context, withAccount } from '../context.ts';
import { readFingerprint } from './trust.ts';

/** Refuses a device from now on. */
export async function distrust(
  context: Context,
  name: string,
  words: readonly string[],
): Promise<ExitStatus> {
  const jid = parseBareAddress(name);
  const fingerprint = readFingerprint(words);
  await withAccount(context, (account) => account.distrust(jid, fingerprint));
  context.terminal.line(`Distrusted for ${jid.toString()}: ${groupFingerprint(fingerprint)}`);
  return Exit.done;
}
