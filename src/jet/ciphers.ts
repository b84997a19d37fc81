/** The AES-GCM ciphers of XEP-0391 §5 (version 0.1.2). */
import { type Cipher, CipherRegistry } from './cipher.ts';

/** Most plaintext of one GCM message, in bytes: NIST SP 800-38D §5.2.1.1. */
export const GCM_MAX_BYTES = 2 ** 36 - 32;

/** Describes AES-GCM with a key of `bits`; a smaller `maxBytes` lets tests reach the limit. */
export function aesGcm(bits: 128 | 256, maxBytes: number = GCM_MAX_BYTES): Cipher {
  const urn = `urn:xmpp:ciphers:aes-${String(bits)}-gcm-nopadding`;
  return {
    urn,
    algorithm: bits === 128 ? 'aes-128-gcm' : 'aes-256-gcm',
    keyLength: bits / 8,
    ivLengths: [12, 16],
    tagLength: 16,
    maxBytes,
    accepts: (other) => other === urn || other === `${urn}:0`,
  };
}

/** AES-128-GCM: what every known client can open. */
export const aes128gcm = aesGcm(128);

/** AES-256-GCM. */
export const aes256gcm = aesGcm(256);

/**
 * A registry with both; the cipher given first is preferred.
 *
 * @param most - bytes that one message carries; never more than GCM allows
 */
export function defaultCiphers(most = GCM_MAX_BYTES): CipherRegistry {
  const registry = new CipherRegistry();
  for (const cipher of [aes128gcm, aes256gcm])
    registry.register(most < cipher.maxBytes ? { ...cipher, maxBytes: most } : cipher);
  return registry;
}
