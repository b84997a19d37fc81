/** What a home of `jet` keeps, changed behind its back. */
import { join } from 'node:path';
import { omemoSchema } from '../../src/omemo/schema.ts';
import { locksSchema } from '../../src/store/locks.ts';
import { openStore } from '../../src/store/store.ts';
import { s5bSchema } from '../../src/transport/s5b/proxies.ts';
import type { JetHome } from './jet.ts';

/** Runs one statement on the store of a home whose processes have ended. */
export function edit(of: JetHome, sql: string): void {
  const store = openStore(join(of.home, 'jet.db'), [locksSchema, omemoSchema, s5bSchema]);
  store.run(sql);
  store.close();
}
