/** What of a folder, or a batch, has not landed (docs/sealed.md §4.3): said in the receipt, read by the sender. */
import { SealedError } from '../../jet/sealed.ts';
import { attr, uint, xml, type Element } from '../../xmpp/xml.ts';

/** Most lines that are named: with their blanks they fit into a body. */
export const MOST_NAMED = 1_000;

/** Lines of the list, counted from 0. */
export interface Missing {
  /** How many of them have not landed; at least one. */
  readonly count: number;
  /** The first of these, in order: all, or as many as are named at most. */
  readonly lines: readonly number[];
}

/** The same for the user. */
export interface MissingPaths {
  readonly count: number;
  /** Those of the lines that are named. */
  readonly paths: readonly string[];
}

/** @param lines - all that have not landed, in any order; at least one */
export function missingOf(lines: Iterable<number>): Missing {
  const all = [...lines].sort((a, b) => a - b);
  return { count: all.length, lines: all.slice(0, MOST_NAMED) };
}

/** `<missing/>` in the body of a sealed receipt. */
export function encodeMissing({ count, lines }: Missing): Element {
  return xml('missing', { count: String(count) }, lines.join(' '));
}

/** @param of - how many lines the list has @throws SealedError */
export function decodeMissing(element: Element, of: number): Missing {
  const count = uint(attr(element, 'count'), of);
  const words = element.getText().split(' ', MOST_NAMED + 1);
  const lines = words.map((word) => uint(word, of - 1));
  const named = lines.filter(
    (line, n): line is number => line !== undefined && line > (lines[n - 1] ?? -1),
  );
  const whole = named.length === lines.length && named.length === Math.min(count ?? 0, MOST_NAMED);
  // What is not named lies behind what is.
  const room = of - 1 - (named.at(-1) ?? 0);
  if (count === undefined || !whole || count - named.length > room)
    throw new SealedError('malformed', 'what has not landed is not named rightly');
  return { count, lines: named };
}

/**
 * Without the files that their sender could not read, and says so itself; undefined where these are all.
 *
 * @param unread - paths of these
 */
export function missingBeside(
  { count, paths }: MissingPaths,
  unread: ReadonlySet<string>,
): MissingPaths | undefined {
  const others = paths.filter((path) => !unread.has(path));
  const rest = Math.max(others.length, count - unread.size);
  return rest === 0 ? undefined : { count: rest, paths: others };
}
