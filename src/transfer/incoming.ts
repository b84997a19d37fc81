/** A content that a peer adds: read, checked and opened, in the order that costs and tells least. */
import type { Element } from '@xmpp/xml';
import { Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { shellCommand } from '../core/shell.ts';
import type { Cipher } from '../jet/cipher.ts';
import {
  EnvelopeError,
  type EnvelopeIdentity,
  type EnvelopeSender,
  type TransportSecret,
} from '../jet/envelope.ts';
import { openSecurity, type OpenedSecurity } from '../jet/exchange.ts';
import { checkSize } from '../jet/limits.ts';
import { readSealed, type Sealed } from '../jet/sealed-element.ts';
import { SealedError, Seals } from '../jet/sealed.ts';
import { wipeSecret } from '../jet/secret.ts';
import { readSecurity, SecurityError } from '../jet/security.ts';
import { decodeDescription, type FileDescription } from '../jingle/file-description.ts';
import type { ContentSession } from '../jingle/contents.ts';
import { encodeContent, type Content } from '../jingle/stanza.ts';
import type { Protection } from './content.ts';
import { isWhole } from './proof.ts';
import { type NamedFile, type OfferedFile, type Request, SealedContent } from './sealed.ts';

/** A content before anything secret was touched. */
export interface Incoming {
  /** `offer`: the initiator sends; `request`: it wants to be sent. */
  readonly kind: 'offer' | 'request';
  readonly content: Content & { readonly description: Element; readonly transport: Element };
  /** What is said in the clear; of a sealed content nothing that counts. */
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
  /** What XEP-0234 says beside it. */
  readonly application: 'file-not-available' | undefined;

  constructor(
    reason: Unacceptable['reason'],
    message: string,
    application?: Unacceptable['application'],
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.application = application;
    this.name = 'Unacceptable';
    this.reason = reason;
  }
}

/** Whether a session asks for something; what it is otherwise is found when it is read. */
export function isRequest({ contents }: { readonly contents: readonly Content[] }): boolean {
  return contents[0]?.senders === 'responder';
}

/** Reads the one content of a session. @throws Unacceptable; StanzaError for what is no file at all */
export function readIncoming(contents: readonly Content[]): Incoming {
  const [content] = contents;
  if (content?.description === undefined || contents.length !== 1) {
    throw new Unacceptable('unsupported-applications', 'it offered something other than one file');
  }
  if (content.transport === undefined) {
    throw new Unacceptable('unsupported-transports', 'it offered no transport');
  }
  if (content.senders !== 'initiator' && content.senders !== 'responder') {
    throw new Unacceptable('unsupported-applications', 'it offered a file in both directions');
  }
  const kind = content.senders === 'initiator' ? 'offer' : 'request';
  const clear = decodeDescription(content.description);
  const { description, transport } = content;
  const sealed = securely(() => {
    const { extensions } = readSecurity(encodeContent(content));
    return readSealed(extensions, kind);
  });
  const whole = { ...content, description, transport };
  return { kind, content: whole, clear, ...(sealed && { sealed }) };
}

/** A content whose envelope opened. */
export interface Opened {
  readonly cipher: Cipher;
  readonly secret: TransportSecret;
  readonly sender: EnvelopeSender;
  /** Between two jets. */
  readonly sealed?: SealedContent;
}

/** An offer whose envelope opened. */
export interface OpenedOffer extends Opened {
  readonly file: OfferedFile;
}

/** A request whose envelope opened. */
export interface OpenedRequest extends Opened {
  readonly request: Request;
}

/**
 * Opens the envelope of an offer, and what is sealed beside it. A key that is known as a jet's must seal.
 *
 * @throws Unacceptable `security-error`, `media-error`, `failed-application`
 */
export async function openOffer(
  incoming: Incoming,
  self: Jid,
  session: Pick<ContentSession, 'sid' | 'peer'>,
  protection: Protection,
): Promise<OpenedOffer> {
  const { clear, sealed: element } = incoming;
  const { ciphers } = protection;
  const cipher = securely(() => ciphers.get(readSecurity(encodeContent(incoming.content)).cipher));
  if (cipher !== undefined && clear.size !== undefined)
    securely(() => checkSize(clear.size ?? 0, cipher, 'receive'));
  return open(incoming, self, session, protection, (opened) => {
    const { sealed } = opened;
    if (element === undefined || sealed === undefined) return { ...opened, file: plainFile(clear) };
    // What is larger than one message comes in several.
    return { ...opened, file: sealed.openOffer(element.bytes) };
  });
}

/**
 * What another client offers. Looked at only after the envelope: without its sealed element a jet's offer
 * says nothing in the clear, and that is an attack, no poor description.
 */
function plainFile(clear: FileDescription): NamedFile {
  const { name = 'file', size } = clear;
  if (size === undefined)
    throw new Unacceptable('failed-application', 'it offered a file of no stated size');
  if (!isWhole(clear, size))
    throw new Unacceptable('failed-application', 'it offered only a part of a file');
  return { ...clear, name, size };
}

/** Opens the envelope of a request, and what is sealed beside it. @throws Unacceptable `security-error` */
export function openRequest(
  incoming: Incoming,
  self: Jid,
  session: Pick<ContentSession, 'sid' | 'peer'>,
  protection: Protection,
): Promise<OpenedRequest> {
  const { clear, sealed: element } = incoming;
  return open(incoming, self, session, protection, (opened) => {
    const { sealed } = opened;
    if (element === undefined || sealed === undefined)
      return { ...opened, request: { file: clear, list: false } };
    return { ...opened, request: sealed.openRequest(element.bytes) };
  });
}

/** @param read - opens the first sealed element; when it has, the key is remembered as a jet's */
async function open<T extends Opened>(
  incoming: Incoming,
  self: Jid,
  session: Pick<ContentSession, 'sid' | 'peer'>,
  { ciphers, envelopes }: Protection,
  read: (opened: Opened) => T,
): Promise<T> {
  const element = encodeContent(incoming.content);
  const opened = await openSecurity(element, session.peer, ciphers, envelopes).catch(
    (error: unknown) => {
      throw unacceptable(error);
    },
  );
  const { cipher, secret, sender, envelope } = opened;
  try {
    return securely(() => {
      const identity = envelope.identity?.();
      const sealed = unseal(incoming, opened, identity, self, session);
      const result = read({ cipher, secret, sender, ...(sealed && { sealed }) });
      if (sealed !== undefined) identity?.rememberJet(sender.identityKey, session.peer);
      return result;
    });
  } catch (error) {
    wipeSecret(secret);
    throw error;
  }
}

function unseal(
  { content, sealed }: Incoming,
  { secret, sender, security }: OpenedSecurity,
  identity: EnvelopeIdentity | undefined,
  self: Jid,
  session: Pick<ContentSession, 'sid' | 'peer'>,
): SealedContent | undefined {
  if (sealed === undefined) {
    if (identity?.isJet(sender.identityKey) === true)
      throw new SealedError(
        'missing',
        `it came without sealed elements from a key that is a jet's (somebody may be between; if another program uses that key now: ${shellCommand('jet trust --plain', session.peer.bare.toString(), sender.identityKey.toString('hex'))})`,
      );
    return undefined;
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
  return new SealedContent(seals, { creator, name });
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
  if (insecure)
    return new Unacceptable('security-error', error.message, undefined, { cause: error });
  if (error instanceof JetError && error.code === 'file-too-large')
    return new Unacceptable('media-error', error.message, undefined, { cause: error });
  return error;
}
