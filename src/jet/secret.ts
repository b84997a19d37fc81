/** XEP-0391 §2 (version 0.1.2): the transport secret. */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { wipe } from '../core/bytes.ts';
import type { Cipher } from './cipher.ts';
import type { TransportSecret } from './envelope.ts';

/** A fresh secret. Key and IV are drawn apart: the IV is sent where the key is not. */
export function freshSecret(cipher: Cipher): TransportSecret {
  return { key: randomBytes(cipher.keyLength), iv: randomBytes(cipher.ivLengths[0]) };
}

/** True when the lengths are what the cipher takes. */
export function fits(secret: TransportSecret, cipher: Cipher): boolean {
  return secret.key.length === cipher.keyLength && cipher.ivLengths.includes(secret.iv.length);
}

/**
 * True when the IV is the key or a piece of it (XEP-0391 §7): what is sent in the clear beside the envelope
 * would show the key.
 */
export function keyIsIv({ key, iv }: TransportSecret): boolean {
  let found = false;
  for (let at = 0; at + iv.length <= key.length; at++)
    found = timingSafeEqual(key.subarray(at, at + iv.length), iv) || found;
  return found;
}

/** Overwrites a secret. It must not be used after that. */
export function wipeSecret(secret: TransportSecret): void {
  wipe(secret.key, secret.iv);
}
