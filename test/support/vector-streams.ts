/** The bytes of vectors: cut into pieces, encrypted, decrypted, and as a bytestream. */
import { createHash } from 'node:crypto';
import { Duplex } from 'node:stream';
import type { Outcome, VectorBytes, VectorContent } from '../../scripts/jet/format.ts';
import { byRule } from '../../scripts/jet/build.ts';
import type { Cipher } from '../../src/jet/cipher.ts';
import type { TransportSecret } from '../../src/jet/envelope.ts';
import { Decryptor, Encryptor } from '../../src/jet/gcm.ts';
import { outcomeOf } from './vector-outcomes.ts';

/** How bytes are cut, of stanzas and of streams alike. */
export const WAYS = ['whole', 'streamed', 'byte by byte'] as const;
/** One of them. */
export type Way = (typeof WAYS)[number];

const PIECES: Readonly<Record<Way, readonly number[]>> = {
  whole: [Infinity],
  streamed: [1, 15, 16, 17, 64, 4096, 65_536, 3],
  'byte by byte': [1],
};

/** Cuts bytes. */
export function pieces(bytes: Buffer, way: Way): Buffer[] {
  const found: Buffer[] = [];
  const sizes = PIECES[way];
  for (let at = 0; at < bytes.length;) {
    const size = Math.min(sizes[found.length % sizes.length] ?? 1, bytes.length - at);
    found.push(bytes.subarray(at, at + size));
    at += size;
  }
  return found;
}

/** The bytes that a vector shows. */
export function bytesOf(shown: VectorBytes): Buffer {
  return 'base64' in shown ? Buffer.from(shown.base64, 'base64') : byRule(shown.seed, shown.length);
}

/** The wire; where a vector tells only its digest, from the plaintext and the secret of the envelope. */
export function wireOf(
  { wire, plaintext }: Pick<VectorContent, 'wire' | 'plaintext'>,
  cipher: Cipher,
  secret: TransportSecret,
): Buffer {
  if ('base64' in wire) return Buffer.from(wire.base64, 'base64');
  const made = encryptAll(bytesOf(plaintext), cipher, secret, 'whole');
  const sha256 = createHash('sha256').update(made).digest('hex');
  const tag = made.subarray(-16).toString('hex');
  if (made.length !== wire.length || sha256 !== wire.sha256 || tag !== wire.tag)
    throw new Error('the plaintext does not become the wire of the vector');
  return made;
}

/** Encrypts piece by piece. */
export function encryptAll(
  plaintext: Buffer,
  cipher: Cipher,
  secret: TransportSecret,
  way: Way,
): Buffer {
  const encryptor = new Encryptor(cipher, secret);
  const parts = pieces(plaintext, way).map((piece) => encryptor.update(piece));
  return Buffer.concat([...parts, encryptor.final()]);
}

/** Decrypts piece by piece, every byte of the wire. */
export function decryptAll(
  wire: Buffer,
  cipher: Cipher,
  secret: TransportSecret,
  size: number,
  way: Way,
): Outcome {
  try {
    const decryptor = new Decryptor(cipher, secret, size);
    for (const piece of pieces(wire, way)) decryptor.update(piece);
    decryptor.final();
    return 'success';
  } catch (error) {
    return outcomeOf(error);
  }
}

/** A stream whose reader gets exactly these pieces, one after another. */
export function streamOf(wire: Buffer, way: Way): Duplex {
  const left = pieces(wire, way);
  return new Duplex({
    readableHighWaterMark: 1,
    read() {
      const push = () => this.push(left.shift() ?? null);
      // Within read() two pieces would be joined.
      queueMicrotask(push);
    },
    write(_bytes, _encoding, done) {
      done();
    },
  });
}
