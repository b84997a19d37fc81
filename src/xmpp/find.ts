/** Finding the resource of a peer that can take part in a transfer, and being found. */
import { type Clock, sleep } from '../core/clock.ts';
import { Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { Caps, CapsCache } from './caps.ts';
import { type Connection, StanzaError } from './connection.ts';
import { ping } from './ping.ts';
import type { Presence } from './presence.ts';
import type { Roster } from './roster.ts';

/** A resource with what it can do. */
export interface Candidate {
  readonly jid: Jid;
  readonly priority: number;
  readonly seen: number;
  readonly features: ReadonlySet<string>;
  readonly software?: string;
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
      candidates = await probe(options, Math.min(3000, Math.max(1, end - clock.monotonic())));
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

async function probe(options: FindOptions, timeout: number): Promise<Candidate[]> {
  const { connection, presence, caps, target, signal } = options;
  const there: { jid: Jid; priority: number; seen: number; caps: Caps | undefined }[] = presence
    .of(target)
    .filter(({ jid }) => !target.isFull || jid.equals(target));
  if (target.isFull && there.length === 0)
    there.push({ jid: target, priority: 0, seen: 0, caps: undefined });
  const found = await Promise.all(
    there.slice(0, 50).map(async ({ jid, priority, seen, caps: claimed }) => {
      try {
        const limits = signal === undefined ? { timeout } : { timeout, signal };
        const [alive, info] = await Promise.all([
          ping(connection, jid, timeout, signal),
          caps.info(jid, claimed, limits),
        ]);
        if (!alive) return undefined;
        const identity = info.identities.find(({ category }) => category === 'client');
        const software = identity?.name.slice(0, 100);
        return {
          jid,
          priority,
          seen,
          features: new Set(info.features),
          isJet: identity?.type === 'console' && software === 'jet',
          ...(software ? { software } : {}),
        };
      } catch (error) {
        if (error instanceof StanzaError) return undefined;
        throw error;
      }
    }),
  );
  return found.filter((candidate) => candidate !== undefined);
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
 * allows. `invited` are told at once that we are here. Returns the end of it.
 */
export async function announce(options: {
  readonly connection: Connection;
  readonly presence: Presence;
  readonly deals: (from: Jid) => boolean;
  readonly invited?: readonly Jid[];
}): Promise<() => void> {
  const { connection, presence, deals, invited = [] } = options;
  const answered = new Set<string>();
  connection.audience = deals;
  const off = presence.onChange((jid, resource) => {
    const key = jid.toString();
    if (resource === undefined) answered.delete(key);
    else if (!jid.sameBare(connection.jid) && deals(jid) && !answered.has(key)) {
      answered.add(key);
      presence.direct(jid).catch(() => answered.delete(key));
    }
  });
  await presence.available();
  for (const jid of invited) await presence.direct(jid);
  return () => {
    off();
    connection.audience = () => false;
  };
}
