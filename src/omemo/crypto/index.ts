/** The OMEMO cryptographic core: pure functions over immutable states. */
export { CryptoError, type CryptoErrorKind } from './errors.ts';
export { agree, generateKeyPair, keyPairOf, type KeyPair } from './keys.ts';
export { parseKeyExchange, peekHeader, type Header, type KeyExchange } from './message.ts';
export {
  fingerprint,
  LEGACY,
  OMEMO2,
  profileOf,
  signPreKey,
  verifyPreKey,
  type Profile,
  type ProfileId,
} from './profile.ts';
export { MAX_ADVANCE } from './ratchet.ts';
export { Waypoints } from './waypoints.ts';
export { restoreSession, serialiseSession } from './serialise.ts';
export {
  acceptSession,
  decrypt,
  encrypt,
  matches,
  sessionKnows,
  startSession,
  type Bundle,
  type SessionState,
} from './session.ts';
