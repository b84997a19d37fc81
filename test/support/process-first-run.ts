/** A first run: makes the OMEMO device of a home, with PEP nodes in files that all processes share. */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/core/clock.ts';
import { OwnDevice } from '../../src/omemo/device.ts';
import type { PepPort } from '../../src/omemo/pep-port.ts';
import { Publisher } from '../../src/omemo/publisher.ts';
import { omemoSchema } from '../../src/omemo/schema.ts';
import { locksSchema } from '../../src/store/locks.ts';
import { openStore } from '../../src/store/store.ts';
import { parseXml } from './network.ts';
import { jid } from './omemo-world.ts';

const folder = process.argv[2] ?? '';
const account = jid('alice@a.example');
const fileOf = (node: string) => join(folder, node.replace(/[^a-z0-9]/gi, '_'));
const pep: PepPort = {
  publish: (node, _id, payload) => {
    const part = `${fileOf(node)}.${process.pid}`;
    writeFileSync(part, payload.toString());
    renameSync(part, fileOf(node));
    return Promise.resolve();
  },
  create: () => Promise.resolve(true),
  fetch: (_jid, node) =>
    Promise.resolve(
      existsSync(fileOf(node)) ? parseXml(readFileSync(fileOf(node), 'utf8')) : undefined,
    ),
  deleteNode: (node) => {
    rmSync(fileOf(node), { force: true });
    return Promise.resolve();
  },
  onItem: () => () => undefined,
};
const store = openStore(join(folder, 'state.db'), [locksSchema, omemoSchema]);
const own = new OwnDevice(store, systemClock, account.toString());
const publisher = new Publisher({
  pep,
  store,
  clock: systemClock,
  account,
  own,
  say: ({ event }) => {
    console.log(event);
  },
});
const device = await publisher.ensure();
console.log(`device ${device.id} ${device.fingerprint}`);
publisher.stop();
store.close();
