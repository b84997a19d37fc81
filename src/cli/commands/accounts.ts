/** `jet accounts` */
import { Exit, type ExitStatus } from '../../core/errors.ts';
import { readAccounts } from '../accounts.ts';
import type { Context } from '../context.ts';

/** Lists the saved accounts, one a line. */
export function accounts(context: Context): Promise<ExitStatus> {
  const json = context.settings.on('json');
  for (const { jid, password } of readAccounts(context.home)) {
    const name = jid.toString();
    const entry = { jid: name, password: password === undefined ? 'keyring' : 'file' };
    process.stdout.write(`${json ? JSON.stringify(entry) : name}\n`);
  }
  return Promise.resolve(Exit.done);
}
