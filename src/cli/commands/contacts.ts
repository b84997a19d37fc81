/** `jet contacts [add|remove JID]` */
import { Exit, type ExitStatus, JetError } from '../../core/errors.ts';
import { parseBareAddress, usage } from '../arguments.ts';
import { type Context, withAccount } from '../context.ts';
import { escapeText } from '../escape.ts';

/**
 * Lists, adds or removes. Fingerprints in the address are pinned by adding, and only checked by
 * removing: whom to trust is another matter than whom to list.
 */
export async function contacts(
  context: Context,
  action: string | undefined,
  name: string | undefined,
): Promise<ExitStatus> {
  if (action === undefined) return list(context);
  if ((action !== 'add' && action !== 'remove') || name === undefined)
    throw usage(
      'contacts-usage',
      'Write jet contacts, jet contacts add JID or jet contacts remove JID.',
    );
  const { jid, devices } = parseBareAddress(name);
  await withAccount(context, async (account) => {
    if (action === 'add') {
      await account.pin(jid, devices);
      await account.addContact(jid);
      return;
    }
    await account.checkKeys(jid, devices);
    if (!(await account.removeContact(jid)))
      throw new JetError(Exit.absent, 'no-contact', `${jid.toString()} is not among the contacts.`);
  });
  return Exit.done;
}

async function list(context: Context): Promise<ExitStatus> {
  const json = context.settings.on('json');
  for (const { jid, name, subscription, pending } of await withAccount(context, (a) =>
    a.contacts(),
  )) {
    const address = jid.toString();
    const line = json
      ? JSON.stringify({ jid: address, name, subscription, pending })
      : escapeText(
          `${address} ${pending ? 'pending' : subscription}${name === undefined ? '' : ` ${name}`}`,
        );
    process.stdout.write(`${line}\n`);
  }
  return Exit.done;
}
