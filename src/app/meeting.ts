/**
 * `jet resume` on both sides at the same moment (docs/sealed.md §7.4): each is there for the other, and a
 * transfer goes on in one session, whoever began it.
 */
import { sleep } from '../core/clock.ts';
import { Jid } from '../core/jid.ts';
import type { GoesOn } from '../transfer/going-on.ts';
import type { TransferRow } from '../transfer/journal/journal-row.ts';
import { LiveTransfers } from '../transfer/live.ts';
import { Receiver } from '../transfer/receive.ts';
import { Holder } from '../transfer/share.ts';
import { announce } from '../xmpp/find.ts';
import type { Approached } from './approach.ts';
import { acknowledging, answer, leavingOut, refusing } from './attending.ts';
import type { OnEvent, RouteOptions } from './types.ts';
import type { Workbench } from './workbench.ts';

/** Milliseconds that a receiver which goes on by itself has to ask before it is offered the file. */
const ASKS_MS = 5_000;
/** Milliseconds that it has where it has refused the offer: it may have been about to ask. */
const CROSSED_MS = 30_000;

/** Answers the other side of the transfers that this one goes on with, and nobody else. */
export class Meeting {
  readonly #bench: Workbench;
  readonly #rows: ReadonlySet<number>;
  readonly #peers: readonly Jid[];
  readonly #receiver: Receiver;
  readonly #holder: Holder;
  #hide: () => void = () => undefined;

  private constructor(
    bench: Workbench,
    rows: readonly TransferRow[],
    options: RouteOptions,
    opened: (peer: Jid) => void,
    on: OnEvent,
  ) {
    this.#bench = bench;
    this.#rows = new Set(rows.map(({ key }) => key));
    const peers = [...new Set(rows.map(({ peer }) => peer))];
    this.#peers = peers.flatMap((peer) => Jid.parse(peer) ?? []);
    const live = new LiveTransfers();
    // Its own user goes on with them, and with what was cancelled among them.
    const goesOn: GoesOn = { allows: ({ key }) => this.#rows.has(key), by: 'user' };
    const around = bench.surroundings(options);
    this.#receiver = new Receiver(
      around,
      {
        ...{ onConflict: 'rename', goesOn, on, opened },
        decide: () => Promise.resolve(false),
        say: (code, message) => bench.ui.notice(code, message),
        skipped: leavingOut(bench),
        ended: () => undefined,
        refused: refusing(bench, 'offer'),
      },
      live,
    );
    this.#holder = new Holder(
      around,
      {
        ...{ goesOn, on, opened },
        may: () => false,
        plain: () => false,
        find: () => Promise.resolve(undefined),
        ...(options.limitRate !== undefined && { limitRate: options.limitRate }),
        ended: () => undefined,
        refused: refusing(bench, 'request'),
      },
      live,
    );
  }

  /** Is there for the peers of these rows from now on. */
  static async open(
    bench: Workbench,
    rows: readonly TransferRow[],
    options: RouteOptions,
    on: OnEvent,
  ): Promise<Meeting> {
    const omemo = await bench.ready(options.verifiedOnly, 'resume');
    const meeting = new Meeting(bench, rows, options, acknowledging(bench, omemo), on);
    await meeting.#announce();
    return meeting;
  }

  async #announce(): Promise<void> {
    const bench = this.#bench;
    const { connection, presence, roster } = bench;
    answer(bench, this.#receiver, this.#holder);
    this.#hide = await announce({
      ...{ connection, presence },
      deals: (jid) => this.#peers.some((peer) => peer.sameBare(jid)),
      invited: this.#peers.filter((jid) => !roster.sees(jid)),
    });
  }

  /** Is gone for everybody; what is under way ends. Never rejects. */
  async close(): Promise<void> {
    this.#hide();
    await this.stop();
  }

  /** Ends what the other side goes on with here. */
  async stop(): Promise<void> {
    await Promise.all([this.#receiver.stop(), this.#holder.stop()]);
  }

  /**
   * Goes on with one row, from this side or by the other.
   *
   * @param own - goes on with it from this side; cancelled once the other side does. What it rejects with
   * counts where the other side does not
   */
  async both<T>(
    key: number,
    own: (
      meets: (found: Approached, direction: TransferRow['direction']) => Promise<void>,
      signal: AbortSignal,
    ) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T | 'met'> {
    const { records, clock } = this.#bench;
    const met = new AbortController();
    const deaf = records.onAnswer((answered) => {
      if (answered === key) met.abort(new Error('the other side has begun it'));
    });
    const either = AbortSignal.any([signal, met.signal]);
    let found: Approached | undefined;
    const meets = async (peer: Approached, direction: TransferRow['direction']) => {
      found = peer;
      // Its request wins: an offer would only cross it.
      if (direction === 'send' && peer.resumes) await sleep(clock, ASKS_MS, either);
    };
    try {
      if ((await this.#answered(key)) || records.journal.row(key).state === 'done') return 'met';
      const result = await own(meets, either).then(
        (value) => () => value,
        (error: unknown) => () => {
          throw error;
        },
      );
      if (await this.#answered(key)) return 'met';
      if (found?.resumes === true && this.#crossed(key)) {
        await sleep(clock, CROSSED_MS, either).catch(() => undefined);
        if (await this.#answered(key)) return 'met';
      }
      return result();
    } finally {
      deaf();
    }
  }

  /** True when the other side had it, or has; resolves when that is over. */
  async #answered(key: number): Promise<boolean> {
    const { records } = this.#bench;
    let met = false;
    for (let over = records.answered(key); over !== undefined; over = records.answered(key)) {
      met = true;
      await over;
    }
    return met;
  }

  /** It refused what it could only refuse because it has the row itself. */
  #crossed(key: number): boolean {
    const { direction, state, error } = this.#bench.records.journal.row(key);
    return direction === 'send' && state === 'interrupted' && error === 'peer-file-not-available';
  }
}
