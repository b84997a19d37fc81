/**
 * XEP-0391 §4 and §7 (version 0.1.2): from a fresh secret to the security element of an offer or a
 * request, and back with every check. Both sides have the same secret after that, whoever encrypts.
 */
import type { Element } from '@xmpp/xml';
import type { Jid } from '../core/jid.ts';
import type { Cipher, CipherRegistry } from './cipher.ts';
import type {
  Envelope,
  EnvelopeRegistry,
  EnvelopeSender,
  OpenedEnvelope,
  TransportSecret,
} from './envelope.ts';
import { EnvelopeError } from './envelope.ts';
import { fits, freshSecret, keyIsIv, wipeSecret } from './secret.ts';
import { readSecurity, type Security, SecurityError, writeSecurity } from './security.ts';

/** A content's security as made by this side. */
export interface SealedSecurity {
  readonly secret: TransportSecret;
  readonly element: Element;
  /** Identity key of the one device that the envelope was made for, if one was named. */
  readonly recipient?: Buffer;
}

/** A content's security as made by the peer. */
export interface OpenedSecurity {
  readonly cipher: Cipher;
  readonly secret: TransportSecret;
  readonly sender: EnvelopeSender;
  /** As it was written, with what stands beside the envelope. */
  readonly security: Security;
  readonly envelope: Envelope;
}

/**
 * Draws a secret and seals it for the peer.
 *
 * @param name - of the content
 * @param to - bare or full JID of the peer
 * @param device - the one device to make it for, between two jets
 * @throws SecurityError `unknown-cipher` when the envelope cannot carry the cipher; what `seal` throws
 */
export async function sealSecurity(
  name: string,
  cipher: Cipher,
  envelope: Envelope,
  to: Jid,
  device?: number,
): Promise<SealedSecurity> {
  if (!envelope.ciphers.includes(cipher.urn))
    throw new SecurityError('unknown-cipher', 'the envelope cannot carry this cipher');
  const secret = freshSecret(cipher);
  try {
    const made =
      device === undefined
        ? { element: await envelope.seal(secret, to.bare) }
        : await envelope.identity?.().seal(secret, to.bare, device);
    if (made === undefined) throw new Error(`${envelope.type} knows no single devices`);
    const { type } = envelope;
    const parts = { name, cipher: cipher.urn, type, envelope: made.element, extensions: [] };
    return { secret, ...made, element: writeSecurity(parts) };
  } catch (error) {
    wipeSecret(secret);
    throw error;
  }
}

/**
 * Opens the security of a content that the peer made. Anything wrong with it is an error: the session
 * is to be ended then, never to be continued in the clear.
 *
 * @param content - the content element
 * @param from - the JID of the stanza's `from`, as the server put it: not the `initiator` attribute
 * @throws SecurityError, EnvelopeError
 */
export async function openSecurity(
  content: Element,
  from: Jid,
  ciphers: CipherRegistry,
  envelopes: EnvelopeRegistry,
): Promise<OpenedSecurity> {
  const security = readSecurity(content);
  const cipher = ciphers.get(security.cipher);
  if (cipher === undefined) throw new SecurityError('unknown-cipher', 'the cipher is unknown');
  const envelope = envelopes.get(security.type);
  if (envelope === undefined)
    throw new SecurityError('unknown-envelope', 'the type of envelope is unknown');
  if (!envelope.ciphers.includes(cipher.urn))
    throw new SecurityError('unknown-cipher', 'the envelope does not carry this cipher');
  const opened = await envelope.open(security.envelope, from.bare, cipher.keyLength);
  try {
    vet(opened, from, cipher);
  } catch (error) {
    wipeSecret(opened.secret);
    throw error;
  }
  return { cipher, secret: opened.secret, sender: opened.sender, security, envelope };
}

function vet({ secret, sender }: OpenedEnvelope, from: Jid, cipher: Cipher): void {
  if (!sender.jid.sameBare(from))
    throw new EnvelopeError('untrusted', 'the envelope was made by another account');
  if (!fits(secret, cipher))
    throw new EnvelopeError('malformed', 'the secret does not fit the cipher');
  if (keyIsIv(secret))
    throw new EnvelopeError('key-as-iv', 'its IV shows the key, so others may have read it');
}
