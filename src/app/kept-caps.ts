/** Verified answers of XEP-0115, kept from one process to the next. */
import type { Schema, Store } from '../store/store.ts';
import type { KeptCaps } from '../xmpp/caps.ts';

/** Answers that are kept, the newest. */
const MOST = 500;

/** Their table. */
export const capsSchema: Schema = {
  name: 'caps',
  steps: [
    `CREATE TABLE caps (
       key INTEGER PRIMARY KEY,
       hash TEXT NOT NULL,
       ver TEXT NOT NULL,
       info TEXT NOT NULL,
       UNIQUE (hash, ver))`,
  ],
};

/** In a store with `capsSchema`. A power cut may undo it: then they are asked for again. */
export function keptCaps(store: Store): KeptCaps {
  return {
    read: ({ hash, ver }) => {
      const info = store.get('SELECT info FROM caps WHERE hash = ? AND ver = ?', hash, ver)?.[
        'info'
      ];
      return typeof info === 'string' ? info : undefined;
    },
    write: ({ hash, ver }, info) =>
      store.lightly(() =>
        store.transaction(() => {
          const insert = 'INSERT OR REPLACE INTO caps (hash, ver, info) VALUES (?, ?, ?)';
          store.run(insert, hash, ver, info);
          store.run(`DELETE FROM caps WHERE key <= (SELECT max(key) FROM caps) - ${MOST}`);
        }),
      ),
  };
}
