/** Collections with a bound: what others can make us remember does not grow without end. */

/** A `Map` or a `Set`, which keep their order of insertion. */
interface Kept<K> {
  readonly size: number;
  has(key: K): boolean;
  keys(): IterableIterator<K>;
  delete(key: K): boolean;
}

/**
 * Before `key` is put in: makes room for it where there are `most` entries already, the oldest goes first.
 * One that is in already needs none.
 *
 * @param most - entries, 1 at the least
 */
export function makeRoom<K>(kept: Kept<K>, key: K, most: number): void {
  if (kept.has(key)) return;
  for (const oldest of kept.keys()) {
    if (kept.size < most) return;
    kept.delete(oldest);
  }
}
