import { openStore } from '../src/store/store.ts';
import { Catalogue, catalogueSchema } from '../src/transfer/catalogue.ts';
import { sharedFiles } from '../src/app/shared-files.ts';
import { Hasher } from '../src/files/hashing.ts';
import { systemClock } from '../src/core/clock.ts';
import { walk } from '../src/files/walk.ts';
const root = '/tmp/many100k';
const store = openStore('/tmp/zz.db', [catalogueSchema]);
const t0 = performance.now();
let n = 0;
for await (const e of walk(root, { skipped: () => undefined })) if (e.kind === 'file') n++;
console.log('walk', n, (performance.now() - t0).toFixed());
for (let i = 0; i < 3; i++) {
  const c = new Catalogue(store, systemClock, new Hasher());
  const t = performance.now(), u = process.cpuUsage();
  await c.add(sharedFiles([root], {}, (p, e) => console.log(p, e.message)), { refused: (p, e) => console.log(p, e.message) });
  console.log('add', c.size, (performance.now() - t).toFixed(), 'ms', (() => { const d = process.cpuUsage(u); return `cpu ${((d.user + d.system) / 1000).toFixed()}`; })(), (process.memoryUsage().rss / 1e6).toFixed(), 'MB');
}
store.close();
