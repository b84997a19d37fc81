/** One who shares a file, and those who fetch it: one alone, or many at once. */
import { mkdir, rm, utimes } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { jetHome, type JetHome } from '../../../test/support/jet.ts';
import { type Event, eventsOf, startJet } from '../contestants/jet.ts';
import type { Stage } from '../contestant.ts';
import { makeFile, sameBytes } from '../files.ts';
import { type Ended, type Running, succeeded } from '../processes.ts';
import { rateOf } from '../results.ts';

/** Processes of one account at once: as many as it has connection slots. */
const SLOTS = 4;

/** A fetch that has ended, and whose file is the right one. */
export interface Fetched {
  readonly ended: Ended;
  readonly wall: number;
  /** When its first byte came, and when it had ended. */
  readonly began: number;
  readonly over: number;
}

/** Many fetches at once. */
export interface Together {
  /** MB/s from the first byte of the first to the end of the last. */
  readonly rate: number;
  readonly fetches: readonly Fetched[];
}

let holders = 0;

/** A holder with a folder of one large file, and accounts that may fetch from it. */
export class Fetching {
  /** What is shared. */
  readonly folder: string;
  readonly #stage: Stage;
  readonly #bytes: number;
  readonly #holder: JetHome;
  readonly #fetchers: readonly JetHome[];
  readonly #out: string;
  #hash = '';
  #count = 0;

  private constructor(
    stage: Stage,
    bytes: number,
    folder: string,
    holder: JetHome,
    fetchers: readonly JetHome[],
  ) {
    this.#stage = stage;
    this.#bytes = bytes;
    this.folder = folder;
    this.#holder = holder;
    this.#fetchers = fetchers;
    this.#out = `${folder}-fetched`;
  }

  /**
   * Makes accounts and file; all have exchanged something by then.
   *
   * @param width - how many may fetch at once
   */
  static async prepare(stage: Stage, width: number, bytes: number): Promise<Fetching> {
    const { server } = stage;
    const name = `holder${holders++}`;
    await server.addAccount(name, 'secret');
    const names = Array.from({ length: Math.ceil(width / SLOTS) }, (_, i) => `${name}-${i}`);
    for (const one of names) {
      await server.addAccount(one, 'secret');
      await server.befriend(name, one);
    }
    const holder = await jetHome(server, name, 'secret');
    const fetchers = await Promise.all(names.map((one) => jetHome(server, one, 'secret')));
    const fetching = new Fetching(stage, bytes, join(stage.folder, name), holder, fetchers);
    await fetching.#begin();
    return fetching;
  }

  /** Milliseconds from the start of `jet share` until it serves. */
  async serve(): Promise<{ readonly running: Running; readonly ms: number }> {
    const how = ['share', this.folder, '--contacts', '--json'];
    const running = startJet(this.#stage, this.#holder, how);
    await running.said(/"event":"waiting"[^\n]*(?:request|fetch)/);
    return { running, ms: performance.now() - running.began };
  }

  /** A fetch alone, while it is served. */
  async alone(): Promise<Fetched> {
    const [first] = this.#fetchers;
    if (first === undefined) throw new Error('nobody fetches');
    return this.#look(await (await this.#fetch(first)).ended);
  }

  /** MB/s of a fetch, from its first byte to its end. */
  rateOf({ began, over }: Fetched): number {
    return rateOf(this.#bytes, Math.max(1, over - began));
  }

  /** All are there before the holder is: what is measured is the fetches, and not the starts of the processes. */
  async together(width: number): Promise<Together> {
    const waiting: Running[] = [];
    for (let i = 0; i < width; i++) {
      const from = this.#fetchers[i % this.#fetchers.length];
      if (from !== undefined) waiting.push(await this.#fetch(from));
    }
    for (const one of waiting) await one.said(/"event":"waiting"[^\n]*online/);
    const { running } = await this.serve();
    const outcomes = await Promise.all(waiting.map(({ ended }) => ended));
    await running.stop();
    const fetches = [];
    for (const outcome of outcomes) fetches.push(await this.#look(outcome));
    const span =
      Math.max(...fetches.map(({ over }) => over)) - Math.min(...fetches.map(({ began }) => began));
    return { rate: rateOf(this.#bytes * fetches.length, span), fetches };
  }

  async remove(): Promise<void> {
    for (const home of [this.#holder, ...this.#fetchers]) await home.remove();
    await rm(this.folder, { recursive: true });
  }

  async #begin(): Promise<void> {
    await mkdir(this.folder);
    await mkdir(this.#out);
    const file = join(this.folder, 'large.bin');
    await makeFile(file, this.#bytes);
    // What has just changed may change again: only older files are cached.
    const old = new Date(Date.now() - 600_000);
    await utimes(file, old, old);
    const { running } = await this.serve();
    await running.said(/large\.bin"/);
    const line = running.stdout.split('\n').find((text) => text.includes('large.bin"')) ?? '{}';
    this.#hash = String((JSON.parse(line) as { sha256?: string }).sha256);
    for (const one of this.#fetchers) await this.#look(await (await this.#fetch(one)).ended);
    await running.stop();
  }

  async #fetch(from: JetHome): Promise<Running> {
    const out = join(this.#out, String(this.#count++));
    await mkdir(out);
    const what = [`sha-256:${this.#hash}`, this.#holder.jid];
    return startJet(this.#stage, from, ['fetch', '--json', '--wait', '300', '--out', out, ...what]);
  }

  /** @throws Error unless it has the file; which is removed */
  async #look(outcome: Ended): Promise<Fetched> {
    const ended = succeeded('jet fetch', outcome);
    const events = eventsOf(ended.stdout);
    const time = (name: string) => find(events, name).time;
    const landed = String(find(events, 'end')['file']);
    await sameBytes(join(this.folder, basename(landed)), landed);
    await rm(landed);
    const [began, over] = [time('start'), time('end')];
    return { ended, wall: ended.ended - ended.began, began, over };
  }
}

function find(events: readonly Event[], name: string): Event {
  const event = events.find((one) => one.event === name);
  if (event === undefined) throw new Error(`jet fetch said no ${name}`);
  return event;
}
