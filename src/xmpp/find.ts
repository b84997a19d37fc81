/** Finding the resource of a peer that can take part in a transfer, and being found. */
import { makeRoom } from '../core/bounded.ts';
import { type Clock, sleep } from '../core/clock.ts';
import { asError, Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { Caps, CapsCache } from './caps.ts';
import { type Connection, StanzaError } from './connection.ts';
import type { DiscoForm } from './disco.ts';
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
/** Resources of one account that are asked. */
const MOST_ASKED = 50;

/** A resource with what it can do. */
export interface Candidate {
  readonly jid: Jid;
  readonly priority: number;
  readonly seen: number;
  readonly features: ReadonlySet<string>;
  readonly software?: string;
  readonly forms: readonly DiscoForm[];
  /** A jet that waits for offers. */
  readonly isJet: boolean;
}

/** The resource that was chosen. */
export type FoundPeer = Pick<Candidate, 'jid' | 'features' | 'software' | 'forms' | 'isJet'> & {
  /** The session id that it expects, when it answered a proposal. */
  readonly sid?: string;
};

/** A way to ask an account that does not depend on presence; one of its resources answers, or more. */
export interface Asking {
  /** The id of the session that it is about. */
  readonly id: string;
  /** Asks; `answered` is told the full addresses, `refused` that the account does not want it. */
  make(answered: (jid: Jid) => void, refused: () => void): Promise<void>;
  /** Listens no more; `retract` takes the question back. Does nothing before `make`. */
  end(retract: boolean): void;
}

/** All of `features`, and one at least of `envelopes`. */
export interface Wanted {
  readonly features: readonly string[];
  readonly envelopes: readonly string[];
  /** What a jet among them must say that it does. */
  readonly serves?: (candidate: Candidate) => boolean;
}

/** Those good enough, best first: a jet, then the higher priority, then the newer presence. */
export function rank(candidates: readonly Candidate[], wanted: Wanted): Candidate[] {
  return candidates
    .filter(
      (candidate) =>
        wanted.features.every((feature) => candidate.features.has(feature)) &&
        wanted.envelopes.some((envelope) => candidate.features.has(envelope)) &&
        (wanted.serves?.(candidate) ?? true),
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
  /** It was sent our presence a moment ago. */
  readonly greeted?: boolean;
  /** Used once when nobody good enough is found by presence, and no full address was given. */
  readonly asking?: Asking;
  readonly notify: (line: string) => void;
}

/** @throws JetError with exit 4 when nobody good enough is there in time, 5 when the account says no. */
export async function findPeer(options: FindOptions): Promise<FoundPeer> {
  const { target, presence, roster, clock, wait, signal, asking } = options;
  const end = wait === 'forever' ? Infinity : clock.monotonic() + wait;
  const search = new Search(options, end);
  let pause = 2000;
  let said = false;
  let asked = target.isFull;
  let { greeted = false } = options;
  let sid: string | undefined;
  try {
    for (;;) {
      signal?.throwIfAborted();
      if (!roster.sees(target) && !greeted) await presence.direct(target);
      greeted = false;
      const next = Math.min(end, clock.monotonic() + pause);
      search.ask(true);
      for (;;) {
        const best = search.best();
        if (best !== undefined) {
          if (search.volunteered(best.jid)) sid = asking?.id;
          return { ...best, ...(sid !== undefined && { sid }) };
        }
        if (!said && search.idle) {
          said = true;
          options.notify(`waiting for ${target.toString()}`);
        }
        const left = next - clock.monotonic();
        if (left <= 0) break;
        await search.change(left);
        search.ask(false);
      }
      if (clock.monotonic() >= end) throw absent(target, search.candidates);
      pause = Math.min(30_000, pause * 2);
      if (asked) continue;
      asked = true;
      await asking?.make(
        (jid) => search.volunteer(jid),
        () => search.refused(),
      );
    }
  } finally {
    asking?.end(sid === undefined);
    search.stop();
  }
}

interface Known {
  readonly jid: Jid;
  readonly priority: number;
  readonly seen: number;
  readonly caps: Caps | undefined;
}

/**
 * Asks each resource as soon as its presence comes, all at once, and weighs those that answer. Once a
 * waiting jet is among them, one that is silent holds nobody up any longer; one that could not be better, or
 * has gone, not at all.
 */
class Search {
  readonly #options: FindOptions;
  readonly #end: number;
  /** By full address, when the presence came that was asked about. */
  readonly #asked = new Map<string, number>();
  /** By full address, whom we have asked and who has not answered. */
  readonly #silent = new Map<string, Known>();
  readonly #answered = new Map<string, Candidate>();
  /** Those that we know from their own answer, not from their presence. */
  readonly #volunteers = new Map<string, Known>();
  #jetSince: number | undefined;
  #failure: Error | undefined;
  #change = new AbortController();
  readonly #stop: () => void;

  /** @param end - on the monotonic clock, when nobody waits for an answer any more */
  constructor(options: FindOptions, end: number) {
    this.#options = options;
    this.#end = end;
    this.#stop = options.presence.onChange((jid, resource) => {
      if (!jid.sameBare(options.target)) return;
      if (resource === undefined) {
        for (const known of [this.#answered, this.#silent, this.#volunteers])
          known.delete(jid.toString());
      }
      this.#change.abort();
    });
  }

  /** Those that answered. */
  get candidates(): readonly Candidate[] {
    return [...this.#answered.values()];
  }

  /** True when nobody is being asked. */
  get idle(): boolean {
    return this.#silent.size === 0;
  }

  /** A resource that says that it is there. */
  volunteer(jid: Jid): void {
    if (this.#volunteers.size >= MOST_ASKED) return;
    const seen = this.#options.clock.monotonic();
    this.#volunteers.set(jid.toString(), { jid, priority: 0, seen, caps: undefined });
    this.#change.abort();
  }

  /** The account does not want it: nobody else is asked. */
  refused(): void {
    const text = `${this.#options.target.bare.toString()} declined before anything was offered.`;
    this.#failure = new JetError(Exit.declined, 'declined', text);
    this.#change.abort();
  }

  volunteered(jid: Jid): boolean {
    return this.#volunteers.has(jid.toString());
  }

  /** Asks those that are new, or `again` everybody who has not answered. */
  ask(again: boolean): void {
    const { presence, target, clock } = this.#options;
    const there: Known[] = presence
      .of(target)
      .filter(({ jid }) => !target.isFull || jid.equals(target));
    if (target.isFull && there.length === 0)
      there.push({ jid: target, priority: 0, seen: 0, caps: undefined });
    for (const known of this.#volunteers.values())
      if (!there.some(({ jid }) => jid.equals(known.jid))) there.push(known);
    for (const known of there.slice(-MOST_ASKED)) {
      const key = known.jid.toString();
      const asked = this.#asked.get(key) === known.seen;
      if (this.#silent.has(key) || (asked && (!again || this.#answered.has(key)))) continue;
      this.#asked.set(key, known.seen);
      this.#silent.set(key, known);
      const timeout = Math.min(SILENT_MS, Math.max(1, this.#end - clock.monotonic()));
      examine(this.#options, known, timeout)
        .then((candidate) => {
          // It has gone meanwhile.
          if (this.#silent.get(key) !== known) return;
          if (candidate === undefined) this.#answered.delete(key);
          else this.#answered.set(key, this.#renewed(known, candidate));
        })
        .catch((error: unknown) => {
          this.#failure = asError(error);
        })
        .finally(() => {
          if (this.#silent.get(key) === known) this.#silent.delete(key);
          this.#change.abort();
        });
    }
  }

  /** A presence that came before the answer, and says nothing new, is no reason to ask again. */
  #renewed({ jid, seen, caps }: Known, candidate: Candidate): Candidate {
    const { presence, target } = this.#options;
    const now = presence.of(target).find((known) => known.jid.equals(jid));
    if (now === undefined || now.seen === seen || !sameCaps(now.caps, caps)) return candidate;
    this.#asked.set(jid.toString(), now.seen);
    return { ...candidate, seen: now.seen, priority: now.priority };
  }

  /** The best one, as soon as it is settled. @throws the reason of the signal */
  best(): Candidate | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    const [best] = rank(this.candidates, this.#options.wanted);
    if (best?.isJet !== true) this.#jetSince = undefined;
    else this.#jetSince ??= this.#options.clock.monotonic();
    const matters = [...this.#silent.values()].some((silent) => mayOutrank(silent, best));
    return matters && this.#grace() > 0 ? undefined : best;
  }

  /** Resolves when there is something new, or after `ms`. */
  async change(ms: number): Promise<void> {
    const { clock, signal } = this.#options;
    const changed = new AbortController();
    this.#change = changed;
    const either = signal === undefined ? [changed.signal] : [changed.signal, signal];
    try {
      await sleep(clock, Math.min(ms, this.#grace()), AbortSignal.any(either));
    } catch (error) {
      if (!changed.signal.aborted || signal?.aborted) throw error;
    }
  }

  /** Hears of nothing any more. */
  stop(): void {
    this.#stop();
  }

  #grace(): number {
    if (this.#jetSince === undefined) return Infinity;
    return this.#jetSince + GRACE_MS - this.#options.clock.monotonic();
  }
}

/** Whether one may still be better, which has said no more than its presence does. */
function mayOutrank(silent: Known, best: Candidate | undefined): boolean {
  if (best?.isJet !== true) return true;
  if (silent.priority !== best.priority) return silent.priority > best.priority;
  return silent.seen >= best.seen;
}

function sameCaps(one: Caps | undefined, other: Caps | undefined): boolean {
  return one?.node === other?.node && one?.ver === other?.ver && one?.hash === other?.hash;
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
    const { forms } = info;
    return { jid, priority, seen, features, forms, isJet, ...(software ? { software } : {}) };
  } catch (error) {
    if (error instanceof StanzaError) return undefined;
    throw error;
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
    makeRoom(answered, key, MOST_ANSWERED);
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
