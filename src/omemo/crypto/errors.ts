/** What can go wrong in the cryptographic core. No message ever holds key material. */

/**
 * - `mac`: the ratchet key is known, but the message is not authentic (or the prekey's signature is not).
 * - `malformed`: the bytes are no message of the profile, or a public key is of no use.
 * - `duplicate`: the message key was used already, or was dropped as too old.
 * - `too-far`: the counter is more steps ahead than allowed; nothing was computed.
 * - `other-session`: an unknown ratchet key, and with it the message is not authentic here.
 */
export type CryptoErrorKind = 'mac' | 'malformed' | 'duplicate' | 'too-far' | 'other-session';

/** Thrown for everything a peer or a server can cause. */
export class CryptoError extends Error {
  readonly kind: CryptoErrorKind;

  constructor(kind: CryptoErrorKind, message: string) {
    super(message);
    this.name = 'CryptoError';
    this.kind = kind;
  }
}
