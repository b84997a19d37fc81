/** A process that saves accounts, and takes every second one away again. */
import { forgetAccount, saveAccount } from '../../src/cli/accounts.ts';
import { address } from './address.ts';

const [folder = '', name = ''] = process.argv.slice(2);
const home = { config: folder, data: folder };
for (let i = 0; i < 6; i++) {
  const jid = address(`${name}${i}@home.example`);
  await saveAccount(home, jid, `secret ${i}`, false);
  if (i % 2 === 1) await forgetAccount(home, { jid, password: '' });
}
