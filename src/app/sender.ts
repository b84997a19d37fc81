/** The things of one `jet send`, each offered and seen through, to a resource that may be lost and found again. */
import { randomBytes } from 'node:crypto';
import { Exit, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { JointSession } from '../jingle/joint.ts';
import type { Proposal } from '../jingle/message-initiation.ts';
import type { Condition } from '../jingle/stanza.ts';
import type { TransferEvent } from '../transfer/events.ts';
import type { Item } from '../transfer/items.ts';
import type { MissingPaths } from '../transfer/tree/missing.ts';
import { isBroken } from '../transfer/outcome.ts';
import { sendFile, type Sending } from '../transfer/send.ts';
import type { Membership } from '../transfer/several.ts';
import { approach, type Approached } from './approach.ts';
import { closes, persist, type First } from './persisting.ts';
import type { OnEvent, SendOptions } from './types.ts';
import type { Workbench } from './workbench.ts';

/** Milliseconds that a person has, at the least, to answer an offer. */
const ANSWER_MS = 120_000;

/** Offers items of one send to one resource. */
export class Sender {
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
