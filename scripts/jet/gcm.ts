/** AES-GCM as one message, and an IV of 16 bytes whose counter wraps (NIST SP 800-38D §6 and §7.1). */
import { createCipheriv } from 'node:crypto';

/** Key and IV of one content. */
export interface Secret {
  readonly key: Buffer;
  readonly iv: Buffer;
}

const algorithm = (key: Buffer) => (key.length === 32 ? 'aes-256-gcm' : 'aes-128-gcm');

/** Ciphertext and tag. */
export function encrypted({ key, iv }: Secret, plaintext: Buffer): Buffer {
  const gcm = createCipheriv(algorithm(key), key, iv, { authTagLength: 16 });
  return Buffer.concat([gcm.update(plaintext), gcm.final(), gcm.getAuthTag()]);
}

const block = (key: Buffer, input: Buffer) => {
  const aes = createCipheriv(`aes-${String(key.length * 8)}-ecb`, key, null);
  return aes.setAutoPadding(false).update(input);
};

/** The ciphertext by single blocks, so that nobody's handling of the counter is relied upon. */
function byBlocks(key: Buffer, first: Buffer, plaintext: Buffer): Buffer {
  const counter = Buffer.from(first);
  const out = Buffer.from(plaintext);
  for (let at = 0; at < out.length; at += 16) {
    counter.writeUInt32BE((counter.readUInt32BE(12) + 1) >>> 0, 12);
    const stream = block(key, counter);
    for (let i = at; i < Math.min(at + 16, out.length); i++)
      out.writeUInt8(out.readUInt8(i) ^ stream.readUInt8(i - at), i);
  }
  return out;
}

/** §6.3: the product of two blocks; their first bit is the most significant here. */
function product(x: bigint, y: bigint): bigint {
  let sum = 0n;
  let power = y;
  for (let bit = 127n; bit >= 0n; bit--) {
    if (((x >> bit) & 1n) === 1n) sum ^= power;
    power = (power & 1n) === 1n ? (power >> 1n) ^ (0xe1n << 120n) : power >> 1n;
  }
  return sum;
}

/** By Fermat: x to the power of 2^128 − 2. */
function inverse(x: bigint): bigint {
  let square = x;
  let result = 1n << 127n;
  for (let i = 1; i < 128; i++) {
    square = product(square, square);
    result = product(result, square);
  }
  return result;
}

const toBlock = (value: bigint) => Buffer.from(value.toString(16).padStart(32, '0'), 'hex');
const ofBlock = (bytes: Buffer) => BigInt(`0x${bytes.toString('hex')}`);

/**
 * The IV of 16 bytes with which a message begins at this counter block. The 32 bits at its end count on from
 * there and wrap to 0 without a carry.
 */
export function ivOfCounter(key: Buffer, counter: Buffer): Buffer {
  const hash = ofBlock(block(key, Buffer.alloc(16)));
  const back = inverse(hash);
  const bits = 128n;
  const iv = toBlock(product(product(ofBlock(counter), back) ^ bits, back));
  const sample = Buffer.from('Three blocks are enough to see it wrap.');
  const whole = encrypted({ key, iv }, sample);
  if (!byBlocks(key, counter, sample).equals(whole.subarray(0, sample.length)))
    throw new Error('the counter does not begin where it was to begin');
  return iv;
}
