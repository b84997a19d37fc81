/** `jet distrust JID FINGERPRINT` */
import { Exit, type ExitStatus } from '../../core/errors.ts';
import { type Context, withAccount } from '../context.ts';
import { readKeys } from './trust.ts';

/** Refuses keys from now on; the account itself says so. */
export async function distrust(
  context: Context,
  name: string,
  words: readonly string[],
): Promise<ExitStatus> {
  const { jid, keys } = readKeys(name, words);
  await withAccount(context, async (account) => {
    for (const { fingerprint } of keys) await account.distrust(jid, fingerprint);
  });
  return Exit.done;
}
