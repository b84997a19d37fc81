/** Bytes: strict decoding, random identifiers, wiping. */
import { randomBytes, randomUUID } from 'node:crypto';

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Decodes RFC 4648 §4 base64, white space allowed (XML wraps lines); undefined when it is none. */
export function fromBase64(text: string): Buffer | undefined {
  const packed = text.replace(/\s+/g, '');
  return BASE64.test(packed) ? Buffer.from(packed, 'base64') : undefined;
}

/** Encodes as RFC 4648 §4 base64. */
export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** Decodes hexadecimal digits; undefined when the text holds anything else or half a byte. */
export function fromHex(text: string): Buffer | undefined {
  return /^(?:[0-9A-Fa-f]{2})*$/.test(text) ? Buffer.from(text, 'hex') : undefined;
}

/** An identifier of 122 random bits. */
export function randomId(): string {
  return randomUUID();
}

/** An unsigned integer of 32 bits at most from the system's random source, in [min, max]. */
export function randomInt(min: number, max: number): number {
  const span = max - min + 1;
  const limit = Math.floor(0x1_0000_0000 / span) * span;
  for (;;) {
    const value = randomBytes(4).readUInt32BE();
    if (value < limit) return min + (value % span);
  }
}

/** Overwrites secrets with zeros, as far as the runtime allows. */
export function wipe(...secrets: Uint8Array[]): void {
  for (const secret of secrets) secret.fill(0);
}
