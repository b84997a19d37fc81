// Tries again and again to write to a store, and prints at SIGTERM how long it was locked at the longest, and how late
// its own clock was then, and a sync to the same disk, with no lock at all: `probe-lock.mjs PROGRAM FILE`.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [program, file] = process.argv.slice(2);
const Database = createRequire(join(program, 'package.json'))('libsql');
const db = new Database(file, { timeout: 0 });
const version = db.prepare('PRAGMA data_version');
let seen;
let longest = 0;
let since;
let late = 0;
let last = performance.now();
const look = () => {
  const now = performance.now();
  late = Math.max(late, now - last - 1);
  try {
    db.exec('BEGIN IMMEDIATE; ROLLBACK');
    if (since !== undefined) longest = Math.max(longest, now - since);
    since = undefined;
  } catch {
    // Whoever holds it now may be another than the last time: each commit makes another version.
    const at = version.get().data_version;
    if (at !== seen) since = now;
    seen = at;
    since ??= now;
    longest = Math.max(longest, now - since);
  }
  last = performance.now();
};
setInterval(look, 1);
const own = fs.openSync(`${file}.probe`, 'w');
let sync = 0;
const synced = () => {
  const began = performance.now();
  fs.write(own, Buffer.alloc(4096), 0, 4096, 0, () =>
    fs.fsync(own, () => {
      sync = Math.max(sync, performance.now() - began);
      setTimeout(synced, 20);
    }),
  );
};
synced();
process.once('SIGTERM', () => {
  console.log(`longest ${longest.toFixed(1)} late ${late.toFixed(1)} sync ${sync.toFixed(1)}`);
  process.exit(0);
});
console.log('ready');
