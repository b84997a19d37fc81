/** The saved accounts: one file of mode 0600, replaced as a whole. */
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { HomeFolders } from '../app/types.ts';
import { Exit, JetError, messageOf, systemCode } from '../core/errors.ts';
import { randomId } from '../core/bytes.ts';
import { systemClock } from '../core/clock.ts';
import { Jid } from '../core/jid.ts';
import { shellCommand } from '../core/shell.ts';

/** An account; its password is here or, without one, in the system's keyring. */
export interface SavedAccount {
  readonly jid: Jid;
  readonly password?: string;
}

const SERVICE = 'jet-transfer';
const pathOf = (home: HomeFolders) => join(home.config, 'accounts.json');

/** The saved accounts in the order of their names. @throws JetError (exit 3) when the file is broken */
export function readAccounts(home: HomeFolders): SavedAccount[] {
  const path = pathOf(home);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw new JetError(
      Exit.account,
      'accounts-unreadable',
      `Cannot read ${path}: ${messageOf(error)}.`,
    );
  }
  const accounts = decode(text);
  if (!accounts)
    throw new JetError(
      Exit.account,
      'accounts-broken',
      `The file ${path} is damaged. Delete it and log in again.`,
    );
  return accounts;
}

function decode(text: string): SavedAccount[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('accounts' in value)) return undefined;
  if (!Array.isArray(value.accounts)) return undefined;
  const accounts: SavedAccount[] = [];
  for (const entry of value.accounts as unknown[]) {
    if (typeof entry !== 'object' || entry === null || !('jid' in entry)) return undefined;
    const jid = typeof entry.jid === 'string' ? Jid.parse(entry.jid) : undefined;
    if (!jid) return undefined;
    const password =
      'password' in entry && typeof entry.password === 'string' ? entry.password : undefined;
    accounts.push({ jid, ...(password === undefined ? {} : { password }) });
  }
  return accounts;
}

function writeAccounts(home: HomeFolders, accounts: readonly SavedAccount[]): void {
  const path = pathOf(home);
  const fresh = `${path}.${randomId()}`;
  const list = accounts
    .map(({ jid, password }) => ({ jid: jid.toString(), password }))
    .sort((a, b) => (a.jid < b.jid ? -1 : 1));
  try {
    const fd = openSync(fresh, 'wx', 0o600);
    try {
      writeFileSync(fd, `${JSON.stringify({ accounts: list }, undefined, 2)}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(fresh, path);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw new JetError(
      Exit.localFile,
      'accounts-unwritable',
      `Cannot write ${path}: ${messageOf(error)}.`,
    );
  }
}

/** Milliseconds that one change of the file may wait for others. */
const TURN_MS = 30_000;

/** Reads, changes and writes the file, one process at a time: two logins at once both stay. */
async function changeAccounts(
  home: HomeFolders,
  change: (accounts: readonly SavedAccount[]) => readonly SavedAccount[],
): Promise<void> {
  // Loaded only by what changes the file: most commands only read it.
  const [{ openStore }, { locksSchema, withLock }] = await Promise.all([
    import('../store/store.ts'),
    import('../store/locks.ts'),
  ]);
  const store = openStore(join(home.data, 'jet.db'), [locksSchema]);
  const write = () => writeAccounts(home, change(readAccounts(home)));
  try {
    await withLock(store, systemClock, 'accounts', write, { wait: TURN_MS });
  } finally {
    store.close();
  }
}

/** Saves or replaces an account, its password in the file or the keyring. */
export async function saveAccount(
  home: HomeFolders,
  jid: Jid,
  password: string,
  keyring: boolean,
): Promise<void> {
  if (keyring) await withKeyring(jid, (entry) => entry.setPassword(password));
  const account = { jid, ...(keyring ? {} : { password }) };
  await changeAccounts(home, (all) => [...all.filter((a) => !a.jid.sameBare(jid)), account]);
}

/** Forgets an account and its password. */
export async function forgetAccount(home: HomeFolders, account: SavedAccount): Promise<void> {
  if (account.password === undefined)
    await withKeyring(account.jid, (entry) => entry.deletePassword());
  await changeAccounts(home, (all) => all.filter((a) => !a.jid.sameBare(account.jid)));
}

/** The password of a saved account. @throws JetError (exit 3) when the keyring has none */
export async function passwordOf(account: SavedAccount): Promise<string> {
  const password =
    account.password ?? (await withKeyring(account.jid, (entry) => entry.getPassword()));
  if (typeof password === 'string') return password;
  const jid = account.jid.toString();
  throw new JetError(
    Exit.account,
    'no-password',
    `The keyring holds no password for ${jid}: run ${shellCommand('jet login', jid)}.`,
  );
}

interface KeyringEntry {
  setPassword(password: string): unknown;
  getPassword(): string | null;
  deletePassword(): unknown;
}

// Loaded only here: it is a native library that servers have no use for.
async function withKeyring<T>(jid: Jid, action: (entry: KeyringEntry) => T): Promise<T> {
  try {
    const { Entry } = await import('@napi-rs/keyring');
    return action(new Entry(SERVICE, jid.toString()));
  } catch (error) {
    throw new JetError(
      Exit.account,
      'keyring-unusable',
      `The system's keyring cannot be used (${messageOf(error)}). Unlock it, or log in without --keyring.`,
      { cause: error },
    );
  }
}
