/** Curve25519 keys: X25519 (RFC 7748), XEdDSA (Signal's specification, revision 1), and Ed25519 forms. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
  randomBytes,
  verify,
} from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import { CryptoError } from './errors.ts';

/** An X25519 pair: 32 bytes each, `priv` as random bytes that are clamped on use. */
export interface KeyPair {
  readonly priv: Buffer;
  readonly pub: Buffer;
}

const ORDER = ed25519.Point.Fn.ORDER;
const { Fp } = ed25519.Point;

/** Has to be there, and is not read: the public key is computed from the private one. */
const ANY = Buffer.alloc(32).toString('base64url');

// As JSON Web Keys (RFC 8037): OpenSSL reads these several times faster than DER.
function importPrivate(priv: Buffer): KeyObject {
  const key = { kty: 'OKP', crv: 'X25519', d: priv.toString('base64url'), x: ANY };
  return createPrivateKey({ key, format: 'jwk' });
}

function importPublic(crv: 'X25519' | 'Ed25519', pub: Buffer): KeyObject {
  const key = { kty: 'OKP', crv, x: pub.toString('base64url') };
  return createPublicKey({ key, format: 'jwk' });
}

/** The X25519 pair of a private key of 32 bytes. */
export function keyPairOf(priv: Buffer): KeyPair {
  const { x } = importPrivate(priv).export({ format: 'jwk' });
  if (x === undefined) throw new Error('a key without its public half');
  return { priv: Buffer.from(priv), pub: Buffer.from(x, 'base64url') };
}

/** A new X25519 pair from the system's random source. */
export function generateKeyPair(): KeyPair {
  return keyPairOf(randomBytes(32));
}

/**
 * X25519 (RFC 7748 §6.1).
 * @throws CryptoError `malformed` when the result is all zero: the peer's point has a small order.
 */
export function agree(priv: Buffer, pub: Buffer): Buffer {
  if (pub.length !== 32) throw new CryptoError('malformed', 'a public key must have 32 bytes');
  let shared: Buffer;
  try {
    shared = diffieHellman({
      privateKey: importPrivate(priv),
      publicKey: importPublic('X25519', pub),
    });
  } catch {
    throw new CryptoError('malformed', 'a public key of small order');
  }
  if (shared.every((byte) => byte === 0)) {
    throw new CryptoError('malformed', 'a public key of small order');
  }
  return shared;
}

function fromLittleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
}

function toLittleEndian(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse();
}

function sha512(...parts: Uint8Array[]): bigint {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return fromLittleEndian(hash.digest()) % ORDER;
}

/** The scalar and the Ed25519 key, sign bit 0, of an X25519 private key (XEdDSA §2.3). */
function edwardsPair(priv: Buffer): { scalar: bigint; pub: Buffer } {
  const clamped = Buffer.from(priv);
  clamped.writeUInt8(clamped.readUInt8(0) & 248, 0);
  clamped.writeUInt8((clamped.readUInt8(31) & 127) | 64, 31);
  const scalar = fromLittleEndian(clamped) % ORDER;
  const pub = Buffer.from(ed25519.Point.BASE.multiply(scalar).toBytes());
  const negative = (pub.readUInt8(31) & 128) !== 0;
  pub.writeUInt8(pub.readUInt8(31) & 127, 31);
  return { scalar: negative ? ORDER - scalar : scalar, pub };
}

/** The Ed25519 key, sign bit 0, that verifies what {@link xeddsaSign} signs with this private key. */
export function edwardsOf(priv: Buffer): Buffer {
  return edwardsPair(priv).pub;
}

/** XEdDSA signature of 64 bytes (XEdDSA §2.4); it verifies as Ed25519 under {@link edwardsOf}. */
export function xeddsaSign(priv: Buffer, data: Buffer): Buffer {
  const { scalar, pub } = edwardsPair(priv);
  const prefix = Buffer.alloc(32, 0xff);
  prefix.writeUInt8(0xfe, 0);
  const nonce = sha512(prefix, toLittleEndian(scalar), data, randomBytes(64));
  const commitment = Buffer.from(ed25519.Point.BASE.multiply(nonce).toBytes());
  const challenge = sha512(commitment, pub, data);
  return Buffer.concat([commitment, toLittleEndian((nonce + challenge * scalar) % ORDER)]);
}

/** Whether an Ed25519 signature (RFC 8032) holds; false for any malformed input. */
export function ed25519Verify(pub: Buffer, data: Buffer, signature: Buffer): boolean {
  if (pub.length !== 32 || signature.length !== 64) return false;
  try {
    return verify(null, data, importPublic('Ed25519', pub), signature);
  } catch {
    return false;
  }
}

/** Whether an XEdDSA signature under an X25519 key holds; the sign bit is the signature's top bit. */
export function xeddsaVerify(pub: Buffer, data: Buffer, signature: Buffer): boolean {
  if (pub.length !== 32 || signature.length !== 64) return false;
  const top = signature.readUInt8(63);
  const plain = Buffer.from(signature);
  plain.writeUInt8(top & 127, 63);
  try {
    return ed25519Verify(edwardsFromMontgomery(pub, (top & 128) !== 0), data, plain);
  } catch {
    return false;
  }
}

/**
 * The Ed25519 form of an X25519 key: y = (u − 1) / (u + 1) (RFC 7748 §4.1).
 * @throws CryptoError `malformed` for a key without such a form.
 */
export function edwardsFromMontgomery(pub: Buffer, negative: boolean): Buffer {
  const masked = Buffer.from(pub);
  masked.writeUInt8(masked.readUInt8(31) & 127, 31);
  const u = Fp.create(fromLittleEndian(masked));
  const below = Fp.add(u, 1n);
  if (below === 0n) throw new CryptoError('malformed', 'a public key without an Edwards form');
  const edwards = toLittleEndian(Fp.div(Fp.sub(u, 1n), below));
  if (negative) edwards.writeUInt8(edwards.readUInt8(31) | 128, 31);
  return edwards;
}

/**
 * The X25519 form of an Ed25519 key: u = (1 + y) / (1 − y) (RFC 7748 §4.1).
 * @throws CryptoError `malformed` when the bytes are no point of the curve.
 */
export function montgomeryFromEdwards(pub: Buffer): Buffer {
  try {
    ed25519.Point.fromBytes(pub).assertValidity();
    return Buffer.from(ed25519.utils.toMontgomery(pub));
  } catch {
    throw new CryptoError('malformed', 'an identity key that is no point of the curve');
  }
}
