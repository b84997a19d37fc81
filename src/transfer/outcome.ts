/** How an outcome is told: to the peer as a Jingle reason (XEP-0166 §7.4), to the user as an error. */
import type { Element } from '@xmpp/xml';
import { Exit, JetError, listed, sentence } from '../core/errors.ts';
import { fileError } from '../jingle/file-description.ts';
import type { Condition } from '../jingle/stanza.ts';
import type { EndStatus } from './events.ts';
import type { Fault, Outcome, SessionEnd } from './machine.ts';
import type { MissingPaths } from './tree/missing.ts';

/** The words that end a session. */
export interface Farewell {
  readonly reason: Condition;
  readonly text?: string;
  readonly application?: Element;
}

/** What the peer is told of an error of this side; nothing about this side's files or paths. */
export function farewellOf(error: Error): Farewell {
  if (!(error instanceof JetError)) return { reason: 'general-error' };
  if (error.code === 'disk-full' || error.code === 'too-many-bytes') {
    return { reason: 'media-error', application: fileError('file-too-large') };
  }
  if (error.exit === Exit.security) return { reason: 'security-error' };
  if (error.exit === Exit.transport) return { reason: 'connectivity-error' };
  const text = error.code === 'source-changed' ? 'the file changed' : 'a problem with the file';
  return error.exit === Exit.localFile
    ? { reason: 'failed-application', text }
    : { reason: 'failed-application' };
}

/** Who and what an error is about. */
export interface Subject {
  readonly peer: string;
  readonly file: string;
  /** True on the side that sends. */
  readonly sends: boolean;
  /** What of a folder or a batch has not landed, beside what could not be read. */
  readonly missing?: MissingPaths;
}

const PEER_REASONS: Partial<Record<string, string>> = {
  busy: 'is busy. Try again later',
  cancel: 'cancelled the transfer',
  // Conversations says so, too, when its user stops a file in the middle; before the start it is no failure.
  decline: 'cancelled the transfer',
  'connectivity-error': 'lost the connection to this side. Try again, or with another --route',
  'failed-application': 'could not go on with the file on its side',
  'failed-transport': 'could not use the route. Try again, or with another --route',
  'file-not-available':
    'has no such file, or does not share it with you. Check the hash, and ask there for `jet share`',
  'file-too-large': 'has no room for the file, or takes none of this size',
  'general-error': 'had an error and ended the transfer',
  gone: 'went away. Send again when it is back',
  'incompatible-parameters': 'cannot take the file in this form',
  'media-error': 'has no room for the file, or takes none of this size',
  success: 'ended the transfer before the whole file was through',
  timeout: 'waited too long for this side. Try again',
  'unsupported-applications': 'cannot receive files this way',
  'unsupported-transports': 'knows none of the routes that this side offers',
};

/** Reasons that lie with the file on the other side. */
const OF_THE_FILE: ReadonlySet<string> = new Set([
  'media-error',
  'failed-application',
  'file-not-available',
  'file-too-large',
]);

/** The error of a transfer that ended in another way than it should; undefined when it did well. */
export function errorOf(outcome: Outcome, subject: Subject): JetError | undefined {
  const { peer, file, sends } = subject;
  switch (outcome.kind) {
    case 'delivered':
    case 'verified':
    case 'landed':
      return undefined;
    case 'partly':
      return subject.missing && missingError(subject.missing, subject);
    case 'declined':
      return outcome.by === 'peer'
        ? new JetError(Exit.declined, 'declined', `${peer} declined ${file}.`)
        : new JetError(Exit.declined, 'declined', `You declined ${file} of ${peer}.`);
    case 'cancelled':
      return new JetError(
        Exit.transport,
        'cancelled',
        sends
          ? `Cancelled: ${peer} did not get ${file}. Send it again to start over.`
          : `Cancelled: ${file} of ${peer} was not received.`,
      );
    case 'failed':
      return errorOfFault(outcome.fault, subject);
  }
}

function errorOfFault(fault: Fault, { peer, file, sends }: Subject): JetError {
  const verb = sends ? 'was not sent to' : 'was not received from';
  const what = (exit: ConstructorParameters<typeof JetError>[0], code: string, why: string) =>
    new JetError(exit, code, `${file} ${verb} ${peer}: ${why}.`);
  switch (fault.by) {
    case 'self':
      if (fault.error instanceof JetError) {
        const { exit, code, message } = fault.error;
        return new JetError(exit, code, sentence(`${file} ${verb} ${peer}: ${message}`), {
          cause: fault.error,
        });
      }
      return new JetError(
        Exit.internal,
        'internal',
        sentence(`${file} ${verb} ${peer}: ${fault.error.message}`),
        {
          cause: fault.error,
        },
      );
    case 'gone':
      if (fault.whole)
        return new JetError(
          Exit.transport,
          'peer-gone',
          `All of ${file} left, but ${peer} went offline before it confirmed the file, and may have it or not. Try again when it is back.`,
        );
      return what(Exit.transport, 'peer-gone', `${peer} went offline. Try again when it is back`);
    case 'silence':
      return what(Exit.transport, 'timeout', `nothing came while waiting for ${fault.waitingFor}`);
    case 'unanswered':
      return what(
        Exit.absent,
        'unanswered',
        'the offer was neither accepted nor declined in time. Wait longer with --wait, or use `jet receive --yes` there',
      );
    case 'route':
      return what(
        Exit.transport,
        'no-route',
        'no route works between the two sides. Check the network, or allow more with --route',
      );
    case 'peer':
      return errorOfReason(fault.reason, sends, what);
  }
}

function errorOfReason(
  reason: string,
  sends: boolean,
  what: (exit: ConstructorParameters<typeof JetError>[0], code: string, why: string) => JetError,
): JetError {
  if (reason === 'security-error') {
    return what(
      Exit.security,
      'peer-refused-encryption',
      'the other side does not trust this device, or what protects the file did not reach it whole: somebody between may have changed it or left it out. Compare fingerprints with `jet devices` on both sides, and read there what it says',
    );
  }
  if (reason === 'file-not-available' && sends)
    return what(
      Exit.remoteFile,
      'peer-unknown-transfer',
      'the other side does not know the transfer that this goes on with. Send the file anew with `jet send`',
    );
  const words = PEER_REASONS[reason] ?? `ended the transfer (${reason})`;
  const exit = OF_THE_FILE.has(reason) ? Exit.remoteFile : Exit.transport;
  return what(exit, `peer-${reason}`, `the other side ${words}`);
}

/** Reasons of the peer's that no other attempt would do away with. */
const NO_WAY_ON: ReadonlySet<string> = new Set([
  ...['security-error', 'success', 'decline', 'failed-application'],
]);

/**
 * Whether a transfer that ended so can be gone on with: nothing about it was wrong, it only did not come to
 * its end.
 */
export function mayGoOn(outcome: SessionEnd): boolean {
  if (outcome.kind === 'cancelled' || outcome.kind === 'continues') return true;
  if (outcome.kind !== 'failed') return false;
  const { fault } = outcome;
  if (fault.by === 'peer') return !NO_WAY_ON.has(fault.reason);
  if (fault.by !== 'self') return fault.by !== 'unanswered';
  const { error } = fault;
  if (!(error instanceof JetError)) return false;
  return error.exit === Exit.transport || ['disk-full', 'write-failed'].includes(error.code);
}

/** The error (exit 10) of a folder, or a batch, of which some has not landed. */
function missingError({ count, paths }: MissingPaths, { peer, file, sends }: Subject): JetError {
  const names = listed(paths, count);
  const message = sends
    ? `Of ${file}, ${count} did not land at ${peer}: ${names}. Ask there what is in the way, and send it again.`
    : `Of ${file} from ${peer}, ${count} did not land: ${names}. Why is said above: put it right, and have it sent again.`;
  return new JetError(Exit.partial, 'some-missing', message);
}

/** Whether the other side has what there was to have, so that only what could not be read on this side is missing. */
export function lacks({ kind }: Outcome): boolean {
  return kind === 'verified' || kind === 'delivered' || kind === 'partly';
}

/** The error (exit 10) of a folder, or a batch, of which some could not be read on this side. */
export function unreadError(name: string, paths: readonly string[]): JetError {
  const message = `Not all of ${name} could be read and sent: ${listed(paths)}. Send it again.`;
  return new JetError(Exit.partial, 'some-unread', message);
}

/** What went wrong, as the journal has it. */
export function wordOf(outcome: Outcome): string | undefined {
  if (outcome.kind === 'partly') return 'some-missing';
  if (outcome.kind !== 'failed') return undefined;
  const { fault } = outcome;
  if (fault.by === 'peer') return `peer-${fault.reason}`;
  if (fault.by !== 'self') return fault.by;
  return fault.error instanceof JetError ? fault.error.code : 'internal';
}

const BROKEN: ReadonlySet<string | undefined> = new Set([
  ...['stream-ended', 'gone', 'silence', 'route', 'peer-connectivity-error'],
  ...['peer-failed-transport', 'peer-timeout', 'peer-gone'],
]);

/** Whether it was the connection that failed, so that either side may come back by itself. */
export function isBroken(word: string | undefined): boolean {
  return BROKEN.has(word);
}

/** The word of the end event. */
export function statusOf(outcome: Outcome): EndStatus {
  switch (outcome.kind) {
    case 'landed':
    case 'verified':
      return 'verified';
    case 'delivered':
      return 'delivered';
    case 'partly':
      return 'partial';
    case 'declined':
      return 'declined';
    case 'cancelled':
      return 'interrupted';
    case 'failed':
      return 'failed';
  }
}
