/** The form of the files in test/vectors/jet; test/vectors/jet/README.md says the same in words. */

/** What can come out; the README says what each means. */
export const OUTCOMES = [
  'success',
  'malformed file',
  'not encrypted',
  'malformed security',
  'unknown cipher',
  'unknown envelope',
  'malformed envelope',
  'envelope for another device',
  'envelope from a stranger',
  'envelope replayed',
  'envelope changed',
  'key reused as IV',
  'no such range',
  'size mismatch',
  'tag mismatch',
  'hash mismatch',
] as const;
/** One of them. */
export type Outcome = (typeof OUTCOMES)[number];

/** An X25519 pair, hexadecimal. */
export interface VectorPair {
  readonly private: string;
  readonly public: string;
}

/** A pair that goes by a number. */
export interface NumberedPair extends VectorPair {
  readonly id: number;
}

/** A device that the reader trusts. */
export interface TrustedDevice {
  readonly jid: string;
  readonly device: number;
  /** Hexadecimal, 32 bytes, X25519. */
  readonly identityKey: string;
}

/** The OMEMO device that opens the envelopes. */
export interface VectorDevice {
  readonly device: number;
  readonly identity: VectorPair;
  readonly signedPreKeys: readonly NumberedPair[];
  readonly preKeys: readonly NumberedPair[];
  readonly trusted: readonly TrustedDevice[];
}

/** Bytes: as they are (base64), or by the rule of the README. */
export type VectorBytes =
  { readonly base64: string } | { readonly seed: string; readonly length: number };

/** What goes over the bytestream: as it is, or by its length, SHA-256 and tag (hexadecimal). */
export type VectorWire =
  | { readonly base64: string }
  | { readonly length: number; readonly sha256: string; readonly tag: string };

/** One content that the other side has made. */
export interface VectorContent {
  readonly creator: 'initiator' | 'responder';
  readonly name: string;
  readonly outcome: Outcome;
  /** Where a reader that takes size + 16 bytes and looks at no more comes to something else. */
  readonly stoppingEarly?: Outcome;
  /** What the sender encrypted with, hexadecimal. */
  readonly secret: { readonly key: string; readonly iv: string };
  /** What the sender encrypted; given out by a reader only after success. */
  readonly plaintext: VectorBytes;
  /** The whole file, where the stream is to hold only a part. */
  readonly file?: VectorBytes;
  readonly wire: VectorWire;
}

/** A file. */
export interface JetVector {
  readonly name: string;
  readonly about: string;
  /** That of the first content which does not succeed. */
  readonly outcome: Outcome;
  readonly reader: { readonly jid: string; readonly omemo?: VectorDevice };
  /** OMEMO messages (XML) that the reader's device took before. */
  readonly before?: readonly string[];
  /** XML, in the order of their time. */
  readonly stanzas: readonly string[];
  readonly contents: readonly VectorContent[];
}
