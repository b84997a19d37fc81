import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  alternativeName,
  foldName,
  MAX_NAME_BYTES,
  partName,
  safeName,
} from '../../../src/files/names.ts';

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
    // Of what is of interest: chance would seldom meet it.
    fc.string({
      unit: fc.constantFrom(
        ...['/', '\\', '.', ' ', '-', 'a', 'é', 'e\u0301', '\u202e', '\u200b', '\0', '\ud800'],
        ...[':', '*', '?', '"', '<', '>', '|', 'CON', 'nul', 'com1', 'lpt\u00b9'],
      ),
    }),
  );
  const device = /^(?:con|prn|aux|nul|(?:com|lpt)[0-9¹²³])\s*(?:\.|$)/iu;
  fc.assert(
    fc.property(texts, fc.integer({ min: 1, max: 9999 }), (text, n) => {
      const name = safeName(text);
      expect(name).not.toMatch(/[/\\<>:"|?*\p{Cc}\p{Cf}\p{Cs}]|^[.-]|[. ]$|^$/u);
      expect(name).not.toMatch(device);
      expect(name.normalize('NFC')).toBe(name);
      expect(safeName(name)).toBe(name);
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(MAX_NAME_BYTES);
      for (const part of [
        partName(name),
        partName(alternativeName(name, n)),
        partName(name, '12345678'),
      ])
        expect(Buffer.byteLength(part)).toBeLessThanOrEqual(255);
    }),
    { numRuns: 300 },
  );
});

test('a long name keeps its extension and whole characters', () => {
  const name = safeName(`${'\u{1F600}'.repeat(200)}.tar`);
  expect(name).toMatch(/^\u{1F600}+\.tar$/u);
  expect(alternativeName('a.txt', 1)).toBe('a (1).txt');
});

describe('two names are one', () => {
  test.each([
    ['of either case', 'readme', 'README'],
    ['composed or not', 'caf\u00e9', 'cafe\u0301'],
    ['of one letter for two', '\ufb01le', 'file'],
    ['of a letter in a circle', '\u24d0', 'a'],
    ['of full width', '\uff21', 'a'],
    ['of digits set high', 'x\u00b2', 'x2'],
    ['with a sharp s', 'stra\u00dfe', 'STRASSE'],
    ['with a capital sharp s', 'STRA\u1e9eE', 'strasse'],
    ['with a capital sharp s and a small one', 'STRA\u1e9eE', 'stra\u00dfe'],
    ['with a dotted capital i', '\u0130', 'i\u0307'],
    ['with a long s', 'u\u017f', 'US'],
    ['with the sign of kelvin', '\u212a', 'k'],
    ['with a sigma at the end', '\u03b1\u03c2', '\u0391\u03a3'],
    ['with marks in another order', 'a\u0323\u0302', 'a\u0302\u0323'],
    ['with what is not seen', 'a\u200db\ufe0f\u00ad', 'ab'],
  ])('%s', (_, a, b) => {
    expect(foldName(a)).toBe(foldName(b));
  });

  test.each([
    ['other letters', 'a', 'b'],
    ['an accent', 'e', '\u00e9'],
  ])('but not for %s', (_, a, b) => {
    expect(foldName(a)).not.toBe(foldName(b));
  });
});

test('no character has a form or a case that folds to something else', () => {
  const bad: string[] = [];
  for (let point = 0; point <= 0x10_ffff; point++) {
    if (point >= 0xd800 && point < 0xe000) continue;
    const character = String.fromCodePoint(point);
    const forms = (['NFC', 'NFD', 'NFKC', 'NFKD'] as const).map((form) =>
      character.normalize(form),
    );
    const folded = foldName(character);
    // Folding once more, too, changes nothing.
    for (const other of [...forms, character.toLowerCase(), character.toUpperCase(), folded])
      if (other !== character && foldName(other) !== folded) bad.push(point.toString(16));
  }
  expect(bad).toEqual([]);
}, 60_000);
