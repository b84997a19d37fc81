import fc from 'fast-check';
import { expect, test } from 'vitest';
import { alternativeName, MAX_NAME_BYTES, partName, safeName } from '../../../src/files/names.ts';

test.each([
  ['../../etc/passwd', 'passwd'],
  ['C:\\Windows\\a.txt', 'a.txt'],
  ['/', 'file'],
  ['..', 'file'],
  ['', 'file'],
  ['.bashrc', 'bashrc'],
  ['-rf', 'rf'],
  ['CON', '_CON'],
  ['nul.txt', '_nul.txt'],
  ['a. . ', 'a'],
  ['evil\u202Egpj.exe', 'evilgpj.exe'],
  ['a\nb\u001b[31m', 'ab[31m'],
  ['e\u0301.txt', '\u00e9.txt'],
])('%j becomes %j', (from, to) => {
  expect(safeName(from)).toBe(to);
});

test('any name stays in its folder, fits and is stable', () => {
  const texts = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'grapheme', size: 'xlarge' }),
  );
  fc.assert(
    fc.property(texts, fc.integer({ min: 1, max: 9999 }), (text, n) => {
      const name = safeName(text);
      expect(name).not.toMatch(/[/\\\p{Cc}\p{Cf}\p{Cs}]|^[.-]|[. ]$|^$/u);
      expect(safeName(name)).toBe(name);
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(MAX_NAME_BYTES);
      for (const part of [
        partName(name),
        partName(alternativeName(name, n)),
        partName(name, '12345678'),
      ])
        expect(Buffer.byteLength(part)).toBeLessThanOrEqual(255);
    }),
  );
});

test('a long name keeps its extension and whole characters', () => {
  const name = safeName(`${'\u{1F600}'.repeat(200)}.tar`);
  expect(name).toMatch(/^\u{1F600}+\.tar$/u);
  expect(alternativeName('a.txt', 1)).toBe('a (1).txt');
});
