/** A process that takes a lock, says so, and then does what it was told: `hold` or `count`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { systemClock } from '../../src/core/clock.ts';
import { acquire, locksSchema, withLock } from '../../src/store/locks.ts';
import { openStore } from '../../src/store/store.ts';

const [mode, database = '', file = ''] = process.argv.slice(2);
const store = openStore(database, [locksSchema]);
if (mode === 'hold') {
  const lock = acquire(store, systemClock, 'test');
  console.log(lock ? `held ${lock.fence}` : 'busy');
} else {
  for (let i = 0; i < 5; i++) {
    await withLock(
      store,
      systemClock,
      'test',
      async () => {
        const seen = Number(readFileSync(file, 'utf8'));
        await new Promise((resolve) => setImmediate(resolve));
        writeFileSync(file, String(seen + 1));
      },
      { wait: 60_000 },
    );
  }
  store.close();
}
