/** magic-wormhole with a mailbox and a transit relay of its own. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Contestant, Stage } from '../contestant.ts';
import { connected, freePort, listening } from '../ports.ts';
import { Running, runs, succeeded } from '../processes.ts';

/** @see Entrant */
export async function wormhole(stage: Stage): Promise<Contestant> {
  const folder = join(stage.folder, 'wormhole');
  await mkdir(folder);
  const [mailbox, transit] = [await freePort(), await freePort()];
  const serve = (...args: string[]) =>
    new Running(['twist3', ...args], { cwd: folder, serves: true });
  const at = (port: number) => `tcp:${port}:interface=127.0.0.1`;
  const servers = [
    serve('wormhole-mailbox', `--port=${at(mailbox)}`, '--channel-db=mailbox.sqlite'),
    serve('transitrelay', `--port=${at(transit)}`),
  ];
  await Promise.all([listening(mailbox), listening(transit)]);
  let count = 0;
  return {
    name: 'wormhole',
    title: 'magic-wormhole',
    note: 'through a delay its bytes go over its transit relay, on plain loopback directly',
    delayed: true,
    run: async (file, out, path) => {
      const code = `${++count}-bench-mark`;
      const landed = join(out, 'landed');
      const env = { ...process.env, HOME: folder };
      // The receiver is near both relays, the sender far from them.
      const common = (box: number, relay: number) => [
        ...['wormhole', '--relay-url', `ws://127.0.0.1:${box}/v1`],
        ...['--transit-helper', `tcp:127.0.0.1:${relay}`],
      ];
      const direct = path.plain ? [] : ['--no-listen'];
      const options = ['--hide-progress', ...direct];
      const receive = ['receive', '--accept-file', ...options, '--output-file', landed, code];
      const receiver = new Running([...common(mailbox, transit), ...receive], { env, cwd: folder });
      await connected(mailbox);
      const far = common(await path.through(mailbox), await path.through(transit));
      const sent = await runs([...far, 'send', ...options, '--code', code, file], {
        env,
        cwd: folder,
      });
      const received = succeeded('wormhole receive', await receiver.ended);
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
    close: async () => {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}
