/** Processes that share a journal: `die` at the nth moment, `attempts`, `begin`, `claim`. */
import { writeSync } from 'node:fs';
import { systemClock } from '../../src/core/clock.ts';
import { JetError } from '../../src/core/errors.ts';
import { Journal } from '../../src/transfer/journal/journal.ts';
import { journalStore, live, pointed } from './journal-script.ts';

const [mode, database = '', number = ''] = process.argv.slice(2);
const store = journalStore(database);
const journal = new Journal(store, systemClock);
const say = (text: string | number) => writeSync(1, `${text}\n`);

if (mode === 'die') {
  let left = Number(number);
  const dying = pointed(store, () => {
    if (left-- === 0) process.kill(process.pid, 'SIGKILL');
  });
  live(dying, () => say('done'));
} else if (mode === 'attempts') {
  for (let i = 0; i < Number(number); i++) say(journal.nextAttempt(1));
} else if (mode === 'begin') {
  const parties = { account: 'a@x', peer: 'b@x', direction: 'send', jet: true } as const;
  for (let i = 0; i < Number(number); i++) {
    const writer = journal.begin({ ...parties, name: `${process.pid} ${i}`, size: 100 });
    for (let written = 10; written <= 100; written += 10) writer.progress(written);
    writer.end({ state: 'done', exit: 0, status: 'verified' });
  }
} else {
  // Whoever gets it counts on from what the last one wrote, and lets go.
  for (let won = 0; won < Number(number);) {
    try {
      const writer = journal.claim(1, 'user');
      const { written } = writer.row();
      await new Promise((resolve) => setImmediate(resolve));
      writer.progress(written + 1);
      writer.release();
      won++;
    } catch (error) {
      if (!(error instanceof JetError && error.code === 'transfer-busy')) throw error;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
store.close();
