/** A life of two transfers, call by call, on a store that tells of every moment at which it may die. */
import { FakeClock } from './clock.ts';
import { locksSchema } from '../../src/store/locks.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { Journal, journalSchema } from '../../src/transfer/journal/journal.ts';
import type { JournalWriter } from '../../src/transfer/journal/journal-writer.ts';

export const ID = 'ab'.repeat(16);
export const KEY = 'cd'.repeat(32);
const PEER = { identity: KEY, device: 7 };

/** Opens a store as the journal wants it. */
export function journalStore(file: string): Store {
  return openStore(file, [locksSchema, journalSchema]);
}

/** Calls `point` before and after every write, and where a transaction is about to be committed. */
export function pointed(store: Store, point: () => void): Store {
  const around = <T>(body: () => T): T => {
    point();
    const result = body();
    point();
    return result;
  };
  return {
    file: store.file,
    all: (sql, ...params) => store.all(sql, ...params),
    get: (sql, ...params) =>
      /RETURNING/.test(sql) ? around(() => store.get(sql, ...params)) : store.get(sql, ...params),
    run: (sql, ...params) => around(() => store.run(sql, ...params)),
    transaction: (body) => around(() => store.transaction(body)),
    snapshot: (body) => store.snapshot(body),
    lightly: (body) => store.lightly(body),
    close: () => store.close(),
  };
}

/** What a reader sees: every row, the random ids and the owner of locks left out. */
export function seen(store: Store): string {
  const rows = store.all('SELECT * FROM transfer ORDER BY key');
  const known = rows.map((row) => ({ ...row, id: row['adopted'] === 1 ? row['id'] : '' }));
  return JSON.stringify([...known, ...store.all('SELECT * FROM landed_folder')]);
}

/** Performs the calls; after each of them `done`. */
export function live(store: Store, done: () => void): void {
  const journal = new Journal(store, new FakeClock());
  const tail = Buffer.alloc(32);
  const identity = { dev: 1n, ino: 2n ** 60n, uid: 0n, mode: 0o100600n, tail };
  let writer: JournalWriter | undefined;
  const parties = { account: 'a@x', peer: 'b@x', jet: true } as const;
  const calls: (() => unknown)[] = [
    () => (writer = journal.begin({ ...parties, direction: 'receive', name: 'n', size: 99 })),
    () => writer?.note({ path: '/p', part: '/p.jet-part', options: { on_conflict: 'rename' } }),
    () => writer?.adopt(ID, PEER),
    () => writer?.checkpoint({ written: 50, identity }),
    () =>
      writer?.end({
        state: 'interrupted',
        exit: 7,
        status: 'interrupted',
        kept: {
          written: 60,
          identity: { ...identity, rest: { size: 60n, mtimeNs: 1n, ctimeNs: 1n } },
        },
      }),
    () => journal.nextAttempt(1),
    () => (writer = journal.claim(1, 'user')),
    () => writer?.progress(70, 30),
    () => writer?.restart(),
    () => journal.acceptAttempt(1, 5),
    () => writer?.rememberLanded('/t/x', Buffer.from('files')),
    () => writer?.end({ state: 'done', exit: 0, status: 'verified' }),
    () => (writer = journal.begin({ ...parties, direction: 'send', name: 'm' })),
    () => writer?.release(),
    () => journal.forget(2),
    () => journal.clean(['done']),
  ];
  for (const call of calls) {
    call();
    done();
  }
}
