/** `jet login JID` */
import type { AccountSettings } from '../../app/types.ts';
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
export function login(context: Context, name: string, flags: LoginFlags): Promise<ExitStatus> {
  return enrol(context, name, flags, 'Logged in', async (settings, signal) => {
    const { checkAccount } = await import('../../app.ts');
    await checkAccount(settings, signal);
  });
}

/** Finds the password, has the account proven (or made) with it, and saves it only then. */
export async function enrol(
  context: Context,
  name: string,
  flags: LoginFlags,
  done: string,
  prove: (settings: AccountSettings, signal: AbortSignal) => Promise<void>,
): Promise<ExitStatus> {
  const jid = parseAccount(name);
  const password = await askPassword(context, jid, flags);
  const settings = accountSettings(context, jid, () => Promise.resolve(password));
  context.terminal.waiting(`Connecting as ${jid.toString()}`);
  await prove(settings, context.signals.abort);
  context.terminal.waiting(undefined);
  await saveAccount(context.home, jid, password, flags.keyring === true);
  context.terminal.line(`${done} as ${jid.toString()}.`);
  return Exit.done;
}
