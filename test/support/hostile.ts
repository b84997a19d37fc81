/** Attacks of a hostile server on a transfer between two jets: where they strike, and what must hold whatever they do. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { systemClock, within } from '../../src/core/clock.ts';
import { partName } from '../../src/files/names.ts';
import { JINGLE, type Action } from '../../src/jingle/stanza.ts';
import { parse, xml, type Element } from '../../src/xmpp/xml.ts';
import type { JetProcess } from './jet.ts';
import {
  ended,
  linesOf,
  makePair,
  midway,
  noise,
  type Ended,
  type Line,
  type Pair,
} from './pair.ts';
import { startProsody, type Prosody, type ProsodyOptions } from './prosody.ts';
import { RewritingRelay, type Rewrite, type Way } from './rewriting-relay.ts';

/** A guard against hanging: these wait through many tests. */
export const GUARD_MS = 1_800_000;
/** What the receiver may take for its last word once the sender is gone: more than nothing may move for. */
const LAST_WORD_MS = 150_000;

/** A server, the hostile one before it, and two jets: bob's waits for offers all the time. */
export interface Scene {
  readonly server: Prosody;
  readonly relay: RewritingRelay;
  readonly pair: Pair;
  /** Bob's. */
  receiver: JetProcess;
  /** Starts bob's anew with other arguments. */
  receive(...args: string[]): Promise<void>;
  close(): Promise<void>;
}

/**
 * Sets the scene.
 *
 * @param known - whether the two have exchanged a file already, and know each other as jets; default true
 */
export async function setScene(options: ProsodyOptions = {}, known = true): Promise<Scene> {
  // Stream management counts stanzas, and ours come and go.
  const server = await startProsody({ without: ['smacks'], ...options });
  const relay = await RewritingRelay.start(server);
  const pair = await makePair(server, relay.at);
  const waits = (args: readonly string[] = []) =>
    pair.bob.start(['receive', '--yes', '--json', '--out', pair.out, ...args], { guard: GUARD_MS });
  const scene: Scene = {
    ...{ server, relay, pair, receiver: waits() },
    receive: async (...args) => {
      await stop(scene.receiver);
      scene.receiver = waits(args);
      await scene.receiver.said(/"event":"waiting"/);
    },
    close: async () => {
      await stop(scene.receiver);
      await pair.remove();
      await relay.stop();
      await server.stop();
    },
  };
  await scene.receiver.said(/"event":"waiting"/);
  if (known) {
    const { sent, received, landed } = await attack(scene, honest);
    expect([sent.status, landed], sent.stderr + received.stderr).toEqual([0, true]);
  }
  return scene;
}

/** A jet that waits is stopped without an error, whatever it has met. */
async function stop(receiver: JetProcess): Promise<void> {
  receiver.child.kill('SIGTERM');
  const { status, stderr } = await receiver.ended;
  expect(status, stderr).toBe(0);
}

/** No attack. */
export const honest: Rewrite = (stanza) => stanza;

/** What came of an attack, on both sides. */
export interface Attacked {
  readonly sent: Ended;
  readonly received: Heard;
  /** Whether bob has the file. */
  readonly landed: boolean;
}

/** What bob's jet said meanwhile. */
export interface Heard {
  readonly stderr: string;
  readonly events: readonly Line[];
  event(name: string): Line | undefined;
  /** The status that the transfer means; undefined when he took none. */
  readonly exit: number | undefined;
}

/** What an attack strikes at. */
export interface Target {
  readonly content?: Buffer;
  readonly send?: readonly string[];
  /** The attack begins before bob hears of anything. */
  readonly unheard?: boolean;
  /** Called when bytes have begun to flow. */
  readonly midway?: () => void;
}

let files = 0;

/**
 * Sends a file under attack, and checks what has to hold after every attack: see {@link expectHonest}.
 * Ends with an honest relay and an empty folder.
 */
export async function attack(
  scene: Scene,
  rewrite: Rewrite,
  { content = noise(20_000), send = [], unheard = false, midway: strikes }: Target = {},
): Promise<Attacked> {
  const { relay, pair, receiver } = scene;
  relay.reset();
  relay.rewrite = rewrite;
  const name = `plan-${files++}.bin`;
  const file = await pair.file(name, content);
  const before = [receiver.stdout.length, receiver.stderr.length] as const;
  const events = () => linesOf(receiver.stdout.slice(before[0]));
  const count = (kind: string) => events().filter((line) => line['event'] === kind).length;
  const refused = () =>
    events().some((line) => /^(?:offer|request)-refused$/.test(String(line['code'])));
  try {
    const sender = pair.send(file, send);
    if (strikes !== undefined) {
      await midway(sender);
      strikes();
    }
    const sent = await ended(sender);
    // Events and sentences come by two pipes, and either may be ahead.
    const sentences = /: verified, |was not received|Refused an? (?:offer|request)|Cancelled/g;
    const said = () => [...receiver.stderr.slice(before[1]).matchAll(sentences)];
    const over = () => {
      const [words, last] = [said(), said().at(-1)?.[0] ?? ''];
      if (count('offer') === 0) return words.length > 0 && refused();
      // What is gone on with has no further offer, and an end of its own.
      if (sent.status === 0 && !last.includes('verified')) return false;
      return words.length > 0 && words.length === count('end');
    };
    if (!unheard) {
      const never = `the end of it; the sender: ${sent.stderr}`;
      const late = () => new Error(`did not say ${never}\n${receiver.stderr.slice(before[1])}`);
      await within(systemClock, LAST_WORD_MS, receiver.until(over, never), late);
    }
    // Of what goes on by itself the last word counts.
    const event = (kind: string) => events().findLast((line) => line['event'] === kind);
    const exit = event('end')?.['exit'] as number | undefined;
    const received = { stderr: receiver.stderr.slice(before[1]), events: events(), event, exit };
    const landed = await expectHonest(pair, { sent, received }, name, content);
    return { sent, received, landed };
  } finally {
    relay.rewrite = honest;
  }
}

/**
 * Only the right file under its own name, or nothing; a part only of a transfer that was cut off and can
 * be gone on with. The receiver says `verified` exactly if it has the file, the sender only if the
 * receiver has it, `delivered` nobody. Empties the folder; gives whether the file was there.
 */
async function expectHonest(
  pair: Pair,
  { sent, received }: Omit<Attacked, 'landed'>,
  name: string,
  content: Buffer,
): Promise<boolean> {
  const told = sent.stdout + sent.stderr + JSON.stringify(received.events) + received.stderr;
  const found = await pair.landed();
  const part = partName(name);
  const parts = found.filter((one) => one !== name);
  // With an honest end between the two nothing is left over; a wrong one leaves nothing to build on.
  expect(parts, told).toEqual(received.exit === 7 && parts.length > 0 ? [part] : []);
  const landed = found.includes(name);
  if (landed) expect((await readFile(join(pair.out, name))).equals(content), told).toBe(true);
  expect([verified(received), received.exit === 0], told).toEqual([landed, landed]);
  if (verified(sent)) expect(landed, told).toBe(true);
  expect(verified(sent), told).toBe(sent.status === 0);
  expect(told).not.toMatch(/delivered/);
  for (const one of found) await rm(join(pair.out, one));
  return landed;
}

function verified(side: Pick<Heard, 'event' | 'stderr'>): boolean {
  const said = side.event('end')?.['status'] === 'verified';
  expect(/: verified, /.test(side.stderr), side.stderr).toBe(said);
  return said;
}

/** The `<jingle/>` of a request with this action; any when there is none named. */
export function jingleOf(stanza: Element, action?: Action): Element | undefined {
  const jingle = stanza.attrs['type'] === 'set' ? stanza.getChild('jingle', JINGLE) : undefined;
  return action === undefined || jingle?.attrs['action'] === action ? jingle : undefined;
}

/** The element with this name anywhere inside; throws when there is none, for then an attack would miss. */
export function inside(element: Element, name: string): Element {
  const found = all(element, name)[0];
  if (found === undefined) throw new Error(`no ${name} in ${element.toString()}`);
  return found;
}

/** Every element with this name anywhere inside. */
export function all(element: Element, name: string): Element[] {
  return element
    .getChildElements()
    .flatMap((child) => [...(child.getName() === name ? [child] : []), ...all(child, name)]);
}

/** Takes every element with this name out; throws when there is none. */
export function strip(element: Element, name: string): void {
  for (const found of [inside(element, name), ...all(element, name)])
    if (found.parent) found.parent.children = found.parent.children.filter((one) => one !== found);
}

/** A copy that shares nothing. */
export function copy(element: Element): Element {
  const made = parse(element.toString());
  if (made === undefined) throw new Error('no element');
  return made;
}

/** Puts one element in the place of another. */
export function replace(old: Element, by: Element): void {
  const { parent } = old;
  if (parent) parent.children = parent.children.map((one) => (one === old ? by : one));
}

/** What an attack does to a request: changes it, or gives an array of what goes on in its place. */
export type Change = (jingle: Element, stanza: Element) => unknown;

/** Changes the requests of one action on their way to the receiver of the file. */
export function strike(action: Action, change: Change, { account = /^bob/ } = {}): Rewrite {
  return (stanza, way) => {
    const here = account.test(way.account) && way.direction === 'down';
    const jingle = here ? jingleOf(stanza, action) : undefined;
    const instead = jingle && change(jingle, stanza);
    return Array.isArray(instead) ? (instead as Element[]) : stanza;
  };
}

/** The same on the way to the sender. */
export function strikeBack(action: Action, change: Change): Rewrite {
  return strike(action, change, { account: /^alice/ });
}

/**
 * Changes a text for bob and back again in what he answers, so that he alone sees another one and the
 * session goes on all the same.
 *
 * @param find - the text, from the session-initiate
 */
export function disguise(
  find: (jingle: Element) => string,
  as: string | ((time: number) => string),
): Rewrite {
  let real: string | undefined;
  let time = 0;
  return (stanza, { account, direction }) => {
    if (!account.startsWith('bob')) return stanza;
    const first = direction === 'down' ? jingleOf(stanza, 'session-initiate') : undefined;
    if (first) {
      real = find(first);
      time++;
    }
    if (real === undefined) return stanza;
    const mask = typeof as === 'string' ? as : as(time);
    const [from, to] = direction === 'down' ? [real, mask] : [mask, real];
    return parse(stanza.toString().replaceAll(from, to)) ?? stanza;
  };
}

/** Several attacks at once. Each sees what the one before has left. */
export function together(...rewrites: Rewrite[]): Rewrite {
  return (stanza, way: Way) =>
    rewrites.reduce<readonly Element[]>(
      (left, rewrite) => left.flatMap((one) => rewrite(one, way)),
      [stanza],
    );
}

/** A `<file/>` child in the clear. */
export function clear(name: string, text: string): Element {
  return xml(name, { xmlns: 'urn:xmpp:jingle:apps:file-transfer:5' }, text);
}

/** The bytes of an element in base64 with one bit changed. */
export function flipBit(element: Element): void {
  const bytes = Buffer.from(element.getText(), 'base64');
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  element.children = [bytes.toString('base64')];
}
