/** `jet receive`: waits for offers and takes what is accepted. */
import { randomId } from '../core/bytes.ts';
import { Exit, messageOf, sentence, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { answerProposals } from '../jingle/message-initiation.ts';
import { Receiver, type Offer } from '../transfer/receive.ts';
import { Waiting } from '../transfer/waiting.ts';
import { announce } from '../xmpp/find.ts';
import { connectionLost } from './connecting.ts';
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
  const hide = await announce({
    connection,
    presence: bench.presence,
    deals,
    invited: from.filter((jid) => !roster.sees(jid)),
  });
  const quiet = answerProposals(connection, deals, (peer) => {
    const shared = roster.get(peer)?.subscription;
    if (shared === 'from' || shared === 'both') return;
    // A stream that is lost once more takes the proposal with it.
    bench.presence.direct(peer).catch(() => undefined);
  });
  const unwatch = connection.onState((state) => {
    if (state.kind === 'closed') waiting.fail(connectionLost(state.reason));
  });
  const peers = from.map((jid) => jid.toString()).join(', ');
  on({
    id: randomId(),
    time: clock.now(),
    event: 'waiting',
    what: `offers to ${connection.jid.bare.toString()}`,
    ...(peers !== '' && { peer: peers }),
  });
  try {
    const exit = await waiting.over;
    // To be stopped while a file is coming is not the normal end.
    return signal.aborted && receiver.live.underWay ? Exit.transport : exit;
  } finally {
    unwatch();
    ignore();
    quiet();
    hide();
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
