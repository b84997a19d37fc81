/** X3DH key agreement (Signal's specification, revision 1, §3.3 and §3.4), always with a one-time prekey. */
import { x3dhSecret } from './kdf.ts';
import { agree, type KeyPair } from './keys.ts';
import type { Profile } from './profile.ts';

/** The initiator's shared secret, 32 bytes; the peer's keys are X25519. */
export function initiatorSecret(
  profile: Profile,
  own: { identity: KeyPair; base: KeyPair },
  peer: { identity: Buffer; signedPreKey: Buffer; preKey: Buffer },
): Buffer {
  return x3dhSecret(
    [
      agree(own.identity.priv, peer.signedPreKey),
      agree(own.base.priv, peer.identity),
      agree(own.base.priv, peer.signedPreKey),
      agree(own.base.priv, peer.preKey),
    ],
    profile.info.x3dh,
  );
}

/** The responder's shared secret, 32 bytes; the peer's keys are X25519. */
export function responderSecret(
  profile: Profile,
  own: { identity: KeyPair; signedPreKey: KeyPair; preKey: KeyPair },
  peer: { identity: Buffer; base: Buffer },
): Buffer {
  return x3dhSecret(
    [
      agree(own.signedPreKey.priv, peer.identity),
      agree(own.identity.priv, peer.base),
      agree(own.signedPreKey.priv, peer.base),
      agree(own.preKey.priv, peer.base),
    ],
    profile.info.x3dh,
  );
}
