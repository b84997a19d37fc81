/** `jet trust JID FINGERPRINT` */
import { Exit, type ExitStatus } from '../../core/errors.ts';
import { groupFingerprint, parseFingerprint } from '../../omemo/uri.ts';
import { parseBareAddress, usage } from '../arguments.ts';
import { type Context, withAccount } from '../context.ts';

/** Trusts a device whose fingerprint was compared; the groups of a fingerprint may be words of their own. */
export async function trust(
  context: Context,
  name: string,
  words: readonly string[],
): Promise<ExitStatus> {
  const jid = parseBareAddress(name);
  const fingerprint = readFingerprint(words);
  await withAccount(context, (account) => account.trust(jid, fingerprint));
  context.terminal.line(`Trusted for ${jid.toString()}: ${groupFingerprint(fingerprint)}`);
  return Exit.done;
}

/** Joins and checks. @throws JetError (exit 2) when it is no fingerprint */
export function readFingerprint(words: readonly string[]): string {
  const fingerprint = parseFingerprint(words.join(''));
  if (fingerprint === undefined)
    throw usage(
      'not-a-fingerprint',
      'A fingerprint has 64 hexadecimal digits: jet devices JID shows them.',
    );
  return fingerprint;
}
