/** What the errors of `jet` mean in the words of the vectors. */
import type { Outcome } from '../../scripts/jet/format.ts';
import { JetError } from '../../src/core/errors.ts';
import { EnvelopeError } from '../../src/jet/envelope.ts';
import { GcmError } from '../../src/jet/gcm.ts';
import { SecurityError } from '../../src/jet/security.ts';
import { Unacceptable } from '../../src/transfer/incoming.ts';
import { StanzaError } from '../../src/xmpp/connection.ts';

const OF_ENVELOPE: Readonly<Record<EnvelopeError['reason'], Outcome>> = {
  malformed: 'malformed envelope',
  'not-for-us': 'envelope for another device',
  'no-session': 'envelope from a stranger',
  untrusted: 'envelope from a stranger',
  undecryptable: 'envelope changed',
  replayed: 'envelope replayed',
  'key-as-iv': 'key reused as IV',
};

const OF_SECURITY: Readonly<Record<SecurityError['reason'], Outcome>> = {
  missing: 'not encrypted',
  repeated: 'malformed security',
  malformed: 'malformed security',
  'wrong-content': 'malformed security',
  'unknown-cipher': 'unknown cipher',
  'unknown-envelope': 'unknown envelope',
};

const OF_CODE: Readonly<Record<string, Outcome>> = {
  'tag-mismatch': 'tag mismatch',
  'stream-ended': 'size mismatch',
  'too-many-bytes': 'size mismatch',
  'extra-bytes': 'size mismatch',
  truncated: 'size mismatch',
  'hash-mismatch': 'hash mismatch',
};

/** What an error of `jet` means in the words of the vectors; any other error is thrown on. */
export function outcomeOf(error: unknown): Outcome {
  if (error instanceof EnvelopeError) return OF_ENVELOPE[error.reason];
  if (error instanceof SecurityError) return OF_SECURITY[error.reason];
  if (error instanceof Unacceptable && error.reason === 'failed-application')
    return 'malformed file';
  if (error instanceof Unacceptable && error.cause !== undefined) return outcomeOf(error.cause);
  if (error instanceof StanzaError)
    return error.text === 'two of security in one content'
      ? 'malformed security'
      : 'malformed file';
  const code =
    error instanceof JetError ? error.code : error instanceof GcmError ? error.reason : '';
  const outcome = OF_CODE[code];
  if (outcome === undefined) throw error;
  return outcome;
}
