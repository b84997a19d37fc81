/** Libervia to Libervia: the other programs that send files by Jingle with JET. */
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { libervia as client } from '../../../test/interop/support/libervia.ts';
import type { Contestant, Stage } from '../contestant.ts';
import { descendants, Watch } from '../processes.ts';

/** @see Entrant */
export async function libervia({ server, folder }: Stage): Promise<Contestant> {
  for (const name of ['liberviaa', 'liberviab']) await server.addAccount(name, 'secret');
  await server.befriend('liberviaa', 'liberviab');
  const make = (name: string) => client({ server, name, password: 'secret' });
  const [alice, bob] = [await make('liberviaa'), await make('liberviab')];
  // Each learns the other's keys only when it comes online again after the other has published them.
  await Promise.all([alice.start(), bob.start()]);
  await Promise.all([alice.stop(), bob.stop()]);
  /** @returns the process of each */
  const online = async () => {
    const before = new Set(descendants(process.pid));
    await alice.start();
    const a = descendants(process.pid).filter((pid) => !before.has(pid));
    await bob.start();
    const b = descendants(process.pid).filter((pid) => !before.has(pid) && !a.includes(pid));
    await bob.encrypt(alice.jid);
    await alice.encrypt(bob.jid);
    return [a[0] ?? 0, b[0] ?? 0] as const;
  };
  const send = async (file: string) => {
    const [from, to] = [alice.mark(), bob.mark()];
    await alice.send(file, bob.jid);
    const name = basename(file);
    const ends = await Promise.all([alice.ended(from, name), bob.ended(to, name)]);
    if (ends.some(({ ok }) => !ok)) throw new Error(ends.map((each) => each.words).join());
  };
  let processes = await online();
  const trial = join(folder, 'libervia.txt');
  await writeFile(trial, 'trial');
  // Now and then the one does not learn that the other is there, and never will.
  for (let left = 3; ; left--)
    try {
      await send(trial);
      break;
    } catch (error) {
      if (left === 0) throw error;
      await Promise.all([alice.stop(), bob.stop()]);
      processes = await online();
    }
  const [first, second] = processes;
  return {
    name: 'libervia',
    title: 'Libervia 0.9',
    note: 'both programs run already: its whole time has no start of a process in it',
    delayed: false,
    run: async (file) => {
      const watches = [new Watch(first), new Watch(second)] as const;
      const began = performance.now();
      await send(file);
      const ended = performance.now();
      const [sender, receiver] = [watches[0].stop(), watches[1].stop()];
      const landed = await bob.received(basename(file));
      if (landed === undefined) throw new Error('Libervia landed nothing');
      return {
        landed,
        run: {
          wall: ended - began,
          roles: [
            { role: 'sender', ...sender },
            { role: 'receiver', ...receiver },
          ],
        },
      };
    },
    close: async () => {
      await alice.remove();
      await bob.remove();
    },
  };
}
