/** `jet receive`: waits for offers and takes what is accepted. */
import { messageOf, sentence, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { answerProposals } from '../jingle/message-initiation.ts';
import { Receiver, type Offer } from '../transfer/receive.ts';
import { Waiting } from '../transfer/waiting.ts';
import { attend } from './attending.ts';
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
  const omemo = await bench.ready(options.verifiedOnly, 'offer');
  const waiting = new Waiting(clock, options, signal, () => receiver.live.busy);
  const { maxSize } = options;
  const ask = oneAtATime((offer: Offer, until: AbortSignal) => ui.confirmOffer(offer, until));
  const receiver = new Receiver(bench.surroundings(options), {
    out: options.out,
    onConflict: options.onConflict,
    ...(maxSize !== undefined && { maxSize }),
    decide: (offer, until) => (options.yes ? Promise.resolve(true) : ask(offer, until)),
    on,
    opened: (peer) => {
      omemo.acknowledge(peer).catch((error: unknown) => bench.log(messageOf(error)));
    },
    ended: (exit) => waiting.ended(exit),
    refused: (peer, why) => {
      const reason = why.replace(/\.$/, '');
      ui.notice(
        'offer-refused',
        sentence(`Refused an offer of ${peer.bare.toString()}: ${reason}`),
      );
    },
  });
  const deals = (jid: Jid) =>
    from.length > 0
      ? from.some((named) => (named.isFull ? named.equals(jid) : named.sameBare(jid)))
      : roster.sees(jid);
  const ignore = bench.courtesies(omemo).watch(deals);
  bench.sessions.onInitiate((incoming) => receiver.handle(incoming));
  const quiet = answerProposals(connection, deals, (peer) => {
    const shared = roster.get(peer)?.subscription;
    if (shared === 'from' || shared === 'both') return;
    // A stream that is lost once more takes the proposal with it.
    bench.presence.direct(peer).catch(() => undefined);
  });
  try {
    const { live } = receiver;
    return await attend(bench, {
      ...{ what: 'offers', peers: from, named: from, deals },
      ...{ waiting, live, on, signal },
    });
  } finally {
    ignore();
    quiet();
    await receiver.stop();
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
