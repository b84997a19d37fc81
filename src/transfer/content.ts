/** XEP-0391 over XEP-0234: one encrypted file as a Jingle content, from XML to values and back. */
import type { Element } from '@xmpp/xml';
import { Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { Cipher, CipherRegistry } from '../jet/cipher.ts';
import {
  EnvelopeError,
  type Envelope,
  type EnvelopeRegistry,
  type EnvelopeSender,
  type TransportSecret,
} from '../jet/envelope.ts';
import { openSecurity, sealSecurity, type OpenedSecurity } from '../jet/exchange.ts';
import { checkSize } from '../jet/limits.ts';
import { readSealed, type Sealed } from '../jet/sealed-element.ts';
import { SealedError, Seals } from '../jet/sealed.ts';
import { wipeSecret } from '../jet/secret.ts';
import { readSecurity, SecurityError } from '../jet/security.ts';
import {
  decodeDescription,
  encodeDescription,
  type FileDescription,
} from '../jingle/file-description.ts';
import type { Session } from '../jingle/session.ts';
import { encodeContent, type Content } from '../jingle/stanza.ts';
import { clearDescription, SealedContent, type NamedFile } from './sealed.ts';

/** The registries that decide what can be protected how. */
export interface Protection {
  readonly ciphers: CipherRegistry;
  readonly envelopes: EnvelopeRegistry;
}

/** A content that this side is about to offer; its secret is fresh and is this content's alone. */
export interface Protected {
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
 * @param size - bytes of the file
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
  const cipher = envelope.ciphers
    .map((urn) => ciphers.get(urn))
    .find((known) => known !== undefined);
  if (cipher === undefined) throw new Error(`no cipher for ${envelope.type}`);
  checkSize(size, cipher, 'send');
  const { secret, element, recipient } = await sealSecurity(name, cipher, envelope, to, device);
  return { cipher, secret, security: element, envelope, ...(recipient && { recipient }) };
}

/** What is offered, and to whom by which session. */
export interface Offering {
  readonly name: string;
  readonly self: Jid;
  readonly file: NamedFile;
  readonly session: Pick<Session, 'sid' | 'peer'>;
}

/** A content's description and security, and what seals the rest between two jets. */
export interface OfferedContent {
  readonly description: Element;
  readonly security: Element;
  readonly sealed?: SealedContent;
}

/** Puts the offer together: sealed for a jet, else in the clear as XEP-0234 has it. */
export function offerContent(shield: Protected, offering: Offering): OfferedContent {
  const { name, self, file, session } = offering;
  const { recipient, envelope, security, secret, cipher } = shield;
  const identity = envelope.identity?.();
  if (recipient === undefined || identity === undefined)
    return { description: encodeDescription(file), security };
  const parts = { creator: 'initiator', name, senders: 'initiator' } as const;
  const seals = new Seals(
    secret,
    identity.agree(recipient),
    {
      ...parts,
      sid: session.sid,
      cipher: cipher.urn,
      type: envelope.type,
      maker: { identityKey: identity.key, jid: self },
      other: { identityKey: recipient, jid: session.peer },
    },
    'maker',
  );
  const sealed = new SealedContent(seals, parts);
  security.append(sealed.offer(file));
  return { description: clearDescription(), security, sealed };
}

/** What a content offers, before anything secret was touched. */
export interface Offered {
  readonly content: Content & { readonly description: Element; readonly transport: Element };
  /** What is said in the clear; of a sealed offer nothing that counts. */
  readonly clear: FileDescription;
  readonly sealed?: Sealed;
}

/** A content that cannot be taken, with the Jingle reason for the peer. */
export class Unacceptable extends Error {
  readonly reason:
    | 'unsupported-applications'
    | 'unsupported-transports'
    | 'security-error'
    | 'failed-application'
    | 'media-error';

  constructor(reason: Unacceptable['reason'], message: string) {
    super(message);
    this.name = 'Unacceptable';
    this.reason = reason;
  }
}

/** Reads the one file that a session offers. @throws Unacceptable; StanzaError for what is no file at all */
export function readOffer(contents: readonly Content[]): Offered {
  const [content] = contents;
  if (content?.description === undefined || contents.length !== 1) {
    throw new Unacceptable('unsupported-applications', 'it offered something other than one file');
  }
  if (content.transport === undefined) {
    throw new Unacceptable('unsupported-transports', 'it offered no transport');
  }
  if (content.senders === 'responder') {
    throw new Unacceptable('failed-application', 'it asked for a file, and none is shared');
  }
  if (content.senders !== 'initiator') {
    throw new Unacceptable('unsupported-applications', 'it offered a file in both directions');
  }
  const clear = decodeDescription(content.description);
  const { description, transport } = content;
  const offer = { ...content, description, transport };
  const sealed = securely(() => {
    const { extensions } = readSecurity(encodeContent(content));
    return readSealed(extensions, 'offer');
  });
  if (sealed === undefined && clear.size === undefined) {
    throw new Unacceptable('failed-application', 'it offered a file of no stated size');
  }
  return { content: offer, clear, ...(sealed && { sealed }) };
}

/** A content whose envelope opened. */
export interface Opened {
  readonly cipher: Cipher;
  readonly secret: TransportSecret;
  readonly sender: EnvelopeSender;
  readonly file: NamedFile;
  /** Between two jets. */
  readonly sealed?: SealedContent;
}

/**
 * Opens the envelope of an offer, and what is sealed beside it. A key that is known as a jet's must seal.
 *
 * @throws Unacceptable `security-error`, `media-error`
 */
export async function openOffer(
  offered: Offered,
  self: Jid,
  session: Pick<Session, 'sid' | 'peer'>,
  { ciphers, envelopes }: Protection,
): Promise<Opened> {
  const { content, clear } = offered;
  const element = encodeContent(content);
  const cipherOffered = securely(() => ciphers.get(readSecurity(element).cipher));
  if (cipherOffered !== undefined && clear.size !== undefined)
    securely(() => checkSize(clear.size ?? 0, cipherOffered, 'receive'));
  const opened = await openSecurity(element, session.peer, ciphers, envelopes).catch(
    (error: unknown) => {
      throw unacceptable(error);
    },
  );
  const { cipher, secret, sender } = opened;
  try {
    return { cipher, secret, sender, ...securely(() => unseal(offered, opened, self, session)) };
  } catch (error) {
    wipeSecret(secret);
    throw error;
  }
}

function unseal(
  { content, clear, sealed }: Offered,
  { cipher, secret, sender, security, envelope }: OpenedSecurity,
  self: Jid,
  session: Pick<Session, 'sid' | 'peer'>,
): Pick<Opened, 'file' | 'sealed'> {
  const identity = envelope.identity?.();
  if (sealed === undefined) {
    if (identity?.isJet(sender.identityKey) === true)
      throw new SealedError(
        'missing',
        `it came without sealed elements from a key that is a jet's (somebody may be between; if another program uses that key now: jet trust --plain ${session.peer.bare.toString()} ${sender.identityKey.toString('hex')})`,
      );
    return { file: { ...clear, name: clear.name ?? 'file', size: clear.size ?? 0 } };
  }
  if (identity === undefined)
    throw new SealedError('out-of-place', 'the envelope can have no sealed elements beside it');
  const { creator, name, senders } = content;
  const seals = new Seals(
    secret,
    identity.agree(sender.identityKey),
    {
      ...{ sid: session.sid, creator, name, senders, cipher: security.cipher, type: security.type },
      maker: { identityKey: sender.identityKey, jid: session.peer },
      other: { identityKey: identity.key, jid: self },
    },
    'other',
  );
  const sealing = new SealedContent(seals, { creator, name });
  const file = sealing.openOffer(sealed.bytes);
  identity.rememberJet(sender.identityKey);
  checkSize(file.size, cipher, 'receive');
  return { file, sealed: sealing };
}

/** Runs what reads security: whatever is wrong with it ends the session, and never goes on in the clear. */
function securely<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw unacceptable(error);
  }
}

function unacceptable(error: unknown): unknown {
  const insecure =
    error instanceof SecurityError ||
    error instanceof EnvelopeError ||
    error instanceof SealedError ||
    (error instanceof JetError && error.exit === Exit.security);
  if (insecure) return new Unacceptable('security-error', error.message);
  if (error instanceof JetError && error.code === 'file-too-large')
    return new Unacceptable('media-error', error.message);
  return error;
}
