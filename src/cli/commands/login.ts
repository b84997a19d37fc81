/** `jet login JID` */
import { Exit, type ExitStatus } from '../../core/errors.ts';
import { saveAccount } from '../accounts.ts';
import { parseAccount } from '../arguments.ts';
import { accountSettings, askPassword, type Context } from '../context.ts';

/** The flags of login and register. */
export interface LoginFlags {
  readonly passwordFile?: string;
  readonly passwordCommand?: string;
  readonly keyring?: true;
}

/** Proves an account by connecting, then saves it. */
export async function login(
  context: Context,
  name: string,
  flags: LoginFlags,
): Promise<ExitStatus> {
  const jid = parseAccount(name);
  const password = await askPassword(context, jid, flags);
  const settings = accountSettings(context, jid, () => Promise.resolve(password));
  const { checkAccount } = await import('../../app.ts');
  context.terminal.waiting(`Connecting as ${jid.toString()}`);
  await checkAccount(settings, context.signals.abort);
  context.terminal.waiting(undefined);
  await saveAccount(context.home, jid, password, flags.keyring === true);
  context.terminal.line(`Logged in as ${jid.toString()}.`);
  return Exit.done;
}
