/** `jet trust JID FINGERPRINT` */
import { Exit, type ExitStatus } from '../../core/errors.ts';
import type { Jid } from '../../core/jid.ts';
import { parseBareAddress, usage } from '../arguments.ts';
import { type Context, withAccount } from '../context.ts';
import { parseFingerprint } from '../format.ts';

/** A key that a command is about; its device where the address names it. */
export interface NamedKey {
  readonly fingerprint: string;
  readonly device?: number;
}

/**
 * Trusts keys whose fingerprint was compared. With `plain` it forgets that a key is a jet's instead.
 * What changes is said by the account itself.
 */
export async function trust(
  context: Context,
  name: string,
  words: readonly string[],
  flags: { readonly plain?: true } = {},
): Promise<ExitStatus> {
  const { jid, keys } = readKeys(name, words);
  await withAccount(context, async (account) => {
    for (const { fingerprint, device } of keys) {
      if (flags.plain) await account.forgetJet(jid, fingerprint);
      else await account.trust(jid, fingerprint, device);
    }
  });
  return Exit.done;
}

/**
 * Reads whose and which keys: in the words, whose groups may be words of their own, or in the address.
 *
 * @throws JetError (exit 2) when there is none, or both
 */
export function readKeys(
  name: string,
  words: readonly string[],
): { readonly jid: Jid; readonly keys: readonly NamedKey[] } {
  const { jid, devices } = parseBareAddress(name);
  if (words.length === 0 && devices.length > 0) return { jid, keys: devices };
  if (devices.length > 0)
    throw usage('two-fingerprints', 'Write the fingerprint in the address or behind it, not both.');
  const fingerprint = parseFingerprint(words.join(''));
  if (fingerprint === undefined)
    throw usage(
      'not-a-fingerprint',
      'A fingerprint has 64 hexadecimal digits: jet devices JID shows them.',
    );
  return { jid, keys: [{ fingerprint }] };
}
