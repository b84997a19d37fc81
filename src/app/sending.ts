/** `jet send`: from files and an address to transfers, a few at a time. */
import { randomBytes } from 'node:crypto';
import { asError, Exit, JetError, listed, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { warmUp } from '../files/memory.ts';
import { JointSession } from '../jingle/joint.ts';
import type { Proposal } from '../jingle/message-initiation.ts';
import type { Condition } from '../jingle/stanza.ts';
import { inBatches, piecesOf, type Gathered, type Item } from '../transfer/items.ts';
import type { TransferEvent } from '../transfer/events.ts';
import type { MissingPaths } from '../transfer/missing.ts';
import { isBroken, unreadError } from '../transfer/outcome.ts';
import { sendFile, type Sending } from '../transfer/send.ts';
import { overall, type Membership } from '../transfer/several.ts';
import { approach, type Approached } from './approach.ts';
import { closes, persist, type First } from './persisting.ts';
import type { OnEvent, SendOptions } from './types.ts';
import type { Workbench } from './workbench.ts';

/** Milliseconds that a person has, at the least, to answer an offer. */
const ANSWER_MS = 120_000;
/** Contents at once. */
const AT_ONCE = 3;

/** @see OpenAccount.send */
export async function send(
  bench: Workbench,
  { items: given, refused }: Gathered,
  to: Jid,
  options: SendOptions,
  on: OnEvent,
  signal: AbortSignal,
): Promise<ExitStatus> {
  const tell = (code: string, message: string, exit: ExitStatus) =>
    on({ id: 'jet', time: bench.clock.now(), event: 'error', code, message, exit });
  const tellError = (error: Error): ExitStatus => {
    const known = error instanceof JetError;
    const exit = known ? error.exit : Exit.internal;
    tell(known ? error.code : 'internal', error.message, exit);
    return exit;
  };
  const failed = refused.map(({ label }) => label);
  let lost = refused.length;
  let unnamed = 0;
  const statuses = refused.map(({ error }) => tellError(error));
  bench.prepare(options);
  const found = await approach(bench, to, 'offer', options, on, signal);
  // Only a jet takes many files in one content; to other programs they go one by one.
  const items = found.device === undefined ? given.flatMap(piecesOf) : inBatches(given);
  warmUp();
  const sender = new Sender(bench, to, found, options, on, signal, items.length);
  try {
    await inParallel(
      items,
      // Several at once would each have the whole rate.
      options.limitRate === undefined ? AT_ONCE : 1,
      async (item, index, begun) => {
        const status = await sender.send(item, index, begun).catch((error: unknown) => {
          // Of one thing alone it is the end of the command.
          if (items.length + refused.length === 1) throw error;
          // What had not begun when the user ended it needs no sentence of its own.
          if (signal.aborted) return Exit.transport;
          return tellError(asError(error));
        });
        statuses.push(status);
        if (status === Exit.done) return;
        const { label, count = 1 } = item;
        // Of files that were named some may be there all the same.
        const missing = count > 1 ? sender.missing.get(item) : undefined;
        failed.push(...(missing?.paths ?? [label]));
        lost += missing?.count ?? count;
        unnamed += missing === undefined ? 0 : missing.count - missing.paths.length;
      },
    );
  } finally {
    await sender.close();
  }
  for (const { label, folder } of found.device === undefined ? given : [])
    if (folder !== undefined && folder.unread.length > 0) {
      const exit = tellError(unreadError(label, folder.unread));
      for (const path of folder.unread) {
        statuses.push(exit);
        failed.push(path);
        lost += 1;
      }
    }
  const status = overall(statuses);
  if (statuses.length > 1 && failed.length > 0) {
    const more = items.reduce((sum, { count = 1 }) => sum + count - 1, 0);
    const what = `${lost} of ${statuses.length + more}`;
    const names = listed(failed, failed.length + unnamed);
    tell('some-failed', `${what} did not reach ${to.bare.toString()}: ${names}.`, status);
  }
  return status;
}

/** Offers items of one send to one resource. */
class Sender {
  readonly #bench: Workbench;
  readonly #to: Jid;
  /** Whom it goes to: another one, once the connection to that has broken. */
  #found: Promise<Approached>;
  readonly #first: Approached;
  readonly #options: SendOptions;
  readonly #on: OnEvent;
  readonly #signal: AbortSignal;
  readonly #id = randomBytes(16).toString('hex');
  readonly #count: number;
  /** The session of all that is offered. */
  readonly #joint: JointSession | undefined;
  /** Tells that the session is over which a proposal agreed on. */
  #over: (() => Promise<void>) | undefined;
  #agreed: Proposal | undefined;
  /** Bytes of something have flowed: the other side was there. */
  #met = false;
  /** What of an item did not land, where the rest did. */
  readonly missing = new Map<Item, MissingPaths>();
  #renewed: Promise<boolean> | undefined;

  constructor(
    bench: Workbench,
    to: Jid,
    found: Approached,
    options: SendOptions,
    on: OnEvent,
    signal: AbortSignal,
    count: number,
  ) {
    this.#bench = bench;
    this.#to = to;
    this.#found = Promise.resolve(found);
    this.#first = found;
    this.#agreed = found.proposal;
    this.#options = options;
    this.#on = on;
    this.#signal = signal;
    this.#count = count;
    // Other programs take no content that is added to a session.
    if (count > 1 && found.device !== undefined)
      this.#joint = new JointSession(bench.sessions, bench);
  }

  /** Nothing more is offered. Never rejects. */
  async close(): Promise<void> {
    await this.#joint?.close();
    await this.#over?.();
  }

  /**
   * Sends one thing. What had not begun when the other side was lost is offered once more to whoever is found then.
   *
   * @param begun - called with the first event: what follows has a session that works
   */
  async send(item: Item, index: number, begun: () => void): Promise<ExitStatus> {
    const found = await this.#found;
    const held: TransferEvent[] = [];
    const progress = { started: false, key: undefined as number | undefined };
    const tell = (event: TransferEvent) => {
      if (event.event === 'start') progress.started = this.#met = true;
      // Who comes next is not sent to one that is not there any more.
      if (event.event === 'notice' && event.code === 'broke') this.#lost(found);
      if (closes(event) && !progress.started) held.push(event);
      else this.#on(event);
    };
    const status = await this.#persist(found, item, index, begun, tell, (key) => {
      progress.key = key;
    });
    const { started, key } = progress;
    const lost = !started && this.#met && key !== undefined && !this.#signal.aborted;
    if (lost && isBroken(this.#bench.records.journal.row(key).error)) {
      this.#lost(found);
      const next = await this.#found.catch(() => undefined);
      if (next !== undefined)
        return this.#persist(next, item, index, begun, this.#on, () => undefined);
    }
    for (const event of held) this.#on(event);
    return status;
  }

  /** Whoever was found is not there any more: the next one looks for another, of the same device. */
  #lost(found: Approached): void {
    const { device } = this.#first;
    this.#found = this.#found.then(async (current) => {
      if (current !== found) return current;
      const options = { ...this.#options, ...(device !== undefined && { device }) };
      return approach(this.#bench, this.#to, 'offer', options, this.#on, this.#signal);
    });
    // Told to the one who waits for it.
    this.#found.catch(() => undefined);
  }

  #persist(
    found: Approached,
    item: Item,
    index: number,
    begun: () => void,
    tell: OnEvent,
    knows: (key: number) => void,
  ): Promise<ExitStatus> {
    // The session that was agreed on is the first.
    const proposal = this.#agreed;
    this.#agreed = undefined;
    const agreed = proposal === undefined ? {} : { sid: proposal.id };
    const first: First = async (on, knowsIt) => {
      const began = (key: number) => {
        knows(key);
        knowsIt(key);
      };
      const told = (event: TransferEvent) => {
        begun();
        on(event);
      };
      const renew = () => this.#renew();
      const status = await this.#offer(found, item, index, { on: told, began, renew, ...agreed });
      const over = () => proposal?.finish(wordOf(status)) ?? Promise.resolve();
      if (this.#joint === undefined) await over();
      else this.#over ??= over;
      if (status !== 'renewed') return status;
      // Once a transfer: the sessions are new, and so is the secret.
      const last = await this.#offer(found, item, index, { on: told, began });
      if (last === 'renewed') throw new Error('a second offer is the last');
      return last;
    };
    const of = this.#of(index);
    const noting = (event: TransferEvent) => {
      if (event.event === 'end' && event.missing) this.missing.set(item, event.missing);
      tell(event);
    };
    return persist(this.#bench, first, { ...this.#options, of }, noting, this.#signal);
  }

  async #offer(
    { peer, envelope, device, hashForm }: Approached,
    item: Item,
    index: number,
    how: Pick<Sending, 'sid' | 'renew' | 'on' | 'began'>,
  ): Promise<ExitStatus | 'renewed'> {
    const { limitRate, wait } = this.#options;
    this.#signal.throwIfAborted();
    const source = await item.open();
    try {
      const around = this.#bench.surroundings(this.#options);
      return await sendFile(this.#joint ? { ...around, sessions: this.#joint } : around, {
        ...{ source, to: peer, envelope, hashForm, signal: this.#signal },
        of: this.#of(index, this.#joint !== undefined),
        ...(device !== undefined && { device }),
        answerMs: Math.max(wait, ANSWER_MS),
        ...(limitRate !== undefined && { limitRate }),
        ...how,
      });
    } finally {
      await source.close();
    }
  }

  /** Undefined for what is sent alone. */
  #of(index: number, joint = false): Membership | undefined {
    const count = this.#count;
    return count > 1 ? { send: this.#id, index, count, joint } : undefined;
  }

  /** New sessions for all that were refused, once. */
  #renew(): Promise<boolean> {
    this.#renewed ??= this.#bench.openOmemo(this.#options.verifiedOnly).renew(this.#to);
    return this.#renewed;
  }
}

/** How the session ended that came of a proposal; one whose secret could not be opened is begun anew. */
function wordOf(status: ExitStatus | 'renewed'): Condition {
  if (status === Exit.done) return 'success';
  if (status === 'renewed') return 'security-error';
  return status === Exit.declined ? 'decline' : 'general-error';
}

/**
 * Works through a list, a few at a time; the others begin when the first has: what it finds out about
 * the peer is not found out, and asked, several times.
 */
async function inParallel<T>(
  list: readonly T[],
  atOnce: number,
  work: (one: T, index: number, begun: () => void) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (begun: () => void) => {
    for (let at = next++; at < list.length; at = next++) {
      const one = list[at];
      if (one !== undefined) await work(one, at, begun);
    }
  };
  const others: Promise<void>[] = [];
  const start = () => {
    for (let n = others.length; n < atOnce - 1; n++) others.push(worker(() => undefined));
  };
  await worker(start);
  await Promise.all(others);
}
