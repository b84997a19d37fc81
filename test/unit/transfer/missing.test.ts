/** What of a list has not landed: as it is said, read, and told. */
import { describe, expect, test } from 'vitest';
import { listed } from '../../../src/core/errors.ts';
import { SealedError } from '../../../src/jet/sealed.ts';
import { errorOf } from '../../../src/transfer/outcome.ts';
import {
  decodeMissing,
  encodeMissing,
  missingBeside,
  missingOf,
  MOST_NAMED,
} from '../../../src/transfer/tree/missing.ts';
import { parse, xml } from '../../../src/xmpp/xml.ts';

const said = (count: string | undefined, text: string) =>
  xml('missing', count === undefined ? {} : { count }, text);
const all = (count: number) => Array.from({ length: count }, (_, line) => line);

describe('what is said of it', () => {
  test.each([
    ['one', [0], 1],
    ['the last of many', [999_999], 1_000_000],
    ['some in any order', [7, 2, 30], 31],
    ['as many as are named', all(MOST_NAMED), MOST_NAMED],
    ['more than are named', all(5000), 5000],
  ])('is read as it was meant: %s', (_, lines, of) => {
    const missing = missingOf(lines);
    expect(missing.count).toBe(lines.length);
    const text = encodeMissing(missing).toString();
    // A body has at most 16,384 bytes, and the rest of it takes some hundreds.
    expect(text.length).toBeLessThan(15_000);
    const element = parse(text);
    if (element === undefined) throw new Error('no XML');
    const read = decodeMissing(element, of);
    expect(read).toEqual(missing);
    const rising = [...lines].sort((a, b) => a - b);
    expect(read.lines).toEqual(rising.slice(0, MOST_NAMED));
  });

  test('fits also where the numbers are as long as they may be', () => {
    const lines = all(MOST_NAMED).map((line) => 999_000 + line);
    expect(encodeMissing(missingOf(lines)).toString().length).toBeLessThan(15_000);
  });

  test.each<[string, string | undefined, string, number]>([
    ['no count', undefined, '1', 3],
    ['a count of none', '0', '', 3],
    ['a count of none, and a line', '0', '1', 3],
    ['a count that is no number', 'two', '1 2', 3],
    ['no line', '1', '', 3],
    ['a line beyond the list', '1', '3', 3],
    ['a negative line', '1', '-1', 3],
    ['a line that is no number', '2', '1 b', 3],
    ['a fraction', '1', '1.0', 3],
    ['a line twice', '2', '1 1', 3],
    ['lines out of order', '2', '2 1', 3],
    ['other blanks', '2', '1  2', 3],
    ['a blank behind', '2', '1 2 ', 3],
    ['fewer lines than it counts', '3', '0 1', 3],
    ['more lines than it counts', '1', '0 1', 3],
    ['more than the list has', '4', '0 1 2', 3],
    ['more lines than are named', '1001', all(1001).join(' '), 2000],
    ['more behind the last one than there are', '1002', all(1000).join(' '), 1001],
    ['anything of a list of no lines', '1', '0', 0],
    ['nothing of a list of no lines', '0', '', 0],
  ])('is refused with %s', (_, count, text, of) => {
    expect(() => decodeMissing(said(count, text), of)).toThrow(SealedError);
    expect(() => decodeMissing(said(count, text), of)).toThrow(
      'what has not landed is not named rightly',
    );
  });
});

describe('what is told of it', () => {
  const about = { peer: 'bob@b.test', file: 'photos/' };
  const told = (count: number, paths: readonly string[], sends = true) =>
    errorOf({ kind: 'partly' }, { ...about, sends, missing: { count, paths } });

  test('names it, or the first of it', () => {
    expect(told(2, ['a', 'b'])).toMatchObject({ exit: 10, code: 'some-missing' });
    expect(told(2, ['a', 'b'])?.message).toMatch(
      /^Of photos\/, 2 did not land at bob@b\.test: a, b\. Ask there /,
    );
    expect(told(1, ['a'], false)?.message).toMatch(
      /^Of photos\/ from bob@b\.test, 1 did not land: a\. /,
    );
    const many = all(MOST_NAMED).map(String);
    expect(told(3000, many)?.message).toMatch(/: 0, 1, .*, 19 and 2980 more\. /);
    expect(listed(['a'])).toBe('a');
  });

  test('leaves out what its sender could not read', () => {
    const missing = { count: 3, paths: ['a', 'b', 'c'] };
    expect(missingBeside(missing, new Set())).toEqual(missing);
    expect(missingBeside(missing, new Set(['b']))).toEqual({ count: 2, paths: ['a', 'c'] });
    expect(missingBeside(missing, new Set(['a', 'b', 'c']))).toBeUndefined();
    // Of those that are not named it is known how many could not be read, and not which.
    expect(missingBeside({ count: 5, paths: ['a'] }, new Set(['a', 'x']))).toEqual({
      count: 3,
      paths: [],
    });
    // A peer that leaves out what was marked.
    expect(missingBeside({ count: 1, paths: ['a'] }, new Set(['x', 'y']))).toEqual({
      count: 1,
      paths: ['a'],
    });
  });
});
