/** `jet receive`: waits for offers and takes what is accepted. */
import type { ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { answerProposals } from '../jingle/message-initiation.ts';
import { Receiver, type Offer } from '../transfer/receive.ts';
import { LiveTransfers } from '../transfer/live.ts';
import { Holder } from '../transfer/share.ts';
import { StreamTarget } from '../transfer/stream-target.ts';
import { Waiting } from '../transfer/waiting.ts';
import { acknowledging, answer, attend, leavingOut, refusing } from './attending.ts';
import { Once } from './once.ts';
import type { OnEvent, ReceiveOptions } from './types.ts';
import type { Workbench } from './workbench.ts';

/** @see OpenAccount.receive */
export async function receive(
  bench: Workbench,
  from: readonly Jid[],
  options: ReceiveOptions,
  on: OnEvent,
  signal: AbortSignal,
): Promise<ExitStatus> {
  const { clock, connection, roster, ui } = bench;
  bench.prepare(options);
  const omemo = await bench.ready(options.verifiedOnly, 'offer', 'resume');
  const live = new LiveTransfers();
  const waiting: Waiting = new Waiting(clock, options, signal, () => live.busy || once.unfinished);
  const { maxSize } = options;
  const single = new Single((peer, name) =>
    ui.notice(
      'one-to-stdout',
      `Declined ${name} of ${peer}: --stdout takes one file alone. Take several into a folder, without --stdout.`,
    ),
  );
  const ask = oneAtATime((offer: Offer, until: AbortSignal) => ui.confirmOffer(offer, until));
  const opened = acknowledging(bench, omemo);
  const receiver = new Receiver(
    bench.surroundings(options),
    {
      out: options.out,
      onConflict: options.onConflict,
      ...(maxSize !== undefined && { maxSize }),
      ...(options.stdout && {
        elsewhere: ({ size }) => Promise.resolve(new StreamTarget(process.stdout, size, true)),
      }),
      decide: async (offer, until) => {
        if (options.stdout && !single.fits(offer)) return false;
        let accepted = options.yes;
        try {
          accepted ||= await ask(offer, until);
        } finally {
          if (!accepted) single.free();
        }
        return accepted;
      },
      on,
      say: (code, message) => ui.notice(code, message),
      skipped: leavingOut(bench),
      opened,
      ended: (offer) => once.ended(offer),
      refused: refusing(bench, 'offer'),
    },
    live,
  );
  const once: Once = new Once({ clock, connection, waiting, busy: () => live.busy, on });
  const deals = (jid: Jid) =>
    from.length > 0
      ? from.some((named) => (named.isFull ? named.equals(jid) : named.sameBare(jid)))
      : roster.sees(jid);
  const ignore = bench.courtesies(omemo).watch(deals);
  // Nothing is shared here; but who was being sent a file may go on with it.
  const holder = new Holder(
    bench.surroundings(options),
    {
      may: () => false,
      plain: () => false,
      goesOn: { allows: ({ options: { kind } }) => kind === 'offer' },
      find: () => Promise.resolve(undefined),
      on,
      ...(options.limitRate !== undefined && { limitRate: options.limitRate }),
      opened,
      ended: () => undefined,
      refused: refusing(bench, 'request'),
    },
    live,
  );
  answer(bench, receiver, holder);
  const quiet = answerProposals(connection, deals, (peer) => {
    const shared = roster.get(peer)?.subscription;
    if (shared === 'from' || shared === 'both') return;
    // A stream that is lost once more takes the proposal with it.
    bench.presence.direct(peer).catch(() => undefined);
  });
  try {
    return await attend(bench, {
      ...{ what: 'offers', peers: from, named: from, deals },
      ...{ waiting, live, on, signal },
    });
  } finally {
    ignore();
    quiet();
    once.close();
    await Promise.all([receiver.stop(), holder.stop()]);
  }
}

/** Standard output has room for one file: what is offered beside it, or is one of several, is declined. */
class Single {
  readonly #declined: (peer: string, name: string) => void;
  #taken = false;

  constructor(declined: (peer: string, name: string) => void) {
    this.#declined = declined;
  }

  /** Takes the place, if it is free. */
  fits({ peer, name, of, files }: Offer): boolean {
    const fits = !this.#taken && files === undefined && (of === undefined || of.count === 1);
    if (fits) this.#taken = true;
    else this.#declined(peer.toString(), name);
    return fits;
  }

  /** It was not accepted. */
  free(): void {
    this.#taken = false;
  }
}

/** One question at a time: two prompts on one terminal cannot be told apart. */
function oneAtATime<A extends unknown[]>(
  ask: (...args: A) => Promise<boolean>,
): (...args: A) => Promise<boolean> {
  let questions: Promise<unknown> = Promise.resolve();
  return (...args) => {
    const answer = questions.then(() => ask(...args));
    questions = answer.catch(() => undefined);
    return answer;
  };
}
