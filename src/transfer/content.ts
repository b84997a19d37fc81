/** XEP-0391 over XEP-0234: one encrypted file as a Jingle content, from XML to values and back. */
import type { Element } from '@xmpp/xml';
import type { Jid } from '../core/jid.ts';
import type { Cipher, CipherRegistry } from '../jet/cipher.ts';
import type { Envelope, EnvelopeRegistry, TransportSecret } from '../jet/envelope.ts';
import { sealSecurity } from '../jet/exchange.ts';
import { checkSize } from '../jet/limits.ts';
import { Seals } from '../jet/sealed.ts';
import { encodeDescription } from '../jingle/file-description.ts';
import type { ContentSession } from '../jingle/contents.ts';
import { clearDescription, SealedContent, type OfferedFile, type Request } from './sealed.ts';

/** The registries that decide what can be protected how. */
export interface Protection {
  readonly ciphers: CipherRegistry;
  readonly envelopes: EnvelopeRegistry;
}

/** A content that this side is about to add; its secret is fresh and is this content's alone. */
export interface Protected {
  /** Of the content. */
  readonly name: string;
  readonly cipher: Cipher;
  readonly secret: TransportSecret;
  readonly security: Element;
  readonly envelope: Envelope;
  /** Identity key of the one device that it is for: the peer is a jet, and gets sealed elements. */
  readonly recipient?: Buffer;
}

/**
 * Draws a transport secret and seals it for the devices of `to` (XEP-0391 §4.1).
 *
 * @param size - bytes of the file, which a jet gets in several contents where it has to be
 * @param device - of a jet: the one that its disco form names
 * @throws JetError (exit 8) `file-too-large`, before anything is sealed; what the envelope throws
 */
export async function protect(
  name: string,
  to: Jid,
  envelope: Envelope,
  ciphers: CipherRegistry,
  size: number,
  device?: number,
): Promise<Protected> {
  const cipher = cipherOf(envelope, ciphers);
  if (device === undefined) checkSize(size, cipher, 'send');
  const { secret, element, recipient } = await sealSecurity(name, cipher, envelope, to, device);
  return { name, cipher, secret, security: element, envelope, ...(recipient && { recipient }) };
}

/** The cipher of the contents that go with an envelope. */
export function cipherOf(envelope: Envelope, ciphers: CipherRegistry): Cipher {
  const cipher = envelope.ciphers
    .map((urn) => ciphers.get(urn))
    .find((known) => known !== undefined);
  if (cipher === undefined) throw new Error(`no cipher for ${envelope.type}`);
  return cipher;
}

/** Where a content of ours is going. */
export interface Placing {
  /** Of the content. */
  readonly name: string;
  readonly self: Jid;
  readonly session: Pick<ContentSession, 'sid' | 'peer'>;
}

/** A content's description and security, and what seals the rest between two jets. */
export interface ShieldedContent {
  readonly description: Element;
  readonly security: Element;
  readonly sealed?: SealedContent;
}

/** Puts an offer together: sealed for a jet, else in the clear as XEP-0234 has it. */
export function offerContent(
  shield: Protected,
  placing: Placing,
  file: OfferedFile,
): ShieldedContent {
  const { security } = shield;
  const sealed = seal(shield, placing, 'initiator');
  if (sealed === undefined) return { description: encodeDescription(file), security };
  security.append(sealed.offer(file));
  return { description: clearDescription(), security, sealed };
}

/** Puts a request together (XEP-0391 §4.2): sealed for a jet, else the selector in the clear. */
export function requestContent(
  shield: Protected,
  placing: Placing,
  request: Request,
): ShieldedContent {
  const { security } = shield;
  const sealed = seal(shield, placing, 'responder');
  if (sealed === undefined) return { description: encodeDescription(request.file), security };
  security.append(sealed.request(request));
  return { description: clearDescription(), security, sealed };
}

function seal(
  { recipient, envelope, secret, cipher }: Protected,
  { name, self, session }: Placing,
  senders: 'initiator' | 'responder',
): SealedContent | undefined {
  const identity = envelope.identity?.();
  if (recipient === undefined || identity === undefined) return undefined;
  const creator = 'initiator' as const;
  const seals = new Seals(
    secret,
    identity.agree(recipient),
    {
      ...{ sid: session.sid, creator, name, senders, cipher: cipher.urn, type: envelope.type },
      maker: { identityKey: identity.key, jid: self },
      other: { identityKey: recipient, jid: session.peer },
    },
    'maker',
  );
  return new SealedContent(seals, { creator, name });
}
