/** The tests of one client, in both directions: files in every combination, and what may go wrong. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { safeName } from '../../../src/files/names.ts';
import type { JetHome, JetProcess } from '../../support/jet.ts';
import { ended, linesOf } from '../../support/pair.ts';
import type { Client } from './client.ts';
import { type Case, NAMES, pairwise, product, type Limits, type State } from './plan.ts';
import { digest, record, World } from './world.ts';

/** Every combination, not each pair of values only. */
export const FULL = process.env['JET_INTEROP_FULL'] === '1';

/** What a client does with a file, where it is not what it should do. */
export interface Manners {
  /** In the table. */
  readonly title: string;
  readonly kind: Client['kind'];
  readonly to: Limits;
  readonly from: Limits;
  /** How it leaves the way that jet was told, when it sends. */
  readonly routeOf: (path: Case['path']) => string;
  /** Arguments of a jet that waits for a file of this client, to get it on that way. */
  readonly receiveArgs: (path: Case['path']) => readonly string[];
  /** It has a way to decline an offer. */
  readonly declines: boolean;
  /** It has a way to break off a file that it receives. */
  readonly cancels: boolean;
  /** Files that it cannot send at all. */
  readonly unsendable: (one: Case) => boolean;
}

const titleOf = ({ size, name, path, state }: Case) => `${size} bytes, ${name}, ${path}, ${state}`;

/** Bounds a wait for a client that says nothing; what jet does is bounded by jet. */
function within<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`nothing within ${ms / 1000} s: ${what}`));
    }, ms);
    work.then(resolve, reject).finally(() => {
      clearTimeout(timer);
    });
  });
}

/** Files of every combination in both directions. */
export function files(manners: Manners): void {
  const { title, kind } = manners;
  const list = FULL ? product : pairwise;
  const states = (limits: Limits, without: State): Limits => ({
    ...limits,
    states: limits.states.filter((state) => state !== without),
  });
  const to = list(states(manners.to, 'jet restarted'));
  const from = list(manners.from);
  const strangers = [...to, ...from].filter(({ state }) => state === 'first contact').length;

  describe(title, () => {
    let world: World;
    let known: JetHome;
    beforeAll(async () => {
      world = await World.open(kind, strangers);
      known = await world.jet(false);
    }, 300_000);
    afterAll(() => world.close());

    it.each(to.map((one) => [titleOf(one), one] as const))('jet → client: %s', async (_, one) => {
      const home = await before(one, 'client');
      const file = await world.file(NAMES[one.name], one.size);
      const mark = world.client.mark();
      const process = home.start(['send', '--json', '--route', one.path, file, world.client.jid], {
        guard: 240_000,
      });
      keepOnFailure(`to ${titleOf(one)}`, [process]);
      const sent = await ended(process);
      expect(sent.status, sent.stderr).toBe(0);
      // The client confirms, and proves nothing: no more than that is said.
      expect(sent.event('end')).toMatchObject({ status: 'delivered', bytes: one.size });
      expect(sent.route).toBe(one.path);
      const end = await within(
        world.client.ended(mark, NAMES[one.name]),
        30_000,
        'the client has the file',
      );
      expect(end.ok, end.words).toBe(true);
      const landed = await world.client.received(NAMES[one.name]);
      expect(await digest(landed)).toBe(await digest(file));
      expect(texts(mark)).toEqual([]);
      if (landed !== undefined) await rm(landed);
      await rm(file);
      await note('jet → client', one.path, 'whole; jet says `delivered`');
    });

    it.each(from.map((one) => [titleOf(one), one] as const))('client → jet: %s', async (_, one) => {
      if (one.state === 'first contact') await waitingJet?.stop();
      const file = await world.file(NAMES[one.name], one.size);
      const waiting = await receiver(one);
      keepOnFailure(`from ${titleOf(one)}`, [waiting.process]);
      const before = waiting.ends();
      await world.client.acquainted(waiting.home.jid);
      await world.client.send(file, waiting.home.jid);
      if (manners.unsendable(one)) {
        // It says nothing about it either; what it sends next comes alone.
        await world.client.send(await world.file('next.bin', 1), waiting.home.jid);
        await waiting.nextEnd(before);
        expect(await readdir(waiting.out)).toEqual(['next.bin']);
        await rm(join(waiting.out, 'next.bin'));
        await note('client → jet', one.path, 'an empty file: the client offers nothing');
        return;
      }
      const end = await waiting.nextEnd(before);
      expect(end).toMatchObject({ event: 'end', status: 'verified', bytes: one.size, exit: 0 });
      expect(waiting.route()).toBe(manners.routeOf(one.path));
      const landed = safeName(NAMES[one.name]);
      expect(await readdir(waiting.out)).toEqual([landed]);
      expect(await digest(join(waiting.out, landed))).toBe(await digest(file));
      await rm(join(waiting.out, landed));
      await rm(file);
      await note('client → jet', one.path, 'whole; jet says `verified`');
    });

    let waitingJet: Waiting | undefined;
    afterAll(() => waitingJet?.stop());

    /** A jet that waits as the case wants it: the one that took the last file, or another. */
    async function receiver(one: Case): Promise<Waiting> {
      const args = manners.receiveArgs(one.path);
      const same = waitingJet?.args.join(' ') === args.join(' ') && one.state !== 'jet restarted';
      if (!same) await waitingJet?.stop();
      const home = await before(one, 'jet');
      if (one.state !== 'first contact' && same && waitingJet?.home === home) return waitingJet;
      await waitingJet?.stop();
      waitingJet = await Waiting.start(world, home, args);
      return waitingJet;
    }

    /** Brings about what was before the case; gives the home that takes part. */
    async function before({ state }: Case, peer: 'client' | 'jet'): Promise<JetHome> {
      if (state === 'first contact') return world.jet(true);
      if (state === 'client restarted') {
        await world.client.stop();
        await world.client.start();
      }
      if (state === 'second device') {
        // Any other device of the account that is written to.
        const other = await world.home(peer === 'client' ? 'client' : 'jet0');
        const made = await other.run(['devices']);
        expect(made.status, made.stderr).toBe(0);
      }
      return known;
    }

    const texts = (mark: number) =>
      world.client.messages(mark).filter((text) => !text.includes('ncryption session started'));

    const note = (direction: string, path: string, outcome: string) =>
      record({ client: title, direction, path, mishap: '', outcome });

    function keepOnFailure(name: string, processes: readonly JetProcess[]): void {
      onTestFailed(async () => {
        const said = processes.map((process) => `${process.stdout}\n${process.stderr}`).join('\n');
        await world.keep(`${kind} ${name}`, { 'jet.log': said });
      });
    }
  });
}

/** A `jet receive` that takes one file after another. */
export class Waiting {
  readonly process: JetProcess;
  readonly home: JetHome;
  readonly out: string;
  readonly args: readonly string[];

  private constructor(process: JetProcess, home: JetHome, out: string, args: readonly string[]) {
    this.process = process;
    this.home = home;
    this.out = out;
    this.args = args;
  }

  static async start(world: World, home: JetHome, args: readonly string[]): Promise<Waiting> {
    const out = await world.out();
    const process = home.start(['receive', '--json', '--yes', '--verbose', '--out', out, ...args], {
      guard: 3_600_000,
    });
    await process.said(/"event":"waiting"/);
    return new Waiting(process, home, out, args);
  }

  /** How many transfers have ended. */
  ends(): number {
    return linesOf(this.process.stdout).filter(({ event }) => event === 'end').length;
  }

  /** The end that comes after so many. */
  async nextEnd(after: number): Promise<Readonly<Record<string, unknown>>> {
    const more = new RegExp(`^(?:[^]*?"event":"end"){${after + 1}}.*\\n`);
    await within(this.process.said(more), 240_000, 'the transfer ends');
    const end = linesOf(this.process.stdout).filter(({ event }) => event === 'end')[after];
    if (end === undefined) throw new Error('no end');
    return end;
  }

  /** The kind of route of the last transfer. */
  route(): string | undefined {
    const start = linesOf(this.process.stdout).findLast(({ event }) => event === 'start');
    return (start?.['route'] as { kind?: string } | undefined)?.kind;
  }

  async stop(): Promise<void> {
    this.process.child.kill('SIGTERM');
    await this.process.ended;
  }
}
