/** Spoils vectors of test/vectors/jet in one place, so that a reader that complains of nothing is found out. */
import type { JetVector, VectorContent } from '../../scripts/jet/format.ts';

/** Where a vector that succeeds may be spoilt; one that does not, in its header alone. */
export const PLACES = ['wire', 'envelope', 'plaintext', 'secret', 'header'] as const;
/** One of them. */
export type Place = (typeof PLACES)[number];

/** Turns one bit in the middle of what base64 or hexadecimal digits stand for. */
function turned(text: string, encoding: 'base64' | 'hex'): string {
  const bytes = Buffer.from(text, encoding);
  const at = bytes.length >> 1;
  if (bytes.length === 0) return encoding === 'hex' ? '00' : 'AA==';
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  return bytes.toString(encoding);
}

/** A vector with one thing changed about its first content. */
export function altered(vector: JetVector, place: Place): JetVector {
  const [first, ...others] = vector.contents;
  if (first === undefined) throw new Error('a vector without contents');
  const withFirst = (change: Partial<VectorContent>): JetVector => ({
    ...vector,
    contents: [{ ...first, ...change }, ...others],
  });
  const { wire, plaintext, secret } = first;
  switch (place) {
    case 'wire':
      return withFirst({
        wire:
          'base64' in wire
            ? { base64: turned(wire.base64, 'base64') }
            : { ...wire, tag: turned(wire.tag, 'hex') },
      });
    case 'plaintext':
      return withFirst({
        plaintext:
          'base64' in plaintext
            ? { base64: turned(plaintext.base64, 'base64') }
            : { ...plaintext, seed: `${plaintext.seed}.` },
      });
    case 'secret':
      return withFirst({ secret: { ...secret, iv: turned(secret.iv, 'hex') } });
    case 'header': {
      const outcome = first.outcome === 'tag mismatch' ? 'hash mismatch' : 'tag mismatch';
      return { ...withFirst({ outcome }), outcome };
    }
    case 'envelope':
      return { ...vector, stanzas: vector.stanzas.map((text) => spoilt(text, vector)) };
  }
}

/** Of the secret that the reader gets; other devices' keys are none of its business. */
function spoilt(stanza: string, { reader }: JetVector): string {
  const rid = reader.omemo?.device;
  const key = rid === undefined ? '<payload>' : `<key rid='${String(rid)}'[^>]*>`;
  return stanza.replace(
    new RegExp(`(${key})([^<]+)`, 'g'),
    (_, open: string, text: string) => open + turned(text, 'base64'),
  );
}
