import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { startProsody } from '../test/support/prosody.ts';
import { makePair } from '../test/support/pair.ts';
const server = await startProsody();
const pair = await makePair(server);
const n = Number(process.argv[2] ?? 1000);
const first = await pair.file('d/k.bin', randomBytes(1024));
const dir = first.replace(/\/k\.bin$/, '/files');
mkdirSync(dir);
const files: string[] = [];
for (let i = 0; i < n; i++) { const f = `${dir}/f${i}.bin`; writeFileSync(f, randomBytes(10240)); files.push(f); }
const receiver = pair.receive();
await receiver.said(/"event":"waiting"/);
await pair.alice.start(['send', first, pair.bob.jid]).ended;
const time = async (what: string, args: string[]) => {
  const t = performance.now();
  const o = await pair.alice.start(['send', ...args, pair.bob.jid]).ended;
  const s = (performance.now() - t) / 1000;
  console.log(what, o.status, s.toFixed(2), 's', (n / s).toFixed(0), 'files/s', o.stderr.slice(-200));
};
await time('folder', [dir]);
if (process.argv[3]) await time('several', files.slice(0, n));
receiver.child.kill('SIGTERM');
await receiver.ended;
await pair.remove();
await server.stop();
