/** `jet logout` */
import { Exit, type ExitStatus, JetError } from '../../core/errors.ts';
import { forgetAccount } from '../accounts.ts';
import { chosenAccount, type Context, withAccount } from '../context.ts';

/** Takes our device off the list and forgets the account. */
export async function logout(context: Context): Promise<ExitStatus> {
  const { jid, saved } = chosenAccount(context);
  if (!saved)
    throw new JetError(Exit.account, 'not-saved', `The account ${jid.toString()} is not saved.`);
  await withAccount(context, (account) => account.removeDevice());
  await forgetAccount(context.home, saved);
  context.terminal.line(`Logged out of ${jid.toString()}.`);
  return Exit.done;
}
