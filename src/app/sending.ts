/** `jet send`: from a file and an address to a transfer. */
import { Exit, JetError, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { warmUp } from '../files/memory.ts';
import { FileSource } from '../files/source.ts';
import type { Condition } from '../jingle/stanza.ts';
import { sendFile, type Sending } from '../transfer/send.ts';
import { approach } from './approach.ts';
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
  let source = await FileSource.open(file);
  try {
    const { peer, envelope, device, proposal, hashForm } = await approach(
      bench,
      to,
      'offer',
      options,
      on,
      signal,
    );
    warmUp();
    const offer = (again: Pick<Sending, 'sid' | 'renew'>) =>
      sendFile(bench.surroundings(options), {
        ...{ source, to: peer, envelope, hashForm, on, signal },
        ...(device !== undefined && { device }),
        answerMs: Math.max(options.wait, ANSWER_MS),
        ...(options.limitRate !== undefined && { limitRate: options.limitRate }),
        ...again,
      });
    const renew = () => bench.openOmemo(options.verifiedOnly).renew(to);
    const status = await offer({ renew, ...(proposal && { sid: proposal.id }) });
    await proposal?.finish(wordOf(status));
    if (status !== 'renewed') return status;
    // Once a transfer: the sessions are new, and so is the secret.
    source = await FileSource.open(file);
    const last = await offer({});
    if (last === 'renewed') throw new Error('a second offer is the last');
    return last;
  } finally {
    await source.close();
  }
}

/** How the session ended that came of a proposal; one whose secret could not be opened is begun anew. */
function wordOf(status: ExitStatus | 'renewed'): Condition {
  if (status === Exit.done) return 'success';
  if (status === 'renewed') return 'security-error';
  return status === Exit.declined ? 'decline' : 'general-error';
}
