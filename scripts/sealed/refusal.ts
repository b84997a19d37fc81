/** The parts of vectors that end in a refusal. */
import { FT } from './courses.ts';
import type { Reason, Vector, VectorElement } from './format.ts';
import { NS, seal, vector, type Say, type Start } from './seal.ts';

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

/** A sealed element as XML. */
export const element = (label: string, sealed: string) =>
  `<sealed xmlns="${NS}" label="${label}">${sealed}</sealed>`;

const security = (inside: string) => `<security xmlns="urn:xmpp:jingle:jet:0">${inside}</security>`;
const PLACES: Record<string, (inside: string) => string> = {
  offer: security,
  request: security,
  accept: (inside) => `<content xmlns="urn:xmpp:jingle:1">${inside}</content>`,
  checksum: (inside) =>
    `<checksum xmlns="${FT}" creator="initiator" name="a-file"><file/>${inside}</checksum>`,
  landed: (inside) =>
    `<received xmlns="${FT}" creator="initiator" name="a-file">${inside}</received>`,
};

/** The XML that the elements of a label stand in. */
export const placed = (label: string, inside: string) => PLACES[label]?.(inside) ?? '';

/** A vector whose last element is well sealed and in its place, and says something that nobody may say. */
export function malformed(
  name: string,
  about: string,
  start: Start,
  behind: readonly Say[],
  say: Say,
): Vector {
  const whole = vector(`refused-malformed-${name}`, about, start, behind);
  const { label, sealed } = seal(start, whole.elements, say);
  const by = say[1] === 'maker' ? 'other' : 'maker';
  const stanza = placed(label, element(label, sealed));
  return withoutId(whole, { by, label, stanza, reason: 'malformed' });
}
