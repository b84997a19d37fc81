// Tries again and again to write to a store, and prints at SIGTERM how long it was locked at the longest:
// `probe-lock.mjs PROGRAM FILE`.
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [program, file] = process.argv.slice(2);
const Database = createRequire(join(program, 'package.json'))('libsql');
const db = new Database(file, { timeout: 0 });
let longest = 0;
let since;
const look = () => {
  const now = performance.now();
  try {
    db.exec('BEGIN IMMEDIATE; ROLLBACK');
    if (since !== undefined) longest = Math.max(longest, now - since);
    since = undefined;
  } catch {
    since ??= now;
  }
};
setInterval(look, 1);
process.once('SIGTERM', () => {
  console.log(`longest ${longest.toFixed(1)}`);
  process.exit(0);
});
console.log('ready');
