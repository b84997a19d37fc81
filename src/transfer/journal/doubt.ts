/** What is not right about a part whose bytes are all there, as the journal keeps it until it is put right. */
import type { Extent } from '../sealed.ts';

/** Most ranges that are fetched again: each is a session of its own. */
const MOST_RANGES = 8;

const WORDS = ['unknown', 'repaired', 'anew'] as const;

/**
 * Ranges are known to be wrong, and come again. `unknown`: the whole is not what was proven. `repaired`: what
 * was wrong has come again. `anew`: it began from zero because of that, which it does once.
 */
export type Doubt = (typeof WORDS)[number] | readonly Extent[];

/** What is known to be wrong, the first of it first. */
export function wrongRanges(doubt: Doubt | undefined): readonly Extent[] {
  return typeof doubt === 'object' ? doubt : [];
}

/** One line of text. */
export function encodeDoubt(doubt: Doubt): string {
  if (typeof doubt === 'string') return doubt;
  return doubt.map(({ offset, length }) => `${offset}+${length}`).join(' ');
}

/** Reads what `encodeDoubt` wrote; undefined for anything else. */
export function decodeDoubt(text: string): Doubt | undefined {
  const word = WORDS.find((known) => known === text);
  if (word !== undefined) return word;
  if (!/^\d{1,15}\+\d{1,15}( \d{1,15}\+\d{1,15})*$/.test(text)) return undefined;
  return text.split(' ').map((word) => {
    const [offset = 0, length = 0] = word.split('+').map(Number);
    return { offset, length };
  });
}

/** As few ranges as are fetched at most: those with the least between them become one. */
export function joined(ranges: readonly Extent[]): Extent[] {
  const left = [...ranges];
  const endOf = ({ offset, length }: Extent) => offset + length;
  while (left.length > MOST_RANGES) {
    let at = 0;
    let least = Infinity;
    for (const [n, next] of left.entries()) {
      const before = left[n - 1];
      if (before === undefined || next.offset - endOf(before) >= least) continue;
      least = next.offset - endOf(before);
      at = n;
    }
    const [before, next] = [left[at - 1], left[at]];
    if (before === undefined || next === undefined) break;
    left.splice(at - 1, 2, { offset: before.offset, length: endOf(next) - before.offset });
  }
  return left;
}

/** Bytes of all of them. */
export function total(ranges: readonly Extent[]): number {
  return ranges.reduce((sum, { length }) => sum + length, 0);
}
