import { createCipheriv, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { aes128gcm, aes256gcm, aesGcm, defaultCiphers } from '../../../src/jet/ciphers.ts';
import { Decryptor, Encryptor, GcmError } from '../../../src/jet/gcm.ts';
import { freshSecret, wipeSecret } from '../../../src/jet/secret.ts';

function encrypt(plain: Buffer, secret = freshSecret(aes128gcm)) {
  const gcm = new Encryptor(aes128gcm, secret);
  return { secret, wire: Buffer.concat([gcm.update(plain), gcm.final()]) };
}

function reason(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof GcmError) return error.reason;
  }
  return 'none';
}

const sizes = [0, 1, 15, 16, 17, 31, 32, 4095, 4096, 4097, 262_143, 262_144, 262_145];

test.each(sizes)('%i bytes equal a one-shot AES-GCM message', (size) => {
  for (const cipher of [aes128gcm, aes256gcm]) {
    const plain = randomBytes(size);
    const secret = freshSecret(cipher);
    const whole = createCipheriv(cipher.algorithm, secret.key, secret.iv);
    const expected = Buffer.concat([whole.update(plain), whole.final(), whole.getAuthTag()]);
    const gcm = new Encryptor(cipher, secret);
    const half = size >> 1;
    const parts = [gcm.update(plain.subarray(0, half)), gcm.update(plain.subarray(half))];
    expect(Buffer.concat([...parts, gcm.final()]).equals(expected)).toBe(true);
    const back = new Decryptor(cipher, secret, size);
    expect(back.update(expected).bytes.equals(plain)).toBe(true);
    expect(back.final()).toEqual({ verified: true, size });
  }
});

test('any split of the wire gives the plaintext', () => {
  const splits = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 20 });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), splits, fc.boolean(), (bytes, cuts, single) => {
      const plain = Buffer.from(bytes);
      const { wire, secret } = encrypt(plain);
      const gcm = new Decryptor(aes128gcm, secret, plain.length);
      const out: Buffer[] = [];
      let at = 0;
      for (const cut of single ? new Array<number>(wire.length).fill(1) : cuts) {
        out.push(gcm.update(wire.subarray(at, at + cut)).bytes);
        at += cut;
      }
      out.push(gcm.update(wire.subarray(at)).bytes);
      expect(gcm.complete).toBe(true);
      expect(gcm.final().verified).toBe(true);
      expect(Buffer.concat(out).equals(plain)).toBe(true);
    }),
  );
});

test('any flipped bit is a tag mismatch', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(), (bytes, bit) => {
      const { wire, secret } = encrypt(Buffer.from(bytes));
      const at = bit % (wire.length * 8);
      wire.writeUInt8(wire.readUInt8(at >> 3) ^ (1 << (at & 7)), at >> 3);
      const gcm = new Decryptor(aes128gcm, secret, bytes.length);
      gcm.update(wire);
      expect(reason(() => gcm.final())).toBe('tag-mismatch');
    }),
  );
});

test('extra, missing and too many bytes are told apart', () => {
  const { wire, secret } = encrypt(randomBytes(100));
  const extra = new Decryptor(aes128gcm, secret, 100);
  expect(reason(() => extra.update(Buffer.concat([wire, Buffer.alloc(1)])))).toBe('extra-bytes');
  const short = new Decryptor(aes128gcm, secret, 100);
  short.update(wire.subarray(0, 115));
  expect(reason(() => short.final())).toBe('truncated');
  const small = aesGcm(128, 64);
  const limited = new Encryptor(small, secret);
  limited.update(Buffer.alloc(64));
  expect(reason(() => limited.update(Buffer.alloc(1)))).toBe('too-long');
  expect(reason(() => new Decryptor(small, secret, 65))).toBe('too-long');
});

test('secrets: 12 and 16 byte IVs, either URN, wiped', () => {
  const secret = freshSecret(aes256gcm);
  expect([secret.key.length, secret.iv.length]).toEqual([32, 12]);
  expect(reason(() => new Encryptor(aes128gcm, secret))).toBe('secret');
  expect(reason(() => new Encryptor(aes256gcm, { ...secret, iv: randomBytes(16) }))).toBe('none');
  expect(reason(() => new Encryptor(aes256gcm, { ...secret, iv: randomBytes(13) }))).toBe('secret');
  wipeSecret(secret);
  expect(secret.key.equals(Buffer.alloc(32))).toBe(true);
  const ciphers = defaultCiphers();
  expect(ciphers.get('urn:xmpp:ciphers:aes-256-gcm-nopadding:0')).toBe(aes256gcm);
  expect(ciphers.get('urn:xmpp:ciphers:aes-128-gcm-nopadding')).toBe(aes128gcm);
  expect(ciphers.get('urn:xmpp:ciphers:aes-128-gcm-nopadding:1')).toBeUndefined();
});
