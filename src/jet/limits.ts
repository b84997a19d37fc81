/** What a cipher cannot carry (XEP-0391 §5, version 0.1.2; NIST SP 800-38D §5.2.1.1), in words for the user. */
import { Exit, JetError } from '../core/errors.ts';
import type { Cipher } from './cipher.ts';

/** The error for a file that is larger than one key and IV may encrypt. */
export function tooLarge(cipher: Cipher, side: 'send' | 'receive'): JetError {
  const limit = `one encrypted transfer carries at most ${String(cipher.maxBytes)} bytes`;
  return side === 'send'
    ? new JetError(
        Exit.localFile,
        'file-too-large',
        `${limit}. Split the file and send the pieces one by one.`,
      )
    : new JetError(
        Exit.remoteFile,
        'file-too-large',
        `${limit}, and the file is announced as larger. Ask for it in pieces.`,
      );
}

/**
 * Checks a size before an offer is made (`send`) or accepted (`receive`).
 *
 * @param size - plaintext bytes
 * @throws JetError `file-too-large`: exit 8 for `send`, 9 for `receive`
 */
export function checkSize(size: number, cipher: Cipher, side: 'send' | 'receive'): void {
  if (!Number.isSafeInteger(size) || size < 0 || size > cipher.maxBytes)
    throw tooLarge(cipher, side);
}
