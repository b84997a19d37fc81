/** The parts of vectors that end in a refusal. */
import type { Reason, Vector, VectorElement } from './format.ts';
import { vector, type Say, type Start } from './seal.ts';

/** Changes one bit of the byte at a place. */
export function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
  return copy;
}

/** What was said before. */
export const before = (start: Start, says: readonly Say[]) => vector('', '', start, says).elements;

/**
 * A vector whose last element is to be refused.
 *
 * @param behind - what was said and opened before it
 * @param by - who opens it, where it is not the other one than its maker
 */
export function refusal(
  name: string,
  about: string,
  reason: Reason,
  start: Start,
  behind: readonly Say[],
  element: VectorElement,
  by = element.from === 'maker' ? ('other' as const) : ('maker' as const),
): Vector {
  const { label, sealed } = element;
  return withoutId(vector(`refused-${name}`, about, start, behind), { by, label, sealed, reason });
}

/** Ends a vector with a refusal. */
export function withoutId(whole: Vector, refused: NonNullable<Vector['refused']>): Vector {
  const { name, about, secret, binding, maker, other, agreement, elements } = whole;
  return { name, about, secret, binding, maker, other, agreement, elements, refused };
}
