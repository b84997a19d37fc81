import { randomBytes } from 'node:crypto';
import { startProsody } from '../test/support/prosody.ts';
import { makePair } from '../test/support/pair.ts';
const server = await startProsody();
const pair = await makePair(server);
const file = await pair.file('k.bin', randomBytes(1024));
const receiver = pair.receive();
await receiver.said(/"event":"waiting"/);
const env = { NODE_OPTIONS: process.env['OPT'] ?? '', COUNT_FILE: '/tmp/one.log' };
const times: number[] = [];
for (let i = 0; i < Number(process.argv[2] ?? 8); i++) {
  const t = performance.now();
  const o = await pair.alice.start(['send', ...(process.env['V'] ? ['--verbose'] : []), file, pair.bob.jid], { env, ...(process.env['PROF'] ? { prefix: [process.execPath, '--cpu-prof', '--cpu-prof-interval=200', '--cpu-prof-dir=/tmp/prof'] } : {}) }).ended;
  times.push(performance.now() - t);
  if (o.status !== 0 || process.env['V']) console.log(o.stderr);
}
console.log(times.map((t) => t.toFixed()).join(' '));
receiver.child.kill('SIGTERM');
await receiver.ended;
await pair.remove();
await server.stop();
