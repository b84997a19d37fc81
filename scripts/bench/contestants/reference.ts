/** The yardstick: `reference.mjs` on both sides. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Contestant } from '../contestant.ts';
import { Running, runs, succeeded } from '../processes.ts';

const SCRIPT = fileURLToPath(new URL('../reference.mjs', import.meta.url));

/** @see Contestant */
export function reference(): Contestant {
  return {
    name: 'reference',
    title: 'reference pipeline',
    note: 'plain Node, one key for all, no sessions: what the machine allows, not a way to send files',
    delayed: true,
    run: async (file, out, path) => {
      const landed = join(out, 'landed');
      const receiver = new Running([process.execPath, SCRIPT, 'receive', landed]);
      const [, port] = await receiver.said(/"port":(\d+)/);
      const at = await path.through(Number(port));
      const sent = await runs([process.execPath, SCRIPT, 'send', file, String(at)]);
      const received = succeeded('the reference', await receiver.ended);
      const [, data] = /"data":([\d.]+)/.exec(received.stdout) ?? [];
      return {
        landed,
        run: {
          wall: Math.max(sent.ended, received.ended) - sent.began,
          data: Math.max(1, Number(data)),
          roles: [
            { role: 'sender', cpu: sent.cpu, peak: sent.peak },
            { role: 'receiver', cpu: received.cpu, peak: received.peak },
          ],
        },
      };
    },
    close: () => Promise.resolve(),
  };
}
