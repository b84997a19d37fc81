/** `jet register JID` (XEP-0077) */
import { Exit, type ExitStatus } from '../../core/errors.ts';
import { saveAccount } from '../accounts.ts';
import { parseAccount } from '../arguments.ts';
import type { LoginFlags } from './login.ts';
import { accountSettings, askPassword, type Context } from '../context.ts';

/** Makes an account on a server that allows it, then saves it. */
export async function register(
  context: Context,
  name: string,
  flags: LoginFlags,
): Promise<ExitStatus> {
  const jid = parseAccount(name);
  const password = await askPassword(context, jid, flags);
  const settings = accountSettings(context, jid, () => Promise.resolve(password));
  const { registerAccount } = await import('../../app.ts');
  context.terminal.waiting(`Connecting as ${jid.toString()}`);
  await registerAccount(settings, context.signals.abort);
  context.terminal.waiting(undefined);
  await saveAccount(context.home, jid, password, flags.keyring === true);
  context.terminal.line(`Registered and logged in as ${jid.toString()}.`);
  return Exit.done;
}
