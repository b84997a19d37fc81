import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRange, parseSelector } from '../../../src/transfer/selector.ts';

const digest = (name: string) => createHash(name).update('x').digest();
const sha1 = digest('sha1');
const sha256 = digest('sha256');
const sha512 = digest('sha512');
const hex = sha256.toString('hex');
const url = sha256.toString('base64url');

describe('a hash', () => {
  it.each([
    [`sha-256:${hex}`, 'sha-256', sha256],
    [`sha256:${hex}`, 'sha-256', sha256],
    [`SHA-256:${hex.toUpperCase()}`, 'sha-256', sha256],
    [`sha-512:${sha512.toString('hex')}`, 'sha-512', sha512],
    [`sha512:${sha512.toString('hex')}`, 'sha-512', sha512],
    [`sha-1:${sha1.toString('hex')}`, 'sha-1', sha1],
    [hex, 'sha-256', sha256],
    [sha512.toString('hex'), 'sha-512', sha512],
    [sha256.toString('base64'), 'sha-256', sha256],
    [url, 'sha-256', sha256],
    [sha512.toString('base64'), 'sha-512', sha512],
    [sha512.toString('base64url'), 'sha-512', sha512],
    [`ni:///sha-256;${url}`, 'sha-256', sha256],
    [`NI://example.org/SHA-256;${url}?ct=text/plain`, 'sha-256', sha256],
    [`ni:///sha-512;${sha512.toString('base64url')}`, 'sha-512', sha512],
  ] as const)('%s', (text, algorithm, expected) => {
    expect(parseSelector(text)).toEqual({ algorithm, digest: expected });
  });

  it('is read back from every form, whatever its bytes', () => {
    const bytes = fc
      .constantFrom(32, 64)
      .chain((length) =>
        fc.uint8Array({ minLength: length, maxLength: length }).map((array) => Buffer.from(array)),
      );
    fc.assert(
      fc.property(bytes, (bytes) => {
        const name = bytes.length === 32 ? 'sha-256' : 'sha-512';
        for (const text of [
          bytes.toString('hex'),
          bytes.toString('base64'),
          bytes.toString('base64url'),
          `${name}:${bytes.toString('hex')}`,
          `ni:///${name};${bytes.toString('base64url')}`,
        ])
          expect(parseSelector(text)).toEqual({ algorithm: name, digest: bytes });
      }),
    );
  });

  it.each([
    ['', 'no SHA-256 or SHA-512'],
    ['report.pdf', 'no SHA-256 or SHA-512'],
    [sha1.toString('hex'), 'length of SHA-1, which has to be named. Write sha-1:'],
    [hex.slice(1), 'no SHA-256 or SHA-512'],
    [`${hex}00`, 'no SHA-256 or SHA-512'],
    [sha1.toString('base64'), 'no SHA-256 or SHA-512'],
    [`${url.slice(0, -1)}=`, 'no SHA-256 or SHA-512'],
    [`sha-256:${hex.slice(2)}`, 'has 64 hexadecimal digits, this has 62'],
    [`sha-256:${hex.slice(1)}`, 'followed by hexadecimal'],
    [`sha-256:${url}`, 'followed by hexadecimal'],
    [`sha-1:${hex}`, 'has 40 hexadecimal digits, this has 64'],
    [`md5:${hex}`, '"md5" is no hash function'],
    [`constructor:${hex}`, '"constructor" is no hash function'],
    [`sha-256-128;${url}`, 'no SHA-256 or SHA-512'],
    ['ni:', 'no ni: URI'],
    [`ni:/sha-256;${url}`, 'no ni: URI'],
    [`ni:///sha-256;${url}#x`, 'no ni: URI'],
    [`ni:///sha-256-32;${url.slice(0, 6)}`, 'cut short'],
    [`ni:///sha-256;${hex}`, 'no sha-256 in base64url'],
    [`ni:///sha-256;${sha256.toString('base64')}`, 'no sha-256 in base64url'],
    [`ni:///sha-256;${url.slice(1)}`, 'no sha-256 in base64url'],
    [`ni:///sha-384;${url}`, '"sha-384" is no hash function'],
  ])('%j is none', (text, why) => {
    expect(() => parseSelector(text)).toThrow(
      expect.objectContaining({
        exit: 2,
        code: 'bad-hash',
        message: expect.stringContaining(why) as string,
      }) as Error,
    );
  });

  it('has one spelling: bits that mean nothing are none', () => {
    const last = url.at(-1) ?? '';
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const other = alphabet[alphabet.indexOf(last) ^ 1] ?? '';
    expect(() => parseSelector(url.slice(0, -1) + other)).toThrow('names no file');
  });

  it('never ends with anything but a hash or an error for the user', () => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 300 }),
        fc.constantFrom('', 'sha-256:', 'ni:///'),
        (s, p) => {
          try {
            expect([20, 32, 64]).toContain(parseSelector(p + s).digest.length);
          } catch (error) {
            expect(error).toMatchObject({ exit: 2 });
          }
        },
      ),
    );
  });
});

describe('a range', () => {
  it.each([
    ['0-', 0, undefined],
    ['5-', 5, undefined],
    ['0-0', 0, 1],
    ['10-19', 10, 10],
    ['0-9007199254740990', 0, 9007199254740991],
  ])('%s', (text, offset, length) => {
    expect(parseRange(text)).toEqual({ offset, length });
  });

  it.each([
    ['', 'not two numbers'],
    ['5', 'not two numbers'],
    ['-5', 'no start'],
    ['-', 'not two numbers'],
    ['5-4', 'ends before it starts'],
    ['1-2-3', 'not two numbers'],
    ['0x1-2', 'not two numbers'],
    ['1.5-2', 'not two numbers'],
    [' 1-2', 'not two numbers'],
    ['1e3-', 'not two numbers'],
    ['0-9007199254740991', 'no file is that large'],
    ['99999999999999999999-', 'no file is that large'],
  ])('%j is none', (text, why) => {
    expect(() => parseRange(text)).toThrow(
      expect.objectContaining({
        exit: 2,
        code: 'bad-range',
        message: expect.stringContaining(why) as string,
      }) as Error,
    );
  });
});
