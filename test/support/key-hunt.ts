/**
 * Looks for the key of an encrypted file among captured bytes, without knowing it: whoever knows the
 * plaintext knows the key stream, and of AES-GCM (NIST SP 800-38D §7.1) the key alone turns two
 * neighbouring blocks of it back into two counters that differ by one.
 */
import { createDecipheriv } from 'node:crypto';

const BLOCK = 16;

/** Everything that captured bytes may be read as: themselves, and what is in base64 or hex in them. */
export function readings(capture: Buffer): Buffer[] {
  const text = capture.toString('latin1');
  const found = [capture];
  for (const [run] of text.matchAll(/[\w+/-]{16,}/g))
    for (let shift = 0; shift < 4; shift++) found.push(Buffer.from(run.slice(shift), 'base64'));
  for (const [run] of text.matchAll(/[\da-fA-F]{32,}/g))
    for (let shift = 0; shift < 2; shift++) found.push(Buffer.from(run.slice(shift), 'hex'));
  return found;
}

/** The key of 16 or 32 bytes that the capture holds, if it does. */
export function huntKey(
  captures: readonly Buffer[],
  plain: Buffer,
  cipher: Buffer,
): Buffer | undefined {
  const stream = Buffer.alloc(2 * BLOCK);
  for (let i = 0; i < stream.length; i++) stream[i] = (plain[i] ?? 0) ^ (cipher[i] ?? 0);
  for (const bytes of captures.flatMap(readings))
    for (const length of [16, 32])
      for (let at = 0; at + length <= bytes.length; at++) {
        const key = bytes.subarray(at, at + length);
        // Of ten million random keys one is all text: text is read as base64 and hex instead.
        if (!key.every(printable) && fits(key, stream)) return key;
      }
  return undefined;
}

const printable = (byte: number) => byte >= 0x20 && byte < 0x7f;

function fits(key: Buffer, stream: Buffer): boolean {
  const aes = createDecipheriv(key.length === 16 ? 'aes-128-ecb' : 'aes-256-ecb', key, null);
  aes.setAutoPadding(false);
  const counters = aes.update(stream);
  return (
    counters.subarray(0, 12).equals(counters.subarray(BLOCK, BLOCK + 12)) &&
    (counters.readUInt32BE(12) + 1) >>> 0 === counters.readUInt32BE(BLOCK + 12)
  );
}
