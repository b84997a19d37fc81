/** The Double Ratchet (Signal's specification, revision 1, §3), immutable: each step makes a new state. */
import { createCipheriv, createDecipheriv, timingSafeEqual } from 'node:crypto';
import { CryptoError } from './errors.ts';
import { hmac, messageKey, messageSecrets, nextChainKey, rootStep } from './kdf.ts';
import { agree, generateKeyPair, type KeyPair } from './keys.ts';
import { decodeMessage, encodeBody, encodeMessage, type Message } from './message.ts';
import type { Profile } from './profile.ts';
import type { Waypoints } from './waypoints.ts';

/** Most message keys stored for messages that are still missing; the oldest go first. */
export const MAX_SKIPPED = 1000;
/** Most steps a chain is advanced at once, whatever the caller allows. */
export const MAX_ADVANCE = 100_000;
/** Receiving chains kept: peers disagree about `pn`, so an old chain stays usable instead. */
export const MAX_CHAINS = 5;

/** A chain to receive on; `next` is the position of `chainKey`. */
export interface ReceivingChain {
  readonly ratchetKey: Buffer;
  readonly chainKey: Buffer;
  readonly next: number;
}

/** The key of one message that has not come yet. */
export interface SkippedKey {
  readonly ratchetKey: Buffer;
  readonly n: number;
  readonly key: Buffer;
}

/** What changes from message to message. */
export interface Ratchet {
  readonly rootKey: Buffer;
  /** Our present ratchet pair. */
  readonly own: KeyPair;
  /** Absent until the responder has received its first message. */
  readonly sending?: { readonly chainKey: Buffer; readonly n: number };
  /** Length of the sending chain before this one. */
  readonly pn: number;
  /** Oldest first. */
  readonly receiving: readonly ReceivingChain[];
  /** Oldest first. */
  readonly skipped: readonly SkippedKey[];
}

/** Starts as the initiator: the peer's signed prekey is its first ratchet key. */
export function initiatorRatchet(profile: Profile, secret: Buffer, signedPreKey: Buffer): Ratchet {
  const own = generateKeyPair();
  const step = rootStep(secret, agree(own.priv, signedPreKey), profile.info.root);
  return {
    rootKey: step.rootKey,
    own,
    sending: { chainKey: step.chainKey, n: 0 },
    pn: 0,
    receiving: [],
    skipped: [],
  };
}

/** Starts as the responder: our signed prekey is our first ratchet pair. */
export function responderRatchet(secret: Buffer, signedPreKey: KeyPair): Ratchet {
  return { rootKey: secret, own: signedPreKey, pn: 0, receiving: [], skipped: [] };
}

/** Encrypts one message. */
export function ratchetEncrypt(
  profile: Profile,
  ratchet: Ratchet,
  associated: Buffer,
  plaintext: Buffer,
): { ratchet: Ratchet; message: Buffer } {
  const { sending } = ratchet;
  if (!sending) throw new Error('a responder can send only after it has received');
  const { cipher, auth, iv } = messageSecrets(messageKey(sending.chainKey), profile.info.message);
  const aes = createCipheriv('aes-256-cbc', cipher, iv);
  const ciphertext = Buffer.concat([aes.update(plaintext), aes.final()]);
  const header = { ratchetKey: ratchet.own.pub, n: sending.n, pn: ratchet.pn };
  const body = encodeBody(profile, header, ciphertext);
  const mac = hmac(auth, associated, body).subarray(0, profile.macLength);
  return {
    ratchet: {
      ...ratchet,
      sending: { chainKey: nextChainKey(sending.chainKey), n: sending.n + 1 },
    },
    message: encodeMessage(profile, body, mac),
  };
}

/** A decrypted message with the state after it. */
export interface Decrypted {
  readonly ratchet: Ratchet;
  readonly plaintext: Buffer;
  /** Steps the chain was advanced beyond the next expected message. */
  readonly advanced: number;
  /** Whether the message began a new receiving chain. */
  readonly ratcheted: boolean;
}

/** Whether messages under this ratchet key belong here for certain. */
export function knowsRatchetKey(ratchet: Ratchet, key: Buffer): boolean {
  return [...ratchet.receiving, ...ratchet.skipped].some((one) => one.ratchetKey.equals(key));
}

/**
 * Decrypts one message; the state given is left as it is.
 * @throws CryptoError of any kind.
 */
export function ratchetDecrypt(
  profile: Profile,
  ratchet: Ratchet,
  associated: Buffer,
  bytes: Buffer,
  limits: { readonly maxAdvance: number; readonly waypoints?: Waypoints },
): Decrypted {
  const message = decodeMessage(profile, bytes);
  const open = (key: Buffer, kind: 'mac' | 'other-session') =>
    decryptBody(profile, key, associated, message, kind);
  const limit = Math.min(limits.maxAdvance, MAX_ADVANCE);

  const stored = ratchet.skipped.find(
    (one) => one.n === message.n && one.ratchetKey.equals(message.ratchetKey),
  );
  if (stored) {
    const plaintext = open(stored.key, 'mac');
    const skipped = ratchet.skipped.filter((one) => one !== stored);
    return { ratchet: { ...ratchet, skipped }, plaintext, advanced: 0, ratcheted: false };
  }

  const chain = ratchet.receiving.find((one) => one.ratchetKey.equals(message.ratchetKey));
  if (chain) {
    const moved = advance(chain, message.n, limit, limits.waypoints);
    const plaintext = open(moved.key, 'mac');
    const receiving = ratchet.receiving.map((one) => (one === chain ? moved.chain : one));
    const skipped = [...ratchet.skipped, ...moved.skipped].slice(-MAX_SKIPPED);
    return {
      ratchet: { ...ratchet, receiving, skipped },
      plaintext,
      advanced: message.n - chain.next,
      ratcheted: false,
    };
  }
  if (knowsRatchetKey(ratchet, message.ratchetKey)) {
    throw new CryptoError('duplicate', 'a message of a chain long past');
  }

  const { root } = profile.info;
  const received = rootStep(ratchet.rootKey, agree(ratchet.own.priv, message.ratchetKey), root);
  const fresh = { ratchetKey: message.ratchetKey, chainKey: received.chainKey, next: 0 };
  const moved = advance(fresh, message.n, limit, limits.waypoints, true);
  const plaintext = open(moved.key, 'other-session');
  const own = generateKeyPair();
  const sent = rootStep(received.rootKey, agree(own.priv, message.ratchetKey), root);
  return {
    ratchet: {
      rootKey: sent.rootKey,
      own,
      sending: { chainKey: sent.chainKey, n: 0 },
      pn: ratchet.sending?.n ?? 0,
      receiving: [...ratchet.receiving, moved.chain].slice(-MAX_CHAINS),
      skipped: [...ratchet.skipped, ...moved.skipped].slice(-MAX_SKIPPED),
    },
    plaintext,
    advanced: message.n,
    ratcheted: true,
  };
}

/**
 * The message key at position `n`, those before it that are worth storing, and the chain after it.
 *
 * @param isNew - nothing proves the ratchet key: its way is counted, but not remembered
 */
function advance(
  chain: ReceivingChain,
  n: number,
  limit: number,
  waypoints?: Waypoints,
  isNew = false,
): { key: Buffer; skipped: SkippedKey[]; chain: ReceivingChain } {
  if (n < chain.next) throw new CryptoError('duplicate', 'a message received already');
  if (n - chain.next > limit) throw new CryptoError('too-far', 'a message too far ahead');
  const { ratchetKey } = chain;
  const skipped: SkippedKey[] = [];
  const start = isNew
    ? undefined
    : waypoints?.nearest(ratchetKey, chain.next, Math.max(chain.next, n - MAX_SKIPPED));
  let chainKey = start?.chainKey ?? chain.chainKey;
  for (let at = start?.at ?? chain.next; at < n; at++) {
    if (n - at <= MAX_SKIPPED) skipped.push({ ratchetKey, n: at, key: messageKey(chainKey) });
    chainKey = nextChainKey(chainKey);
    if (isNew) waypoints?.count();
    else waypoints?.passed(ratchetKey, at + 1, chainKey);
  }
  return {
    key: messageKey(chainKey),
    skipped,
    chain: { ratchetKey, chainKey: nextChainKey(chainKey), next: n + 1 },
  };
}

function decryptBody(
  profile: Profile,
  key: Buffer,
  associated: Buffer,
  message: Message,
  kind: 'mac' | 'other-session',
): Buffer {
  const { cipher, auth, iv } = messageSecrets(key, profile.info.message);
  const mac = hmac(auth, associated, message.authenticated).subarray(0, profile.macLength);
  if (!timingSafeEqual(mac, message.mac)) throw new CryptoError(kind, 'a message not authentic');
  try {
    const aes = createDecipheriv('aes-256-cbc', cipher, iv);
    return Buffer.concat([aes.update(message.ciphertext), aes.final()]);
  } catch {
    throw new CryptoError('malformed', 'a message with bad padding');
  }
}
