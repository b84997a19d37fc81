/** A session as bytes for the database: version 1, integers big-endian, keys of 32 bytes. */
import { MAX_CHAINS, MAX_SKIPPED, type Ratchet } from './ratchet.ts';
import type { SessionState } from './session.ts';

const VERSION = 1;
const OMEMO2 = 1;
const RESPONDER = 2;
const PENDING = 4;
const REGISTRATION = 8;
const SENDING = 16;

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Encodes a session; about 300 bytes, and 68 for each stored message key. */
export function serialiseSession(state: SessionState): Buffer {
  const { ratchet, pending } = state;
  const { sending, receiving, skipped } = ratchet;
  const flags =
    (state.profile === 'omemo2' ? OMEMO2 : 0) |
    (state.role === 'responder' ? RESPONDER : 0) |
    (pending ? PENDING : 0) |
    (pending?.registrationId === undefined ? 0 : REGISTRATION) |
    (sending ? SENDING : 0);
  const parts = [
    Buffer.of(VERSION, flags),
    ...[state.ownIdentity, state.peerIdentity, state.baseKey],
    ...[ratchet.rootKey, ratchet.own.priv, ratchet.own.pub, uint32(ratchet.pn)],
  ];
  if (pending) parts.push(uint32(pending.preKeyId), uint32(pending.signedPreKeyId));
  if (pending?.registrationId !== undefined) parts.push(uint32(pending.registrationId));
  if (sending) parts.push(sending.chainKey, uint32(sending.n));
  parts.push(uint32(receiving.length), uint32(skipped.length));
  for (const one of receiving) parts.push(one.ratchetKey, one.chainKey, uint32(one.next));
  for (const one of skipped) parts.push(one.ratchetKey, uint32(one.n), one.key);
  return Buffer.concat(parts);
}

/**
 * Decodes a session.
 * @throws Error when the bytes are of another version or damaged: the database is not as we left it.
 */
export function restoreSession(bytes: Buffer): SessionState {
  let at = 2;
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new Error('a stored session is damaged');
    at += length;
    return Buffer.from(bytes.subarray(at - length, at));
  };
  const key = () => take(32);
  const integer = () => take(4).readUInt32BE();
  const count = (most: number): number[] => {
    const value = integer();
    if (value > most) throw new Error('a stored session is damaged');
    return Array.from({ length: value }, (_, index) => index);
  };
  const flags = bytes[1];
  if (bytes[0] !== VERSION || flags === undefined || flags >= 32) {
    throw new Error('a stored session of an unknown version');
  }
  const head = { ownIdentity: key(), peerIdentity: key(), baseKey: key() };
  const base = { rootKey: key(), own: { priv: key(), pub: key() }, pn: integer() };
  const pending =
    (flags & PENDING) === 0
      ? {}
      : {
          pending: {
            preKeyId: integer(),
            signedPreKeyId: integer(),
            ...((flags & REGISTRATION) === 0 ? {} : { registrationId: integer() }),
          },
        };
  const sending = (flags & SENDING) === 0 ? {} : { sending: { chainKey: key(), n: integer() } };
  const chains = count(MAX_CHAINS);
  const keys = count(MAX_SKIPPED);
  const ratchet: Ratchet = {
    ...base,
    ...sending,
    receiving: chains.map(() => ({ ratchetKey: key(), chainKey: key(), next: integer() })),
    skipped: keys.map(() => ({ ratchetKey: key(), n: integer(), key: key() })),
  };
  if (at !== bytes.length) throw new Error('a stored session is damaged');
  return {
    profile: (flags & OMEMO2) === 0 ? 'legacy' : 'omemo2',
    role: (flags & RESPONDER) === 0 ? 'initiator' : 'responder',
    ...head,
    ...pending,
    ratchet,
  };
}
