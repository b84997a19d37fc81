/** Key derivation of the Double Ratchet (Signal's specification §5.2) with HMAC and HKDF over SHA-256. */
import { createHmac, hkdfSync } from 'node:crypto';

const ZEROS = Buffer.alloc(32);

/** HMAC-SHA-256. */
export function hmac(key: Buffer, ...parts: Buffer[]): Buffer {
  const mac = createHmac('sha256', key);
  for (const part of parts) mac.update(part);
  return mac.digest();
}

/** HKDF-SHA-256 (RFC 5869); `length` in bytes. */
export function hkdf(secret: Buffer, salt: Buffer, info: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, salt, info, length));
}

/** The secret of X3DH: 32 bytes of 0xFF go before the agreements (X3DH §2.2). */
export function x3dhSecret(agreements: Buffer[], info: string): Buffer {
  return hkdf(Buffer.concat([Buffer.alloc(32, 0xff), ...agreements]), ZEROS, info, 32);
}

/** A step of the root chain. */
export function rootStep(
  rootKey: Buffer,
  agreement: Buffer,
  info: string,
): { rootKey: Buffer; chainKey: Buffer } {
  const out = hkdf(agreement, rootKey, info, 64);
  return { rootKey: out.subarray(0, 32), chainKey: out.subarray(32) };
}

/** The message key at a chain's present position. */
export function messageKey(chainKey: Buffer): Buffer {
  return createHmac('sha256', chainKey).update('\x01').digest();
}

/** The chain's next key. */
export function nextChainKey(chainKey: Buffer): Buffer {
  return createHmac('sha256', chainKey).update('\x02').digest();
}

/** What encrypts and authenticates one message: AES-256 key, HMAC key, CBC IV. */
export function messageSecrets(
  key: Buffer,
  info: string,
): { cipher: Buffer; auth: Buffer; iv: Buffer } {
  const out = hkdf(key, ZEROS, info, 80);
  return { cipher: out.subarray(0, 32), auth: out.subarray(32, 64), iv: out.subarray(64) };
}
