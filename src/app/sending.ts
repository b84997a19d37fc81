/** `jet send`: from a file and an address to a transfer. */
import { randomId } from '../core/bytes.ts';
import { Exit, JetError, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { warmUp } from '../files/memory.ts';
import { FileSource } from '../files/source.ts';
import { NS_JET } from '../jet/security.ts';
import { FILE_TRANSFER } from '../jingle/file-description.ts';
import { Proposal } from '../jingle/message-initiation.ts';
import { JINGLE } from '../jingle/stanza.ts';
import { jetDevice } from '../transfer/jet-form.ts';
import { sendFile } from '../transfer/send.ts';
import { findPeer, type FoundPeer } from '../xmpp/find.ts';
import type { OnEvent, SendOptions } from './types.ts';
import type { Workbench } from './workbench.ts';

/** Milliseconds that a person has, at the least, to answer an offer. */
const ANSWER_MS = 120_000;

/** @see OpenAccount.send */
export async function send(
  bench: Workbench,
  files: readonly string[],
  to: Jid,
  options: SendOptions,
  on: OnEvent,
  signal: AbortSignal,
): Promise<ExitStatus> {
  const [file] = files;
  if (file === undefined || files.length !== 1) {
    throw new JetError(Exit.usage, 'one-file', 'Name exactly one file to send.');
  }
  const source = await FileSource.open(file);
  try {
    const omemo = await bench.ready(options.verifiedOnly, false);
    bench.connection.audience = (from) => from.sameBare(to);
    if (bench.roster.sees(to)) await bench.presence.available();
    const peer = await find(bench, to, options.wait, on, signal);
    bench.log(`the resource ${peer.jid.toString()} was chosen`);
    const envelope = bench.envelopes.all.find(({ feature }) => peer.features.has(feature));
    if (envelope === undefined) throw new Error('a peer without an envelope was found');
    const quirks = await bench.courtesies(omemo).beforeOffer(peer, signal);
    bench.chosen(peer.jid, quirks);
    const device = jetDevice(peer);
    warmUp();
    return await sendFile(bench.surroundings(options), {
      source,
      to: peer.jid,
      ...(peer.sid !== undefined && { sid: peer.sid }),
      envelope,
      hashForm: quirks.hashForm,
      ...(device !== undefined && { device }),
      answerMs: Math.max(options.wait, ANSWER_MS),
      on,
      signal,
      ...(options.limitRate !== undefined && { limitRate: options.limitRate }),
    });
  } finally {
    await source.close();
  }
}

/** The resource of the peer that takes encrypted files. @throws JetError (exit 4) */
function find(
  bench: Workbench,
  to: Jid,
  wait: number,
  on: OnEvent,
  signal: AbortSignal,
): Promise<FoundPeer> {
  const { clock } = bench;
  return findPeer({
    connection: bench.connection,
    roster: bench.roster,
    presence: bench.presence,
    caps: bench.caps,
    target: to,
    wanted: {
      features: [JINGLE, FILE_TRANSFER, NS_JET],
      envelopes: bench.envelopes.all.map(({ feature }) => feature),
    },
    wait: wait === Infinity ? 'forever' : wait,
    clock,
    signal,
    asking: new Proposal(bench.connection, to.bare),
    notify: () => {
      const peer = to.toString();
      on({
        id: randomId(),
        time: clock.now(),
        event: 'waiting',
        what: `${peer} to be online`,
        peer,
      });
    },
  });
}
