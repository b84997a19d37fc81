/** A session with one device: X3DH, then the Double Ratchet, wrapped in a key exchange until confirmed. */
import { CryptoError } from './errors.ts';
import { generateKeyPair, type KeyPair } from './keys.ts';
import { encodeKeyExchange, type KeyExchange } from './message.ts';
import { profileOf, verifyPreKey, type Profile, type ProfileId } from './profile.ts';
import {
  initiatorRatchet,
  knowsRatchetKey,
  ratchetDecrypt,
  ratchetEncrypt,
  responderRatchet,
  type Ratchet,
} from './ratchet.ts';
import type { Waypoints } from './waypoints.ts';
import { initiatorSecret, responderSecret } from './x3dh.ts';

/** What a device publishes; `identityKey` is in the profile's form, the other keys are X25519. */
export interface Bundle {
  readonly identityKey: Buffer;
  readonly signedPreKeyId: number;
  readonly signedPreKey: Buffer;
  readonly signature: Buffer;
  readonly preKeys: readonly { readonly id: number; readonly key: Buffer }[];
}

/** A session; immutable, and secret as a whole. Identities are in the profile's form. */
export interface SessionState {
  readonly profile: ProfileId;
  readonly role: 'initiator' | 'responder';
  readonly ownIdentity: Buffer;
  readonly peerIdentity: Buffer;
  /** The initiator's base key: it names the key exchange. */
  readonly baseKey: Buffer;
  /** With the initiator until the first answer: what each message repeats. */
  readonly pending?: {
    readonly preKeyId: number;
    readonly signedPreKeyId: number;
    readonly registrationId?: number;
  };
  readonly ratchet: Ratchet;
}

/**
 * Starts a session from a bundle.
 * @throws CryptoError `mac` when the signed prekey's signature does not hold, `malformed` for bad keys.
 */
export function startSession(
  profile: Profile,
  own: { readonly identity: KeyPair; readonly registrationId?: number },
  bundle: Bundle,
  preKeyChoice: { readonly id: number; readonly key: Buffer },
): SessionState {
  const { identityKey, signedPreKey, signedPreKeyId, signature } = bundle;
  if (!verifyPreKey(profile, identityKey, signedPreKey, signature)) {
    throw new CryptoError('mac', 'a signed prekey whose signature does not hold');
  }
  const base = generateKeyPair();
  const secret = initiatorSecret(
    profile,
    { identity: own.identity, base },
    { identity: profile.identityToX25519(identityKey), signedPreKey, preKey: preKeyChoice.key },
  );
  return {
    profile: profile.id,
    role: 'initiator',
    ownIdentity: profile.identityOf(own.identity),
    peerIdentity: identityKey,
    baseKey: base.pub,
    pending: {
      preKeyId: preKeyChoice.id,
      signedPreKeyId,
      ...(own.registrationId === undefined ? {} : { registrationId: own.registrationId }),
    },
    ratchet: initiatorRatchet(profile, secret, signedPreKey),
  };
}

/**
 * Makes the responder's session of a key exchange. Nothing is proven until its message decrypts: only
 * then is the session to be stored and the one-time prekey to be deleted.
 * @throws CryptoError `malformed` for keys of no use.
 */
export function acceptSession(
  profile: Profile,
  identity: KeyPair,
  keyExchange: KeyExchange,
  lookup: { readonly signedPreKey: KeyPair; readonly preKey: KeyPair },
): SessionState {
  const secret = responderSecret(
    profile,
    { identity, signedPreKey: lookup.signedPreKey, preKey: lookup.preKey },
    {
      identity: profile.identityToX25519(keyExchange.identityKey),
      base: keyExchange.baseKey,
    },
  );
  return {
    profile: profile.id,
    role: 'responder',
    ownIdentity: profile.identityOf(identity),
    peerIdentity: keyExchange.identityKey,
    baseKey: keyExchange.baseKey,
    ratchet: responderRatchet(secret, lookup.signedPreKey),
  };
}

function associatedData(profile: Profile, state: SessionState, sending: boolean): Buffer {
  const ownFirst = profile.directional ? sending : state.role === 'initiator';
  const own = profile.encodeKey(state.ownIdentity);
  const peer = profile.encodeKey(state.peerIdentity);
  return Buffer.concat(ownFirst ? [own, peer] : [peer, own]);
}

/**
 * Encrypts a few bytes (a key); the new state must be stored before the message is sent.
 * @throws Error as a responder that has not received anything yet.
 */
export function encrypt(
  state: SessionState,
  plaintext: Buffer,
): { state: SessionState; message: Buffer; isKeyExchange: boolean } {
  const profile = profileOf(state.profile);
  const associated = associatedData(profile, state, true);
  const { ratchet, message } = ratchetEncrypt(profile, state.ratchet, associated, plaintext);
  const next = { ...state, ratchet };
  if (!state.pending) return { state: next, message, isKeyExchange: false };
  const exchange = encodeKeyExchange(profile, {
    ...state.pending,
    identityKey: state.ownIdentity,
    baseKey: state.baseKey,
    message,
  });
  return { state: next, message: exchange, isKeyExchange: true };
}

/**
 * Decrypts a message (of a key exchange: its inner message). The state given stays as it is; the new one
 * must be stored before the plaintext is used.
 * @param limits - `maxAdvance`: the most steps the chain may be advanced, 100,000 at most; `waypoints`:
 * counts the steps, and spares those of a known chain that a message before has cost.
 * @returns also the steps spent, and whether a new receiving chain began.
 * @throws CryptoError of any kind.
 */
export function decrypt(
  state: SessionState,
  message: Buffer,
  limits: { readonly maxAdvance: number; readonly waypoints?: Waypoints },
): { state: SessionState; plaintext: Buffer; advanced: number; ratcheted: boolean } {
  const profile = profileOf(state.profile);
  const associated = associatedData(profile, state, false);
  const { ratchet, plaintext, advanced, ratcheted } = ratchetDecrypt(
    profile,
    state.ratchet,
    associated,
    message,
    limits,
  );
  const { profile: id, role, ownIdentity, peerIdentity, baseKey } = state;
  return {
    state: { profile: id, role, ownIdentity, peerIdentity, baseKey, ratchet },
    plaintext,
    advanced,
    ratcheted,
  };
}

/** Whether a key exchange is the one this session was accepted from: a repetition, not a new session. */
export function matches(state: SessionState, keyExchange: KeyExchange): boolean {
  return (
    state.role === 'responder' &&
    state.baseKey.equals(keyExchange.baseKey) &&
    state.peerIdentity.equals(keyExchange.identityKey)
  );
}

/** Whether messages under this ratchet key belong to this session for certain. */
export function sessionKnows(state: SessionState, ratchetPub: Buffer): boolean {
  return knowsRatchetKey(state.ratchet, ratchetPub);
}
