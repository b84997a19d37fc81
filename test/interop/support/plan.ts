/** What is tried with each client: the values, and the fixed list that combines them in pairs. */

/** Bytes of a file. */
export const SIZES = [0, 1, 15, 16, 17, 100_000, 4_999_999, 200 * 1024 * 1024] as const;

/** File names, by what is special about them. */
export const NAMES = {
  plain: 'file.bin',
  spaces: 'a name  with spaces.bin',
  quotes: `it's a "name" \`quoted\`.bin`,
  'other scripts': 'документ 文書 مستند.bin',
  emoji: '🎉 👩‍👩‍👧 🇪🇺.bin',
  '200 characters': `${'n'.repeat(196)}.bin`,
} as const;

/** How the bytes go, as jet is told. */
export const PATHS = ['direct', 'proxy', 'ibb'] as const;

/**
 * What was before. `jet restarted` differs from `session` only where jet waits: each `jet send` is a process
 * of its own.
 */
export const STATES = [
  'session',
  'jet restarted',
  'second device',
  'first contact',
  'client restarted',
] as const;

export type Size = (typeof SIZES)[number];
export type Name = keyof typeof NAMES;
export type Path = (typeof PATHS)[number];
export type State = (typeof STATES)[number];

/** One file to one side. */
export interface Case {
  readonly size: Size;
  readonly name: Name;
  readonly path: Path;
  readonly state: State;
}

/** What a client cannot do at all, so that it is not tried. */
export interface Limits {
  readonly paths: readonly Path[];
  readonly states: readonly State[];
}

/** In-band, a block at a time, a file of this size takes too long for anybody to wait. */
const possible = ({ size, path }: Case) => path !== 'ibb' || size <= 4_999_999;

/** Every combination. */
export function product({ paths, states }: Limits): Case[] {
  const names = Object.keys(NAMES) as Name[];
  return SIZES.flatMap((size) =>
    names.flatMap((name) =>
      paths.flatMap((path) => states.map((state) => ({ size, name, path, state }))),
    ),
  ).filter(possible);
}

/**
 * A list in which each two values meet once at least: the combination that brings most new pairs comes next,
 * of equal ones the first, so that the list is always the same and the cheap values come most.
 */
export function pairwise(limits: Limits): Case[] {
  const all = product(limits);
  const missing = new Set(all.flatMap(pairsOf));
  const list: Case[] = [];
  while (missing.size > 0) {
    let best: Case | undefined;
    let gain = 0;
    for (const one of all) {
      const fresh = pairsOf(one).filter((pair) => missing.has(pair)).length;
      if (fresh > gain) [best, gain] = [one, fresh];
    }
    if (best === undefined) break;
    list.push(best);
    for (const pair of pairsOf(best)) missing.delete(pair);
  }
  return list;
}

function pairsOf({ size, name, path, state }: Case): string[] {
  const values = [`${size}`, name, path, state];
  return values.flatMap((a, i) => values.slice(i + 1).map((b) => `${i} ${a} ${b}`));
}
