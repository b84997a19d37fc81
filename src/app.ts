/** The one place that composes: opens the account, and gives the commands what they ask of it. */
import { join } from 'node:path';
import { connectOptions } from './app/connecting.ts';
import {
  addContact,
  contacts,
  devices,
  removeContact,
  removeDevices,
  staleDevices,
} from './app/people.ts';
import { receive } from './app/receiving.ts';
import { send } from './app/sending.ts';
import type { AccountSettings, OpenAccount, Ui } from './app/types.ts';
import { Workbench } from './app/workbench.ts';
import { omemoSchema } from './omemo/schema.ts';
import { locksSchema } from './store/locks.ts';
import { openStore } from './store/store.ts';
import { connect } from './xmpp/connect.ts';
import { register } from './xmpp/register.ts';

export { explain } from './app/connecting.ts';

/** @see Application.openAccount */
export async function openAccount(
  settings: AccountSettings,
  ui: Ui,
  signal: AbortSignal,
): Promise<OpenAccount> {
  const store = openStore(join(settings.home.data, 'jet.db'), [locksSchema, omemoSchema]);
  try {
    const connection = await connect(await connectOptions(settings, signal));
    try {
      const bench = new Workbench(settings, ui, store, connection);
      await bench.roster.load();
      return account(bench);
    } catch (error) {
      await connection.close();
      throw error;
    }
  } catch (error) {
    store.close();
    throw error;
  }
}

/** @see Application.checkAccount */
export async function checkAccount(settings: AccountSettings, signal: AbortSignal): Promise<void> {
  const connection = await connect(await connectOptions(settings, signal));
  await connection.close();
}

/** @see Application.registerAccount */
export async function registerAccount(
  settings: AccountSettings,
  signal: AbortSignal,
): Promise<void> {
  await register(await connectOptions(settings, signal));
}

function account(bench: Workbench): OpenAccount {
  return {
    jid: bench.connection.jid,
    send: (...args) => send(bench, ...args),
    receive: (...args) => receive(bench, ...args),
    contacts: () => contacts(bench),
    addContact: (jid) => addContact(bench, jid),
    removeContact: (jid) => removeContact(bench, jid),
    devices: (jid) => devices(bench, jid),
    staleDevices: () => staleDevices(bench),
    removeDevices: (ids) => removeDevices(bench, ids),
    trust: (jid, fingerprint) => {
      bench.openOmemo(false).trust(jid, fingerprint);
      return Promise.resolve();
    },
    distrust: (jid, fingerprint) => {
      bench.openOmemo(false).distrust(jid, fingerprint);
      return Promise.resolve();
    },
    removeDevice: () => bench.openOmemo(false).removeOwnDevice(),
    close: () => bench.close(),
  };
}
