/** The part of the protobuf wire format that OMEMO needs: unsigned 32-bit integers and byte strings. */
import { CryptoError } from './errors.ts';

const MAX = 0xffff_ffff;

/** A field to write: its number (1–15) and an integer in [0, 2^32) or bytes. */
export type Field = readonly [number, number | Buffer];

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** Encodes fields in the order given. */
export function writeFields(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([number, value]) =>
      typeof value === 'number'
        ? [varint(number * 8), varint(value)]
        : [varint(number * 8 + 2), varint(value.length), value],
    ),
  );
}

/** Decoded fields with typed access; a required one that is missing is malformed. */
export class Fields {
  readonly #values: ReadonlyMap<number, number | Buffer>;

  constructor(values: ReadonlyMap<number, number | Buffer>) {
    this.#values = values;
  }

  /** An integer in [0, 2^32), or undefined when absent. */
  optionalInt(number: number): number | undefined {
    const value = this.#values.get(number);
    if (Buffer.isBuffer(value)) throw new CryptoError('malformed', 'a field of the wrong type');
    return value;
  }

  /** An integer in [0, 2^32). */
  int(number: number): number {
    const value = this.optionalInt(number);
    if (value === undefined) throw new CryptoError('malformed', 'a field is missing');
    return value;
  }

  /** Bytes. */
  bytes(number: number): Buffer {
    const value = this.#values.get(number);
    if (!Buffer.isBuffer(value)) throw new CryptoError('malformed', 'a field is missing');
    return value;
  }
}

/**
 * Decodes a message. Unknown fields of the two wire types are left alone.
 * @throws CryptoError `malformed` for truncated input, other wire types, repeated fields, integers of
 * more than 32 bits.
 */
export function readFields(bytes: Buffer): Fields {
  const values = new Map<number, number | Buffer>();
  let at = 0;
  const integer = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new CryptoError('malformed', 'a truncated message');
      value += (byte & 127) * shift;
      if (value > MAX || shift > 2 ** 28) {
        throw new CryptoError('malformed', 'an integer out of range');
      }
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = integer();
    const number = Math.floor(tag / 8);
    if (number === 0 || values.has(number)) {
      throw new CryptoError('malformed', 'a field number of zero or a repeated field');
    }
    if (tag % 8 === 0) {
      values.set(number, integer());
    } else if (tag % 8 === 2) {
      const length = integer();
      if (length > bytes.length - at) throw new CryptoError('malformed', 'a truncated message');
      values.set(number, Buffer.from(bytes.subarray(at, at + length)));
      at += length;
    } else {
      throw new CryptoError('malformed', 'an unexpected wire type');
    }
  }
  return new Fields(values);
}
