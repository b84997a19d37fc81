/** XEP-0391 over XEP-0234: one encrypted file as a Jingle content, from XML to values and back. */
import type { Element } from '@xmpp/xml';
import { Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { Cipher, CipherRegistry } from '../jet/cipher.ts';
import {
  EnvelopeError,
  type Envelope,
  type EnvelopeRegistry,
  type TransportSecret,
} from '../jet/envelope.ts';
import { openSecurity, sealSecurity, type OpenedSecurity } from '../jet/exchange.ts';
import { checkSize } from '../jet/limits.ts';
import { readSecurity, SecurityError } from '../jet/security.ts';
import {
  decodeDescription,
  encodeDescription,
  type FileDescription,
} from '../jingle/file-description.ts';
import { encodeContent, type Content } from '../jingle/stanza.ts';
import { isWhole } from './proof.ts';

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
}

/**
 * Draws a transport secret and seals it for the devices of `to` (XEP-0391 §4.1).
 *
 * @param size - bytes of the file
 * @throws JetError (exit 8) `file-too-large`, before anything is sealed; what the envelope throws
 */
export async function protect(
  name: string,
  to: Jid,
  envelope: Envelope,
  ciphers: CipherRegistry,
  size: number,
): Promise<Protected> {
  const cipher = envelope.ciphers
    .map((urn) => ciphers.get(urn))
    .find((known) => known !== undefined);
  if (cipher === undefined) throw new Error(`no cipher for ${envelope.type}`);
  checkSize(size, cipher, 'send');
  const { secret, element } = await sealSecurity(name, cipher, envelope, to);
  return { cipher, secret, security: element };
}

/** What a content offers, before anything secret was touched. */
export interface Offered {
  readonly content: Content & { readonly description: Element; readonly transport: Element };
  readonly file: FileDescription & { readonly name: string; readonly size: number };
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
  const file = decodeDescription(content.description);
  if (file.size === undefined) {
    throw new Unacceptable('failed-application', 'it offered a file of no stated size');
  }
  if (!isWhole(file, file.size)) {
    throw new Unacceptable('failed-application', 'it offered only a part of a file');
  }
  const { description, transport } = content;
  return {
    content: { ...content, description, transport },
    file: { ...file, name: file.name ?? 'file', size: file.size },
  };
}

/** A content whose envelope opened. */
export type Opened = OpenedSecurity;

/** Opens the envelope of an offer made by `from`. @throws Unacceptable `security-error`, `media-error` */
export async function openOffer(
  { content, file }: Offered,
  from: Jid,
  { ciphers, envelopes }: Protection,
): Promise<Opened> {
  const refuse = (why: string) => new Unacceptable('security-error', why);
  try {
    const element = encodeContent(content);
    const offered = ciphers.get(readSecurity(element).cipher);
    if (offered !== undefined) checkSize(file.size, offered, 'receive');
    return await openSecurity(element, from, ciphers, envelopes);
  } catch (error) {
    if (error instanceof SecurityError || error instanceof EnvelopeError)
      throw refuse(error.message);
    if (error instanceof JetError && error.code === 'file-too-large')
      throw new Unacceptable('media-error', error.message);
    if (error instanceof JetError && error.exit === Exit.security) throw refuse(error.message);
    throw error;
  }
}

/** The description of a file that this side offers: the digest follows in a `<checksum/>`. */
export function describe(name: string, size: number, date: Date): Element {
  return encodeDescription({
    name,
    size,
    date,
    mediaType: 'application/octet-stream',
    hashes: [],
    hashUsed: ['sha-256'],
  });
}
