/**
 * The two descriptions of one ratchet: OMEMO 0.3 (XEP-0384 0.3.0, as deployed) and `urn:xmpp:omemo:2`
 * (XEP-0384 0.8.3). Everything in which they differ is here and in message.ts.
 */
import { CryptoError } from './errors.ts';
import {
  ed25519Verify,
  edwardsOf,
  montgomeryFromEdwards,
  xeddsaSign,
  xeddsaVerify,
  type KeyPair,
} from './keys.ts';

/** Which description a session was made under. */
export type ProfileId = 'legacy' | 'omemo2';

/** One description. An identity key is in the profile's form: X25519 (legacy) or Ed25519 (omemo2). */
export interface Profile {
  readonly id: ProfileId;
  /** The XML namespace. */
  readonly namespace: string;
  /** HKDF info strings. */
  readonly info: { readonly x3dh: string; readonly root: string; readonly message: string };
  /** Bytes of the truncated MAC. */
  readonly macLength: number;
  /** Whether the associated data is in the order sender, recipient; else initiator, responder. */
  readonly directional: boolean;
  /** A public key as on the wire. */
  encodeKey(pub: Buffer): Buffer;
  /** A public key from the wire, 32 bytes; throws CryptoError `malformed`. */
  decodeKey(bytes: Buffer): Buffer;
  /** The public identity of a pair, in the profile's form. */
  identityOf(pair: KeyPair): Buffer;
  /** The X25519 form of an identity in the profile's form; throws CryptoError `malformed`. */
  identityToX25519(identity: Buffer): Buffer;
  /** Verifies a signature over a public key as on the wire. */
  verify(identity: Buffer, data: Buffer, signature: Buffer): boolean;
}

function bytes32(bytes: Buffer): Buffer {
  if (bytes.length !== 32) throw new CryptoError('malformed', 'a public key must have 32 bytes');
  return bytes;
}

/** `eu.siacs.conversations.axolotl`. */
export const LEGACY: Profile = {
  id: 'legacy',
  namespace: 'eu.siacs.conversations.axolotl',
  info: { x3dh: 'WhisperText', root: 'WhisperRatchet', message: 'WhisperMessageKeys' },
  macLength: 8,
  directional: true,
  encodeKey: (pub) => Buffer.concat([Buffer.of(5), pub]),
  decodeKey: (bytes) => {
    if (bytes.length !== 33 || bytes[0] !== 5) {
      throw new CryptoError('malformed', 'a public key must have 33 bytes, the first of them 5');
    }
    return Buffer.from(bytes.subarray(1));
  },
  identityOf: (pair) => pair.pub,
  identityToX25519: bytes32,
  verify: xeddsaVerify,
};

/** `urn:xmpp:omemo:2`. */
export const OMEMO2: Profile = {
  id: 'omemo2',
  namespace: 'urn:xmpp:omemo:2',
  info: {
    x3dh: 'OMEMO X3DH',
    root: 'OMEMO Root Chain',
    message: 'OMEMO Message Key Material',
  },
  macLength: 16,
  directional: false,
  encodeKey: (pub) => pub,
  decodeKey: (bytes) => Buffer.from(bytes32(bytes)),
  identityOf: (pair) => edwardsOf(pair.priv),
  identityToX25519: (identity) => montgomeryFromEdwards(bytes32(identity)),
  verify: ed25519Verify,
};

/** The description with this identifier. */
export function profileOf(id: ProfileId): Profile {
  return id === 'legacy' ? LEGACY : OMEMO2;
}

/** Signs a signed prekey (32 bytes) with the identity's private key. */
export function signPreKey(profile: Profile, identityPriv: Buffer, spkPub: Buffer): Buffer {
  return xeddsaSign(identityPriv, profile.encodeKey(spkPub));
}

/** Whether the signed prekey is the identity's own; `identity` in the profile's form. */
export function verifyPreKey(
  profile: Profile,
  identity: Buffer,
  spkPub: Buffer,
  signature: Buffer,
): boolean {
  return profile.verify(identity, profile.encodeKey(spkPub), signature);
}

/** The fingerprint people compare: 64 lower-case hexadecimal digits of the X25519 identity key. */
export function fingerprint(identityPub: Buffer): string {
  return bytes32(identityPub).toString('hex');
}
