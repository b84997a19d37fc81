/** The one place that composes: opens the account, and gives the commands what they ask of it. */
import { join } from 'node:path';
import { connectOptions } from './app/connecting.ts';
import { fetch, list } from './app/fetching.ts';
import { fill } from './app/filling.ts';
import { AccountGate } from './app/gate.ts';
import { capsSchema } from './app/kept-caps.ts';
import {
  addContact,
  contacts,
  devices,
  removeContact,
  removeDevices,
  staleDevices,
} from './app/people.ts';
import { receive } from './app/receiving.ts';
import { resume } from './app/resuming.ts';
import { send } from './app/sending.ts';
import { share } from './app/sharing.ts';
import { journalOf } from './app/transfers.ts';
import type {
  AccountSettings,
  Filling,
  HomeFolders,
  OnEvent,
  OpenAccount,
  OpenJournal,
  ShareOptions,
  Ui,
} from './app/types.ts';
import { Workbench } from './app/workbench.ts';
import { systemClock } from './core/clock.ts';
import { omemoSchema } from './omemo/schema.ts';
import { locksSchema } from './store/locks.ts';
import { slotsSchema } from './store/slots.ts';
import { openStore, type Store } from './store/store.ts';
import { catalogueSchema } from './transfer/catalogue.ts';
import { journalSchema } from './transfer/journal/journal-row.ts';
import { s5bSchema } from './transport/s5b/proxies.ts';
import { connect } from './xmpp/connect.ts';
import type { Connection } from './xmpp/connection.ts';
import { register } from './xmpp/register.ts';

/** Every folder that stores something owns its tables. */
const SCHEMAS = [
  ...[locksSchema, slotsSchema, omemoSchema, journalSchema, catalogueSchema, s5bSchema],
  capsSchema,
];

export { explain } from './app/connecting.ts';

/** @see Application.openAccount */
export async function openAccount(
  settings: AccountSettings,
  ui: Ui,
  signal: AbortSignal,
): Promise<OpenAccount> {
  const store = storeOf(settings);
  try {
    const connection = await enter(settings, store, signal);
    try {
      const bench = new Workbench(settings, ui, store, connection);
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
  const store = storeOf(settings);
  try {
    const connection = await enter(settings, store, signal);
    await connection.close();
  } finally {
    store.close();
  }
}

/** @see Application.registerAccount */
export async function registerAccount(
  settings: AccountSettings,
  signal: AbortSignal,
): Promise<void> {
  await register(await connectOptions(settings, signal));
}

/** @see Application.openJournal */
export function openJournal(home: HomeFolders): OpenJournal {
  return journalOf(storeOf({ home }));
}

/** @see Application.fillCatalogue */
export function fillCatalogue(
  home: HomeFolders,
  paths: readonly string[],
  options: Pick<ShareOptions, 'links' | 'exclude'>,
  ui: Pick<Ui, 'notice'>,
  on: OnEvent,
  signal: AbortSignal,
): Filling {
  return fill(() => storeOf({ home }), systemClock, paths, options, ui, on, signal);
}

function storeOf({ home }: Pick<AccountSettings, 'home'>): Store {
  return openStore(join(home.data, 'jet.db'), SCHEMAS);
}

/** Connects as soon as there is a slot for it. */
async function enter(
  settings: AccountSettings,
  store: Store,
  signal: AbortSignal,
): Promise<Connection> {
  const gate = new AccountGate(store, systemClock, settings.jid.bare.toString(), settings.slots);
  return connect({ ...(await connectOptions(settings, signal)), gate });
}

function account(bench: Workbench): OpenAccount {
  return {
    jid: bench.connection.jid,
    send: (...args) => send(bench, ...args),
    receive: (...args) => receive(bench, ...args),
    fetch: (...args) => fetch(bench, ...args),
    list: (...args) => list(bench, ...args),
    share: (...args) => share(bench, ...args),
    resume: (...args) => resume(bench, ...args),
    contacts: () => bench.loaded().then(() => contacts(bench)),
    addContact: (jid) => bench.loaded().then(() => addContact(bench, jid)),
    removeContact: (jid) => bench.loaded().then(() => removeContact(bench, jid)),
    devices: (jid) => devices(bench, jid),
    staleDevices: () => staleDevices(bench),
    removeDevices: (ids) => removeDevices(bench, ids),
    pin: (jid, keys) => now(() => bench.openOmemo(false).pinWritten(jid, keys)),
    checkKeys: (jid, keys) => now(() => bench.openOmemo(false).checkWritten(jid, keys)),
    trust: (jid, key, device) => now(() => bench.openOmemo(false).trust(jid, key, device)),
    forgetJet: (jid, key) => now(() => bench.openOmemo(false).forgetJet(jid, key)),
    distrust: (jid, key) => now(() => bench.openOmemo(false).distrust(jid, key)),
    removeDevice: () => bench.openOmemo(false).removeOwnDevice(),
    close: () => bench.close(),
  };
}

/** What needs no network, as a promise. */
function now(action: () => void): Promise<void> {
  return Promise.resolve().then(action);
}
