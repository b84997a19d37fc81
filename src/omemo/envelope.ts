/** XEP-0396 0.1 (JET-OMEMO): the transport secret in an OMEMO key transport element. */
import { createCipheriv, randomBytes } from 'node:crypto';
import type { Element } from '../xmpp/xml.ts';
import { wipe } from '../core/bytes.ts';
import type { Jid } from '../core/jid.ts';
import {
  type Envelope,
  EnvelopeError,
  type EnvelopeIdentity,
  type OpenedEnvelope,
  type TransportSecret,
} from '../jet/envelope.ts';
import { agree, CryptoError, type KeyPair } from './crypto/index.ts';
import type { Decrypted } from './sessions.ts';
import { type KeyEntry, readEncrypted, writeEncrypted } from './header.ts';
import { NS_OMEMO } from './names.ts';

/** Bytes of the key that XEP-0396 §3 carries, and of a GCM tag. */
const KEY = 16;
const TAG = 16;

/** What the envelope needs of the account's OMEMO state. */
export interface EnvelopeContext {
  /** Our device id. @throws JetError before the device was made */
  deviceId(): number;
  /**
   * Encrypts something for every trusted device of an account; committed.
   * @param plaintext - what one device gets
   * @throws JetError (exit 6) when there is no trusted device
   */
  encryptFor(to: Jid, plaintext: (device: Recipient) => Buffer): Promise<KeyEntry[]>;
  /**
   * The same for one device alone, that may be a jet's.
   * @throws JetError (exit 6) when it is not listed or not trusted
   */
  encryptForOne(to: Jid, device: number, plaintext: Buffer): Promise<OneEntry>;
  /** Decrypts if the device is trusted; durable. @throws EnvelopeError */
  decryptFrom(jid: Jid, device: number, entry: KeyEntry): Promise<Decrypted>;
  /** Remembers how a device writes its envelopes. */
  learn(identityKey: Buffer, tagged: boolean): void;
  /** Our identity key pair. @throws JetError before the device was made */
  identity(): KeyPair;
  isJet(identityKey: Buffer): boolean;
  rememberJet(identityKey: Buffer, of: Jid): void;
}

/** One device's share, and whose it is. */
export interface OneEntry {
  readonly entry: KeyEntry;
  /** 32 bytes. */
  readonly identityKey: Buffer;
}

/** A device that an envelope is for. */
export interface Recipient {
  readonly device: number;
  /** 64 lower-case hex digits. */
  readonly fingerprint: string;
  /** It reads the key only with a tag behind it that fits the payload. */
  readonly tagged: boolean;
}

/** Makes the JET-OMEMO envelope of an account. */
export function omemoEnvelope(context: EnvelopeContext): Envelope {
  return {
    type: NS_OMEMO,
    feature: 'urn:xmpp:jingle:jet-omemo:0',
    ciphers: ['urn:xmpp:ciphers:aes-128-gcm-nopadding'],
    seal: (secret, to) => seal(context, secret, to),
    open: (envelope, from, keyLength) => open(context, envelope, from, keyLength),
    identity: () => identityOf(context),
  };
}

function identityOf(context: EnvelopeContext): EnvelopeIdentity {
  const pair = context.identity();
  return {
    device: context.deviceId(),
    key: pair.pub,
    seal: async (secret, to, device) => {
      checkKey(secret);
      const { entry, identityKey } = await context.encryptForOne(to, device, secret.key);
      const element = writeEncrypted(context.deviceId(), [entry], secret.iv);
      return { element, recipient: identityKey };
    },
    agree: (peer) => {
      try {
        return agree(pair.priv, peer);
      } catch (error) {
        if (!(error instanceof CryptoError)) throw error;
        throw new EnvelopeError('malformed', 'The identity key is of no use.', { cause: error });
      }
    },
    isJet: (peer) => context.isJet(peer),
    rememberJet: (peer, of) => context.rememberJet(peer, of),
  };
}

function checkKey(secret: TransportSecret): void {
  if (secret.key.length !== KEY) throw new RangeError('JET-OMEMO carries keys of 16 bytes only');
}

async function seal(context: EnvelopeContext, secret: TransportSecret, to: Jid): Promise<Element> {
  checkKey(secret);
  // Libervia decrypts a payload and checks its tag, and takes a random IV where there is none.
  // Random plaintext, forgotten at once: neither it nor the tag shows anything of the key stream.
  const cipher = createCipheriv('aes-128-gcm', secret.key, secret.iv, { authTagLength: TAG });
  const filler = randomBytes(KEY);
  const payload = Buffer.concat([cipher.update(filler), cipher.final()]);
  const long = Buffer.concat([secret.key, cipher.getAuthTag()]);
  try {
    const entries = await context.encryptFor(to, ({ tagged }) => (tagged ? long : secret.key));
    return writeEncrypted(context.deviceId(), entries, secret.iv, payload);
  } finally {
    wipe(filler, long);
  }
}

async function open(
  context: EnvelopeContext,
  envelope: Element,
  from: Jid,
  keyLength: number,
): Promise<OpenedEnvelope> {
  const header = readEncrypted(envelope, context.deviceId());
  if (header === 'not-for-us') {
    throw new EnvelopeError('not-for-us', 'The envelope holds no key for this device.');
  }
  if (header === 'malformed' || (header.iv?.length !== 12 && header.iv?.length !== 16)) {
    throw new EnvelopeError('malformed', 'The envelope is malformed.');
  }
  const { plaintext, identityKey } = await context.decryptFrom(
    from.bare,
    header.sender,
    header.entry,
  );
  const tagged = plaintext.length === keyLength + TAG;
  if (!tagged && plaintext.length !== keyLength) {
    wipe(plaintext);
    throw new EnvelopeError('malformed', 'The key in the envelope does not fit the cipher.');
  }
  context.learn(identityKey, tagged);
  const key = Buffer.from(plaintext.subarray(0, keyLength));
  wipe(plaintext);
  return {
    secret: { key, iv: header.iv },
    sender: { jid: from.bare, device: header.sender, identityKey },
  };
}
