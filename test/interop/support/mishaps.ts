/** What may go wrong on the way, with each client and in each direction. */
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFailed } from 'vitest';
import type { JetHome, JetProcess } from '../../support/jet.ts';
import { ended, midway, type Ended } from '../../support/pair.ts';
import { FULL, type Manners } from './suite.ts';
import { digest, record, World } from './world.ts';

/** Large enough to be interrupted; more than Dino takes by itself. */
const LARGE = 200 * 1024 * 1024;
const SMALL = 5_000_001;
/** What jet sends while something happens to it, in bytes a second. */
const SLOWLY = ['--limit-rate', '4M'];
/** Milliseconds after which a jet that still runs is said to hang. */
const HANGS = 200_000;

/** All mishaps of a client. */
export function mishaps({ title, kind, ...manners }: Manners): void {
  describe(`${title}: mishaps`, () => {
    let world: World;
    let home: JetHome;
    let out: string;
    beforeAll(async () => {
      world = await World.open(kind, 0);
      home = await world.jet(false);
    });
    afterAll(() => world.close());
    beforeEach(async () => {
      out = await world.out();
      await world.client.answer('accept');
    });

    describe.each(['direct', 'proxy'] as const)('jet → client, %s', (path) => {
      const direction = 'jet → client';
      const send = async (size: number, args: readonly string[] = []) => {
        const file = await world.file('file.bin', size);
        const all = [
          'send',
          '--json',
          '--verbose',
          '--route',
          path,
          ...args,
          file,
          world.client.jid,
        ];
        return kept(home.start(all, { guard: HANGS }));
      };

      const on = (one: string) => it.skipIf(!FULL && one !== path);

      on('direct')('declined by the client', async () => {
        if (manners.declines) {
          await world.client.answer('decline');
          const sent = await ended(await send(SMALL));
          await told(direction, path, 'declined by the client', sent, [5]);
          return;
        }
        // It can only leave the offer alone; jet gives it two minutes.
        await world.client.answer('ignore');
        const sent = await ended(await send(SMALL));
        await told(direction, path, 'never answered by the client', sent, [4]);
      });

      on('proxy')('cancelled by jet', async () => {
        const mark = world.client.mark();
        const process = await send(LARGE, SLOWLY);
        await midway(process);
        process.child.kill('SIGINT');
        const sent = await ended(process);
        expect(sent.signal).toBe('SIGINT');
        await told(direction, path, 'cancelled by jet', sent, [7]);
        const end = await world.client.ended(mark);
        expect(end.ok, end.words).toBe(false);
      });

      on('direct')('cancelled by the client', async ({ skip }) => {
        skip(!manners.cancels, 'it has no way to do that');
        const process = await send(LARGE, SLOWLY);
        await midway(process);
        await world.client.cancel();
        await told(direction, path, 'cancelled by the client', await ended(process), [7, 9]);
      });

      on('proxy')('client killed', async () => {
        const process = await send(LARGE, SLOWLY);
        await midway(process);
        await world.client.kill();
        const sent = await ended(process);
        await world.client.start();
        await told(direction, path, 'client killed', sent, [7]);
      });

      on('direct')('server restarted', async () => {
        const mark = world.client.mark();
        const file = await world.file('restart.bin', 40_000_000);
        const all = ['send', '--json', '--verbose', '--route', path, ...SLOWLY, file];
        const process = kept(home.start([...all, world.client.jid], { guard: HANGS }));
        await midway(process);
        await world.server.restart();
        const sent = await ended(process);
        await world.client.online(mark);
        await told(direction, path, 'server restarted', sent, [0, 3, 7]);
        if (sent.status === 0)
          expect(await digest(await world.client.received('restart.bin'))).toBe(await digest(file));
      });
    });

    describe.each(['direct', 'proxy'] as const)('client → jet, %s', (path) => {
      const direction = 'client → jet';
      const receive = async (args: readonly string[] = []) => {
        const way = manners.receiveArgs(path);
        const all = ['receive', '--json', '--yes', '--once', '--verbose', '--out', out];
        const process = kept(home.start([...all, ...way, ...args], { guard: HANGS }));
        await process.said(/"event":"waiting"/);
        await world.client.acquainted(home.jid);
        return process;
      };
      const offer = async (size: number) => {
        const file = await world.file('file.bin', size);
        await world.client.send(file, home.jid);
        return file;
      };

      const on = (one: string) => it.skipIf(!FULL && one !== path);

      on('direct')('declined by jet', async () => {
        await writeFile(join(out, 'file.bin'), 'there');
        const process = await receive(['--on-conflict', 'skip']);
        await offer(100_000);
        await process.said(/"event":"end"/);
        process.child.kill('SIGTERM');
        await told(direction, path, 'declined by jet', await ended(process), [0, 5], 'declined');
        expect(await readdir(out)).toEqual(['file.bin']);
        await world.client.stop();
        await world.client.start();
      });

      on('direct')('cancelled by jet', async () => {
        const process = await receive();
        await offer(LARGE);
        await midway(process);
        process.child.kill('SIGINT');
        const received = await ended(process);
        await told(direction, path, 'cancelled by jet', received, [7]);
        expect(await readdir(out)).toEqual([]);
        await world.client.stop();
        await world.client.start();
      });

      on('proxy')('client killed', async () => {
        const process = await receive();
        await offer(LARGE);
        await midway(process);
        await world.client.kill();
        const received = await ended(process);
        await world.client.start();
        await told(direction, path, 'client killed', received, [7]);
        expect(await readdir(out)).toEqual([]);
      });

      on('direct')('server restarted', async () => {
        const mark = world.client.mark();
        const process = await receive();
        const file = await offer(LARGE);
        await midway(process);
        await world.server.restart();
        const received = await ended(process);
        await world.client.online(mark);
        await told(direction, path, 'server restarted', received, [0, 3, 7]);
        const landed = await readdir(out);
        expect(landed).toEqual(received.status === 0 ? ['file.bin'] : []);
        if (received.status === 0)
          expect(await digest(join(out, 'file.bin'))).toBe(await digest(file));
      });
    });

    /** Checks that jet ended in time, as one of these, and with a sentence; notes it. */
    async function told(
      direction: string,
      path: string,
      mishap: string,
      jet: Ended,
      exits: readonly number[],
      status?: string,
    ): Promise<void> {
      const end = jet.event('end');
      expect(end, jet.stderr).toBeDefined();
      expect(exits).toContain(end?.['exit']);
      if (status !== undefined) expect(end?.['status']).toBe(status);
      const { message } = jet.event('error') ?? {};
      if (end?.['exit'] !== 0) expect(message).toMatch(/[.]$/);
      const sentence = typeof message === 'string' ? `: “${anonymous(message)}”` : '';
      const outcome = `jet: ${String(end?.['status'])}, exit ${String(end?.['exit'])}${sentence}`;
      await record({ client: title, direction, path, mishap, outcome });
    }

    const anonymous = (text: string) =>
      text
        .replaceAll(world.client.jid, 'PEER')
        .replaceAll(home.jid, 'PEER')
        .replaceAll(`${out}/`, '');

    function kept(process: JetProcess): JetProcess {
      onTestFailed(async ({ task }) => {
        await world.keep(`${kind} ${task.suite?.name ?? ''} ${task.name}`, {
          'jet.log': `${process.stdout}\n${process.stderr}`,
        });
      });
      return process;
    }
  });
}
