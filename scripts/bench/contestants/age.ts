/** age to one side, ncat in between: the encrypted pipe that one builds by hand. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Contestant, Stage } from '../contestant.ts';
import { freePort, listening } from '../ports.ts';
import { Running, runs, succeeded } from '../processes.ts';

/** @see Entrant */
export async function age(stage: Stage): Promise<Contestant> {
  const folder = join(stage.folder, 'age');
  await mkdir(folder);
  const key = join(folder, 'key');
  await runs(['age-keygen', '-o', key]);
  const recipient = (await runs(['age-keygen', '-y', key])).stdout.trim();
  const bash = (line: string, ...words: string[]) => [
    'bash',
    '-c',
    `set -o pipefail; ${line}`,
    'x',
    ...words,
  ];
  return {
    name: 'age',
    title: 'age through ncat',
    delayed: true,
    run: async (file, out, path) => {
      const landed = join(out, 'landed');
      const port = await freePort();
      const take = 'ncat --recv-only -l 127.0.0.1 "$1" | age -d -i "$2" -o "$3"';
      const receiver = new Running(bash(take, String(port), key, landed));
      await listening(port);
      const through = await path.through(port);
      const give = 'age -r "$1" "$2" | ncat --send-only 127.0.0.1 "$3"';
      const sent = await runs(bash(give, recipient, file, String(through)));
      const received = succeeded('age -d', await receiver.ended);
      return {
        landed,
        run: {
          wall: Math.max(sent.ended, received.ended) - sent.began,
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
