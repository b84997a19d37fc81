/**
 * A file whose transfer takes several sessions, each with a secret of its own: because it is larger than one
 * message may be, was resumed, or is put right.
 */
import { asError, Exit, JetError } from '../core/errors.ts';
import type { Cipher } from '../jet/cipher.ts';
import type { Target } from './decrypting.ts';
import type { Outcome, SessionEnd } from './machine.ts';
import type { Extent } from './sealed.ts';

/** Sessions that are for something else than the next bytes: hashes, and what was wrong. */
const BESIDES = 40;

/** Most sessions of one run: whoever goes on for ever does not get any further. */
export function mostSessions(size: number, most: number): number {
  return Math.ceil(size / most) + BESIDES;
}

/** How a transfer ended whose last session was not its end, and no other came. */
export function endOf(end: SessionEnd): Outcome {
  if (end.kind !== 'continues') return end;
  return { kind: 'failed', fault: { by: 'silence', waitingFor: 'the rest of the file' } };
}

/** How a transfer ended that could not begin its next session. */
export function endOfError(error: unknown, signal: AbortSignal): SessionEnd {
  if (signal.aborted) return { kind: 'cancelled' };
  return { kind: 'failed', fault: { by: 'self', error: asError(error) } };
}

/** The other side cannot, or will not, say what it was asked. */
export function isRefusal(end: SessionEnd): boolean {
  if (end.kind !== 'failed' || end.fault.by !== 'peer') return false;
  return ['failed-application', 'file-not-available'].includes(end.fault.reason);
}

/**
 * What is not read again only one session can bring.
 *
 * @throws JetError (exit 8) `file-too-large`
 */
export function checkBuildable(
  { built }: Target,
  { length }: Extent,
  size: number,
  { maxBytes }: Cipher,
): void {
  if (length === size || built !== undefined) return;
  throw new JetError(
    Exit.localFile,
    'file-too-large',
    `at most ${maxBytes} bytes can be taken of one piece here. Send it in several`,
  );
}
