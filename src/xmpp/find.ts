/** Finding the resource of a peer that can take part in a transfer, and being found. */
import { type Clock, sleep } from '../core/clock.ts';
import { Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { Caps, CapsCache } from './caps.ts';
import { type Connection, StanzaError } from './connection.ts';
import { ping } from './ping.ts';
import type { Presence } from './presence.ts';
import type { Roster } from './roster.ts';

/** Our own namespace, as a feature: a jet that waits for offers. A jet that only sends has it not. */
export const WAITING_JET = 'urn:xmpp:jet-transfer:0';

/** Milliseconds after which a resource that does not answer counts as gone. */
const SILENT_MS = 3000;
/** Milliseconds that the others still have once a waiting jet has answered. */
const GRACE_MS = 300;
/** Milliseconds within which a presence is not answered again; doubled with each answer up to the most. */
const FIRST_PAUSE_MS = 1000;
const MOST_PAUSE_MS = 15_000;
const MOST_ANSWERED = 2000;

/** A resource with what it can do. */
export interface Candidate {
  readonly jid: Jid;
  readonly priority: number;
  readonly seen: number;
  readonly features: ReadonlySet<string>;
  readonly software?: string;
  /** A jet that waits for offers. */
  readonly isJet: boolean;
}

/** The resource that was chosen. */
export type FoundPeer = Pick<Candidate, 'jid' | 'features' | 'software' | 'isJet'>;

/** All of `features`, and one at least of `envelopes`. */
export interface Wanted {
  readonly features: readonly string[];
  readonly envelopes: readonly string[];
}

/** Those good enough, best first: a jet, then the higher priority, then the newer presence. */
export function rank(candidates: readonly Candidate[], wanted: Wanted): Candidate[] {
  return candidates
    .filter(
      ({ features }) =>
        wanted.features.every((feature) => features.has(feature)) &&
        wanted.envelopes.some((envelope) => features.has(envelope)),
    )
    .sort(
      (a, b) => Number(b.isJet) - Number(a.isJet) || b.priority - a.priority || b.seen - a.seen,
    );
}

/** What `findPeer` needs. `wait` is in ms. */
export interface FindOptions {
  readonly connection: Connection;
  readonly roster: Roster;
  readonly presence: Presence;
  readonly caps: CapsCache;
  readonly target: Jid;
  readonly wanted: Wanted;
  readonly wait: number | 'forever';
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  readonly notify: (line: string) => void;
}

/** @throws JetError with exit 4 when nobody good enough is there in time. */
export async function findPeer(options: FindOptions): Promise<FoundPeer> {
  const { target, presence, roster, clock, wait, wanted, signal } = options;
  const end = wait === 'forever' ? Infinity : clock.monotonic() + wait;
  let pause = 2000;
  let candidates: Candidate[] = [];
  let said = false;
  for (;;) {
    signal?.throwIfAborted();
    if (!roster.sees(target)) await presence.direct(target);
    const next = Math.min(end, clock.monotonic() + pause);
    for (;;) {
      candidates = await probe(options, Math.min(SILENT_MS, Math.max(1, end - clock.monotonic())));
      const [best] = rank(candidates, wanted);
      if (best !== undefined) return best;
      if (!said) options.notify(`waiting for ${target.toString()}`);
      said = true;
      const left = next - clock.monotonic();
      if (left <= 0) break;
      await change(options, left);
      if (clock.monotonic() >= next) break;
    }
    if (clock.monotonic() >= end) throw absent(target, candidates);
    pause = Math.min(30_000, pause * 2);
  }
}

interface Known {
  readonly jid: Jid;
  readonly priority: number;
  readonly seen: number;
  readonly caps: Caps | undefined;
}

/**
 * Asks every resource at once, and gives those that answer in time. As soon as a waiting jet is among
 * them, one that is silent holds nobody up any longer.
 */
async function probe(options: FindOptions, timeout: number): Promise<Candidate[]> {
  const { presence, target, wanted, clock, signal } = options;
  const there: Known[] = presence
    .of(target)
    .filter(({ jid }) => !target.isFull || jid.equals(target));
  if (target.isFull && there.length === 0)
    there.push({ jid: target, priority: 0, seen: 0, caps: undefined });
  const answered: Candidate[] = [];
  const enough = new AbortController();
  let cancel: () => void = () => undefined;
  const grace = new Promise<void>((resolve) => {
    enough.signal.addEventListener('abort', () => {
      cancel = clock.after(GRACE_MS, resolve);
    });
  });
  const all = there.slice(0, 50).map(async (resource) => {
    const candidate = await examine(options, resource, timeout);
    if (candidate === undefined) return;
    answered.push(candidate);
    if (candidate.isJet && rank([candidate], wanted).length > 0) enough.abort();
  });
  try {
    await Promise.race([Promise.all(all), grace]);
  } finally {
    cancel();
  }
  signal?.throwIfAborted();
  return [...answered];
}

/** What one resource says of itself; undefined when it is silent or gone. */
async function examine(
  { connection, caps, signal }: FindOptions,
  { jid, priority, seen, caps: claimed }: Known,
  timeout: number,
): Promise<Candidate | undefined> {
  try {
    const limits = signal === undefined ? { timeout } : { timeout, signal };
    const [alive, info] = await Promise.all([
      ping(connection, jid, timeout, signal),
      caps.info(jid, claimed, limits),
    ]);
    if (!alive) return undefined;
    const identity = info.identities.find(({ category }) => category === 'client');
    const software = identity?.name.slice(0, 100);
    const features = new Set(info.features);
    const isJet = features.has(WAITING_JET);
    return { jid, priority, seen, features, isJet, ...(software ? { software } : {}) };
  } catch (error) {
    if (error instanceof StanzaError) return undefined;
    throw error;
  }
}

/** Resolves when a resource of the target changes, or after `ms`. */
async function change({ presence, target, clock, signal }: FindOptions, ms: number): Promise<void> {
  const changed = new AbortController();
  const off = presence.onChange((jid) => {
    if (jid.sameBare(target)) changed.abort();
  });
  const either = signal === undefined ? [changed.signal] : [changed.signal, signal];
  try {
    await sleep(clock, ms, AbortSignal.any(either));
  } catch (error) {
    if (!changed.signal.aborted || signal?.aborted) throw error;
  } finally {
    off();
  }
}

function absent(target: Jid, candidates: readonly Candidate[]): JetError {
  const who = target.toString();
  const online = candidates.map(({ jid, software }) => software ?? jid.resource);
  if (online.length === 0) {
    const text = `${who} is not online, or does not wait for you: ask for "jet receive" there, or wait longer with --wait.`;
    return new JetError(Exit.absent, 'peer-absent', text);
  }
  const names = [...new Set(online)].join(', ');
  const text = `${who} is online with ${names}, which cannot receive encrypted files: start "jet receive" there.`;
  return new JetError(Exit.absent, 'peer-unable', text);
}

/**
 * The waiting side: available, answering the presence and the requests of those alone that `deals`
 * allows. `invited` are told at once that we are here, and again when the server has lost our session.
 * Returns the end of it.
 *
 * @remarks A presence that comes again is answered again, since the answer may have been lost; but
 * after pauses that double, so that two who wait for one another do not answer each other for ever.
 */
export async function announce(options: {
  readonly connection: Connection;
  readonly presence: Presence;
  readonly deals: (from: Jid) => boolean;
  readonly invited?: readonly Jid[];
}): Promise<() => void> {
  const { connection, presence, deals, invited = [] } = options;
  const answered = new Map<string, { readonly at: number; readonly pause: number }>();
  connection.audience = deals;
  const off = presence.onChange((jid, resource) => {
    const key = jid.toString();
    if (resource === undefined) {
      answered.delete(key);
      return;
    }
    if (jid.sameBare(connection.jid) || !deals(jid)) return;
    const last = answered.get(key);
    if (last !== undefined && resource.seen - last.at < last.pause) return;
    const [oldest] = answered.keys();
    if (answered.size >= MOST_ANSWERED && oldest !== undefined) answered.delete(oldest);
    const pause = last === undefined ? FIRST_PAUSE_MS : Math.min(MOST_PAUSE_MS, last.pause * 2);
    answered.set(key, { at: resource.seen, pause });
    presence.direct(jid).catch(() => answered.delete(key));
  });
  const invite = async () => {
    for (const jid of invited) await presence.direct(jid);
  };
  const unwatch = connection.onState((state) => {
    if (state.kind !== 'online' || state.resumed) return;
    answered.clear();
    // A stream that is lost once more comes back here.
    invite().catch(() => undefined);
  });
  await presence.available();
  await invite();
  return () => {
    off();
    unwatch();
    connection.audience = () => false;
  };
}
