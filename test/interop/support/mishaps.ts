/** What may go wrong on the way, with each client, in each direction and on each path. */
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  it,
  onTestFailed,
} from 'vitest';
import type { JetHome, JetProcess } from '../../support/jet.ts';
import { ended, midway, type Ended } from '../../support/pair.ts';
import type { Path } from './plan.ts';
import { FULL, type Manners } from './suite.ts';
import { digest, record, World } from './world.ts';

/** Large enough to be interrupted; more than Dino takes by itself. */
const LARGE = 200 * 1024 * 1024;
const SMALL = 5_000_001;
/** What jet sends while something happens to it, in bytes a second. */
const SLOWLY = ['--limit-rate', '4M'];
/** Milliseconds after which a jet that still runs is said to hang. */
const HANGS = 240_000;

/** All mishaps of a client. */
export function mishaps(manners: Manners): void {
  const { title, kind } = manners;
  /** Before a byte flows no path matters; and what takes minutes is tried once. */
  const once = (paths: readonly Path[]) => (FULL ? paths : paths.slice(0, 1));

  describe(`${title}: mishaps`, () => {
    let world: World;
    let home: JetHome;
    let out: string;
    let name: string;
    let count = 0;
    let spoilt = false;
    beforeAll(async () => {
      world = await World.open(kind, 0);
      home = await world.jet(false);
    });
    afterAll(() => world.close());
    beforeEach(async () => {
      out = await world.out();
      // No two of a run: what a client still says of the last file is not taken for this one.
      name = `mishap-${count++}.bin`;
      spoilt = false;
      await world.client.answer('accept');
    });
    afterEach(async () => {
      // A client may be left with half a transfer, or not run at all.
      if (!spoilt) return;
      await world.client.kill();
      await world.client.start();
    });

    describe('jet → client', () => {
      const direction = 'jet → client';
      const { paths } = manners.to;
      const send = async (path: Path, size: number, args: readonly string[] = []) => {
        const file = await world.file(name, size);
        const all = ['send', '--json', '--verbose', '--route', path, ...args, file];
        return kept(home.start([...all, world.client.jid], { guard: HANGS }), file);
      };
      /** What jet did not call delivered may have come or not; what it did call so has to be whole. */
      const judge = async (path: Path, mishap: string, sent: Ended, exits: readonly number[]) => {
        await told(direction, path, mishap, sent, exits);
        if (sent.status === 0)
          expect(await digest(await world.client.received(name))).toBe(await digest(source));
      };

      it.each(once(paths))('declined by the client, %s', async (path) => {
        await world.client.answer(manners.declines ? 'decline' : 'ignore');
        const sent = await ended(await send(path, SMALL));
        // Who cannot decline can only leave the offer alone; jet gives it two minutes.
        const [mishap, exit] = manners.declines
          ? ['declined by the client', 5]
          : ['never answered by the client', 4];
        await judge(path, mishap, sent, [exit]);
        expect(await world.client.received(name)).toBeUndefined();
      });

      it.each(paths)('cancelled by jet, %s', async (path) => {
        const process = await send(path, LARGE, SLOWLY);
        spoilt = true;
        await midway(process);
        process.child.kill('SIGINT');
        const sent = await ended(process);
        expect(sent.signal).toBe('SIGINT');
        await judge(path, 'cancelled by jet', sent, [7]);
      });

      it.each(once(paths))('cancelled by the client, %s', async (path) => {
        if (!manners.cancels) return impossible(direction, path, 'cancelled by the client');
        const process = await send(path, LARGE, SLOWLY);
        spoilt = true;
        await midway(process);
        await world.client.cancel();
        await judge(path, 'cancelled by the client', await ended(process), [7, 9]);
      });

      it.each(paths)('client killed, %s', async (path) => {
        const process = await send(path, LARGE, SLOWLY);
        spoilt = true;
        await midway(process);
        await world.client.kill();
        await judge(path, 'client killed', await ended(process), [7]);
      });

      it.each(paths)('server restarted, %s', async (path) => {
        const process = await send(path, 40_000_000, SLOWLY);
        spoilt = true;
        await midway(process);
        await world.server.restart();
        const sent = await ended(process);
        await judge(path, 'server restarted', sent, [0, 7]);
      });
    });

    describe('client → jet', () => {
      const direction = 'client → jet';
      const { paths } = manners.from;
      const receive = async (path: Path, args: readonly string[] = []) => {
        const all = ['receive', '--json', '--yes', '--once', '--verbose', '--out', out];
        const way = manners.receiveArgs(path);
        const process = home.start([...all, ...way, ...args], { guard: HANGS });
        await process.said(/"event":"waiting"/);
        await world.client.acquainted(home.jid);
        return kept(process);
      };
      const offer = async (size: number) => {
        source = await world.file(name, size);
        await world.client.send(source, home.jid);
      };
      /** A file has its name only when jet says that it is verified, and then it is whole. */
      const judge = async (path: Path, mishap: string, got: Ended, exits: readonly number[]) => {
        await told(direction, path, mishap, got, exits);
        const landed = (await readdir(out)).filter((entry) => !entry.endsWith('.jet-part'));
        expect(landed).toEqual(got.status === 0 ? [name] : []);
        if (got.status === 0) expect(await digest(join(out, name))).toBe(await digest(source));
      };

      it.each(once(paths))('declined by jet, %s', async (path) => {
        await writeFile(join(out, name), 'there');
        const process = await receive(path, ['--on-conflict', 'skip']);
        spoilt = true;
        await offer(100_000);
        await process.said(/"event":"end"/);
        process.child.kill('SIGTERM');
        const received = await ended(process);
        await told(direction, path, 'declined by jet', received, [5]);
        expect(received.event('end')).toMatchObject({ status: 'declined' });
        expect(await readdir(out)).toEqual([name]);
      });

      it.each(paths)('cancelled by jet, %s', async (path) => {
        const process = await receive(path);
        spoilt = true;
        await offer(LARGE);
        await midway(process);
        process.child.kill('SIGINT');
        await judge(path, 'cancelled by jet', await ended(process), [7]);
      });

      it('cancelled by the client', () =>
        impossible(direction, paths[0] ?? '', 'cancelled by the client'));

      it.each(paths)('client killed, %s', async (path) => {
        const process = await receive(path);
        spoilt = true;
        await offer(LARGE);
        await midway(process);
        await world.client.kill();
        await judge(path, 'client killed', await ended(process), [7]);
      });

      it.each(paths)('server restarted, %s', async (path) => {
        const process = await receive(path);
        spoilt = true;
        await offer(LARGE);
        await midway(process);
        await world.server.restart();
        const received = await ended(process);
        await judge(path, 'server restarted', received, [0, 7]);
      });
    });

    /** The file that is on its way. */
    let source: string;

    /** Checks that jet ended in time, as one of these, and with a sentence; notes it. */
    async function told(
      direction: string,
      path: string,
      mishap: string,
      jet: Ended,
      exits: readonly number[],
    ): Promise<void> {
      const end = jet.event('end');
      expect(end, jet.stderr).toBeDefined();
      expect(exits).toContain(end?.['exit']);
      const { message } = jet.event('error') ?? {};
      if (end?.['exit'] !== 0) expect(message).toMatch(/[.]$/);
      const sentence = typeof message === 'string' ? `: “${anonymous(message)}”` : '';
      const outcome = `jet: ${String(end?.['status'])}, exit ${String(end?.['exit'])}${sentence}`;
      await record({ client: title, direction, path, mishap, outcome });
    }

    const impossible = (direction: string, path: string, mishap: string) =>
      record({
        client: title,
        direction,
        path,
        mishap,
        outcome: 'the client has no way to do that',
      });

    const anonymous = (text: string) =>
      text
        .replaceAll(world.client.jid, 'PEER')
        .replaceAll(home.jid, 'PEER')
        .replaceAll(`${out}/`, '')
        .replaceAll(name, 'FILE');

    function kept(process: JetProcess, file?: string): JetProcess {
      if (file !== undefined) source = file;
      onTestFailed(async ({ task }) => {
        await world.keep(`${kind} ${task.suite?.name ?? ''} ${task.name}`, {
          'jet.log': `${process.stdout}\n${process.stderr}`,
        });
      });
      return process;
    }
  });
}
