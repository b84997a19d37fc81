/** Two accounts that are contacts, and files that go from the one to the other by real processes. */
import { Ajv } from 'ajv';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { jetHome, type JetHome, type JetProcess, type Outcome } from './jet.ts';
import type { Prosody } from './prosody.ts';

/** A line of `--json`. */
export type Line = Readonly<Record<string, unknown>>;

/** How a process with `--json` ended. */
export interface Ended extends Outcome {
  readonly events: readonly Line[];
  /** The first event of the kind that it told. */
  event(name: string): Line | undefined;
  /** `direct`, `proxy` or `ibb`; undefined when no byte flowed. */
  readonly route: string | undefined;
}

/** Both ends of one transfer. */
export interface Exchange {
  readonly sent: Ended;
  readonly received: Ended;
}

/** A sender, a receiver and their folders. */
export interface Pair {
  readonly alice: JetHome;
  readonly bob: JetHome;
  /** Where bob's files land. */
  readonly out: string;
  /** Makes a file of alice's. */
  file(name: string, content: Buffer): Promise<string>;
  /** `jet send` of a file, or several, to bob. */
  send(files: string | readonly string[], args?: readonly string[]): JetProcess;
  /** `jet receive --yes` into `out`. */
  receive(args?: readonly string[]): JetProcess;
  /** Sends one file to a receiver that ends with it. */
  exchange(
    file: string,
    args?: { readonly send?: readonly string[]; readonly receive?: readonly string[] },
  ): Promise<Exchange>;
  /** The names in `out`. */
  landed(): Promise<string[]>;
  remove(): Promise<void>;
}

let count = 0;

/**
 * Two fresh accounts on a server, contacts of each other.
 *
 * @param at - where they connect, by default to the server itself
 */
export async function makePair(server: Prosody, at?: string): Promise<Pair> {
  const [a, b] = [`alice${count}`, `bob${count}`];
  count++;
  await server.addAccount(a, 'secret-a');
  await server.addAccount(b, 'secret-b');
  await server.befriend(a, b);
  return pairOf(await jetHome(server, a, 'secret-a', at), await jetHome(server, b, 'secret-b', at));
}

/** Two accounts that know each other, wherever they are. */
export async function pairOf(alice: JetHome, bob: JetHome): Promise<Pair> {
  const folder = await mkdtemp(join(tmpdir(), 'jet-pair-'));
  const out = join(folder, 'out');
  await mkdir(out);
  const send = (files: string | readonly string[], args: readonly string[] = []) =>
    alice.start(['send', '--json', ...args, ...[files].flat(), bob.jid]);
  const receive = (args: readonly string[] = []) =>
    bob.start(['receive', '--yes', '--json', '--out', out, ...args]);
  return {
    alice,
    bob,
    out,
    send,
    receive,
    file: async (name, content) => {
      const path = join(folder, name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
      return path;
    },
    exchange: async (file, args = {}) => {
      const receiver = receive(['--once', ...(args.receive ?? [])]);
      const sender = send(file, args.send);
      const sent = await ended(sender);
      // A receiver that was offered nothing would wait for ever.
      if (sent.status !== 0 && !receiver.stdout.includes('"event":"offer"'))
        receiver.child.kill('SIGTERM');
      return { sent, received: await ended(receiver) };
    },
    landed: () => readdir(out),
    remove: async () => {
      await Promise.all([alice.remove(), bob.remove()]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Waits for the end of a process with `--json`. */
export async function ended(process: JetProcess): Promise<Ended> {
  const outcome = await process.ended;
  const events = linesOf(outcome.stdout);
  const event = (name: string) => events.find((line) => line['event'] === name);
  const route = (event('start')?.['route'] as { kind?: string } | undefined)?.kind;
  return { ...outcome, events, event, route };
}

const schema = new URL('../../docs/events.schema.json', import.meta.url);
const valid = new Ajv().compile(JSON.parse(readFileSync(schema, 'utf8')) as object);

/**
 * The events, or rows of the journal, among what was printed so far.
 *
 * @throws Error for an event that is not what docs/events.schema.json says
 */
export function linesOf(stdout: string): Line[] {
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((text) => {
      const line = JSON.parse(text) as Line;
      if ('event' in line && !valid(line)) throw new Error(`not documented: ${text}`);
      return line;
    });
}

/** Resolves when bytes have flowed, but not all of them. */
export async function midway(process: JetProcess): Promise<void> {
  await process.said(/"event":"progress".*"bytes":[1-9]/);
}

/** Bytes that occur nowhere by chance. */
export function noise(size: number): Buffer {
  return randomBytes(size);
}
