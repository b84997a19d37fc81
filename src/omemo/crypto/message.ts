/** Messages and key exchanges on the wire: libsignal's format 3, and XEP-0384 0.8.3 §5.2 for omemo:2. */
import { CryptoError } from './errors.ts';
import { readFields, writeFields } from './protobuf.ts';
import type { Profile } from './profile.ts';

/** Longest message or key exchange taken from the network, in bytes. */
export const MAX_MESSAGE = 8192;
const VERSION = 0x33;

/** The header of a message: the sender's ratchet key (32 bytes), position, length of the chain before. */
export interface Header {
  readonly ratchetKey: Buffer;
  readonly n: number;
  readonly pn: number;
}

/** A decoded message; `authenticated` are the bytes under the MAC. */
export interface Message extends Header {
  readonly ciphertext: Buffer;
  readonly authenticated: Buffer;
  readonly mac: Buffer;
}

/** A decoded key exchange; `identityKey` is in the profile's form, `message` an encoded message. */
export interface KeyExchange {
  readonly preKeyId: number;
  readonly signedPreKeyId: number;
  readonly registrationId?: number;
  readonly identityKey: Buffer;
  readonly baseKey: Buffer;
  readonly message: Buffer;
}

function bounded(bytes: Buffer): Buffer {
  if (bytes.length > MAX_MESSAGE) throw new CryptoError('malformed', 'a message too long');
  return bytes;
}

function unversioned(bytes: Buffer): Buffer {
  if (bytes[0] !== VERSION) throw new CryptoError('malformed', 'an unknown message version');
  return bytes.subarray(1);
}

/** Encodes what goes under the MAC. */
export function encodeBody(profile: Profile, header: Header, ciphertext: Buffer): Buffer {
  const key = profile.encodeKey(header.ratchetKey);
  const { n, pn } = header;
  return profile.id === 'legacy'
    ? Buffer.concat([
        Buffer.of(VERSION),
        writeFields([
          [1, key],
          [2, n],
          [3, pn],
          [4, ciphertext],
        ]),
      ])
    : writeFields([
        [1, n],
        [2, pn],
        [3, key],
        [4, ciphertext],
      ]);
}

/** Joins a body and its MAC. */
export function encodeMessage(profile: Profile, body: Buffer, mac: Buffer): Buffer {
  return profile.id === 'legacy'
    ? Buffer.concat([body, mac])
    : writeFields([
        [1, mac],
        [2, body],
      ]);
}

/**
 * Decodes a message; nothing of it is authenticated yet.
 * @throws CryptoError `malformed`.
 */
export function decodeMessage(profile: Profile, bytes: Buffer): Message {
  bounded(bytes);
  let authenticated: Buffer;
  let mac: Buffer;
  if (profile.id === 'legacy') {
    if (bytes.length <= profile.macLength)
      throw new CryptoError('malformed', 'a message too short');
    authenticated = bytes.subarray(0, -profile.macLength);
    mac = bytes.subarray(-profile.macLength);
  } else {
    const outer = readFields(bytes);
    authenticated = outer.bytes(2);
    mac = outer.bytes(1);
    if (mac.length !== profile.macLength) throw new CryptoError('malformed', 'a MAC of wrong size');
  }
  const legacy = profile.id === 'legacy';
  const fields = readFields(legacy ? unversioned(authenticated) : authenticated);
  const ciphertext = fields.bytes(4);
  if (ciphertext.length === 0 || ciphertext.length % 16 !== 0) {
    throw new CryptoError('malformed', 'a ciphertext of wrong size');
  }
  return {
    ratchetKey: profile.decodeKey(fields.bytes(legacy ? 1 : 3)),
    n: fields.int(legacy ? 2 : 1),
    pn: fields.optionalInt(legacy ? 3 : 2) ?? 0,
    ciphertext,
    authenticated,
    mac,
  };
}

/**
 * The header of a message, to find the session it belongs to.
 * @throws CryptoError `malformed`.
 */
export function peekHeader(profile: Profile, message: Buffer): Header {
  const { ratchetKey, n, pn } = decodeMessage(profile, message);
  return { ratchetKey, n, pn };
}

/** Encodes a key exchange. */
export function encodeKeyExchange(profile: Profile, exchange: KeyExchange): Buffer {
  const identity = profile.encodeKey(exchange.identityKey);
  const base = profile.encodeKey(exchange.baseKey);
  const { preKeyId, signedPreKeyId, registrationId, message } = exchange;
  return profile.id === 'legacy'
    ? Buffer.concat([
        Buffer.of(VERSION),
        writeFields([
          [1, preKeyId],
          [2, base],
          [3, identity],
          [4, message],
          ...(registrationId === undefined ? [] : [[5, registrationId] as const]),
          [6, signedPreKeyId],
        ]),
      ])
    : writeFields([
        [1, preKeyId],
        [2, signedPreKeyId],
        [3, identity],
        [4, base],
        [5, message],
      ]);
}

/**
 * Decodes a key exchange; one without a one-time prekey is refused, since it could be replayed.
 * @throws CryptoError `malformed`.
 */
export function parseKeyExchange(profile: Profile, bytes: Buffer): KeyExchange {
  const legacy = profile.id === 'legacy';
  const fields = readFields(legacy ? unversioned(bounded(bytes)) : bounded(bytes));
  const registrationId = legacy ? fields.optionalInt(5) : undefined;
  return {
    preKeyId: fields.int(1),
    signedPreKeyId: fields.int(legacy ? 6 : 2),
    ...(registrationId === undefined ? {} : { registrationId }),
    identityKey: profile.decodeKey(fields.bytes(3)),
    baseKey: profile.decodeKey(fields.bytes(legacy ? 2 : 4)),
    message: fields.bytes(legacy ? 4 : 5),
  };
}
