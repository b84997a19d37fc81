/** What the sealed elements of a file say (docs/sealed.md §4): from values to their XML and back. */
import type { Element } from '@xmpp/xml';
import { fromBase64, toBase64 } from '../core/bytes.ts';
import { Exit, JetError } from '../core/errors.ts';
import { readSealed, writeSealed } from '../jet/sealed-element.ts';
import { NS_SEALED, SealedError, type Label, type Seals } from '../jet/sealed.ts';
import {
  decodeFile,
  encodeFile,
  encodeReceived,
  FILE_TRANSFER,
  type FileDescription,
} from '../jingle/file-description.ts';
import { HASHES, type Hash } from '../jingle/hashes.ts';
import type { Creator } from '../jingle/stanza.ts';
import { StanzaError } from '../xmpp/connection.ts';
import { attr, parse, uint, xml } from '../xmpp/xml.ts';
import { listSize } from './hash-list.ts';
import { decodeMissing, encodeMissing, type Missing } from './tree/missing.ts';
import { decodeMembership, encodeMembership, type Membership } from './several.ts';
import { decodeTree, encodeTree, type TreeHead } from './tree/tree-list.ts';

/** A file whose name and size are known. */
export type NamedFile = FileDescription & { readonly name: string; readonly size: number };

/** A part of a file in bytes, with its digest where it is known. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** Digests that the side that encrypts has found. */
export interface Digests {
  /** SHA-256 of what was encrypted, 32 bytes. */
  readonly range: Buffer;
  /** SHA-256 of the whole file, where it is known. */
  readonly file?: Buffer;
}

/** Where the bytes have gone: to a file of its name, to some of many, to a part of one, or to standard output. */
export type LandedAs = (typeof LANDED_AS)[number];
const LANDED_AS = ['file', 'partly', 'range', 'stdout'] as const;

/** A transfer that is gone on with: its id and how often it was begun. */
export interface Resume {
  /** 32 hex digits. */
  readonly id: string;
  /** Above every earlier one of this transfer. */
  readonly attempt: number;
}

/** A file that is offered, and what is said about the offer beside it. */
export type OfferedFile = NamedFile & {
  readonly of?: Membership;
  readonly tree?: TreeHead;
  readonly resume?: Resume;
};

/** What hashes of blocks may be of. */
interface Resumable {
  readonly size: number;
  readonly resume?: Resume | undefined;
}

/** What is asked for: a file by its hash, or by name and size; or what there is to be had. */
export interface Request {
  /** A selector, with the range that is wanted. */
  readonly file: FileDescription;
  /** The list of what the holder lets us have. */
  readonly list: boolean;
  readonly resume?: Resume;
  /** The hashes of the blocks of what is resumed, in place of its bytes: bytes of a block. */
  readonly hashes?: number;
}

/** What of a file that was offered is to be sent. */
export interface Accepted {
  /** Bytes of what travels: of the file, or of the list of its hashes. */
  readonly size: number;
  readonly extent: Extent;
  /** As in a request. */
  readonly hashes?: number;
}

/** What the holder of a requested file agrees to. */
export interface Granted {
  readonly file: NamedFile;
  readonly extent: Extent;
  /** Drawn by the one who encrypts; in place of the requester's (docs/sealed.md §6). */
  readonly iv: Buffer;
}

/** A receipt: what the side that decrypts has verified. */
export interface Landed extends Extent {
  readonly as: LandedAs;
  /** Bytes of the whole file. */
  readonly size: number;
  /** SHA-256 of what landed, 32 bytes. */
  readonly sha256: Buffer;
  /** Of what landed partly, and of nothing else: what of its list did not. */
  readonly missing?: Missing | undefined;
}

/** The clear `<description/>` beside a sealed one: it says nothing but that a file moves. */
export function clearDescription(): Element {
  const used = xml('hash-used', { xmlns: HASHES, algo: 'sha-256' });
  const file = xml('file', {}, used, xml('range'));
  return xml('description', { xmlns: FILE_TRANSFER }, file);
}

/** The sealed elements of one content as the sender and the receiver of an offer use them. */
export class SealedContent {
  readonly #seals: Seals;
  readonly #creator: Creator;
  readonly #name: string;
  #receipt: Element | undefined;

  constructor(seals: Seals, content: { readonly creator: Creator; readonly name: string }) {
    this.#seals = seals;
    this.#creator = content.creator;
    this.#name = content.name;
  }

  /** For `<security/>`. */
  offer(file: OfferedFile): Element {
    const { of, tree, resume } = file;
    const extra = [
      ...(of ? [encodeMembership(of)] : []),
      ...(tree ? [encodeTree(tree)] : []),
      ...(resume ? [encodeResume(resume)] : []),
    ];
    return this.#seal('offer', encodeFile(file), {}, ...extra);
  }

  /** @throws SealedError */
  openOffer(bytes: Buffer): OfferedFile {
    const body = this.#open('offer', bytes);
    const of = body.getChild('of', NS_SEALED);
    const tree = body.getChild('tree', NS_SEALED);
    const resume = decodeResume(body);
    const file = named(fileIn(body), 'offer');
    return {
      ...file,
      ...(of && { of: decodeMembership(of) }),
      ...(tree && { tree: decodeTree(tree, file.size) }),
      ...(resume && { resume }),
    };
  }

  /** For `<security/>`. */
  request({ file, list, resume, hashes }: Request): Element {
    const extra = [
      ...(list ? [xml('list')] : []),
      ...(resume ? [encodeResume(resume)] : []),
      ...(hashes === undefined ? [] : [encodeHashes(hashes)]),
    ];
    return this.#seal('request', encodeFile(file), {}, ...extra);
  }

  /** @throws SealedError */
  openRequest(bytes: Buffer): Request {
    const body = this.#open('request', bytes);
    const resume = decodeResume(body);
    const list = body.getChild('list', NS_SEALED) !== undefined;
    const file = fileIn(body);
    // Named by its hash alone its size is not known yet: who serves it looks once more.
    const { size = 0 } = file;
    return { file, list, ...(resume && { resume }), ...decodeHashes(body, { size, resume }) };
  }

  /** For the content of the session-accept of a request. */
  grant({ file, extent, iv }: Granted): Element {
    const range = { ...extent, hashes: [] };
    return this.#seal('accept', encodeFile({ ...file, range }), {}, xml('iv', {}, toBase64(iv)));
  }

  /** What a request was answered with. @throws SealedError */
  openGrant(extensions: readonly Element[]): Granted {
    const sealed = readSealed(extensions, 'accept');
    if (sealed === undefined) throw missing('accept');
    const body = this.#open('accept', sealed.bytes);
    const file = named(fileIn(body), 'accept');
    const { range, size } = file;
    const iv = fromBase64(body.getChildText('iv') ?? '');
    if (range?.length === undefined || range.offset + range.length > size || iv?.length !== 12)
      throw new SealedError('malformed', 'the sealed accept is incomplete');
    return { file, extent: { offset: range.offset, length: range.length }, iv };
  }

  /** For the content of the session-accept of an offer. */
  accept({ size, extent: { offset, length }, hashes }: Accepted): Element {
    const file = describe({ size, range: { offset, length, hashes: [] } });
    return this.#seal('accept', file, {}, ...(hashes === undefined ? [] : [encodeHashes(hashes)]));
  }

  /**
   * What the peer wants of what was offered.
   *
   * @param offered - bytes of the file, and whether it is gone on with
   * @throws SealedError
   */
  openAccept(extensions: readonly Element[], offered: Resumable): Accepted {
    const sealed = readSealed(extensions, 'accept');
    if (sealed === undefined) throw missing('accept');
    const body = this.#open('accept', sealed.bytes);
    const { size: said, range } = fileIn(body);
    const { hashes } = decodeHashes(body, offered);
    const total = hashes === undefined ? offered.size : listSize(offered.size, hashes);
    if (said !== total || range?.length === undefined || range.offset + range.length > total)
      throw new SealedError('malformed', 'the sealed accept is about another file');
    const extent = { offset: range.offset, length: range.length };
    if (hashes !== undefined && extent.length !== total)
      throw new SealedError('malformed', 'the sealed accept asks for a part of the hashes');
    return { size: total, extent, ...(hashes !== undefined && { hashes }) };
  }

  /** The session-info with the digests. */
  checksum({ offset, length }: Extent, digests: Digests): Element {
    const file = describe({
      range: { offset, length, hashes: [sha256(digests.range)] },
      hashes: digests.file === undefined ? [] : [sha256(digests.file)],
    });
    const { creator, name } = this.#content;
    const empty = xml('file', {});
    return xml(
      'checksum',
      { xmlns: FILE_TRANSFER, creator, name },
      empty,
      this.#seal('checksum', file),
    );
  }

  /** Reads a `<checksum/>` about this content. @throws SealedError */
  openChecksum(checksum: Element, expected: Extent): Digests {
    const sealed = readSealed(checksum.getChildElements(), 'checksum');
    if (sealed === undefined) throw missing('checksum');
    const { range, hashes } = this.#file('checksum', sealed.bytes);
    const ofRange = strong(range?.hashes);
    if (range?.offset !== expected.offset || range.length !== expected.length || !ofRange)
      throw new SealedError('malformed', 'the sealed checksum is about other bytes');
    const whole = strong(hashes);
    return { range: ofRange, ...(whole && { file: whole }) };
  }

  /** The receipt: for a session-info, and, the same bytes, beside the `<success/>`. */
  landed({ as, size, sha256: digest, offset, length, missing }: Landed): Element {
    this.#receipt ??= encodeReceived(
      this.#creator,
      this.#name,
      this.#seal(
        'landed',
        describe({ size, hashes: [sha256(digest)], range: { offset, length, hashes: [] } }),
        { as },
        ...(missing ? [encodeMissing(missing)] : []),
      ),
    );
    return this.#receipt;
  }

  /**
   * Reads a `<received/>` about this content; undefined when it holds no receipt.
   *
   * @param lines - how many the list of a folder or a batch has; 0 of a file
   * @throws SealedError
   */
  openLanded(received: Element, lines = 0): Landed | undefined {
    const sealed = readSealed(received.getChildElements(), 'landed');
    if (sealed === undefined) return undefined;
    const body = this.#open('landed', sealed.bytes);
    const as = LANDED_AS.find((word) => word === attr(body, 'as'));
    const { size, hashes, range } = fileIn(body);
    const digest = strong(hashes);
    if (!as || size === undefined || !digest || range?.length === undefined)
      throw new SealedError('malformed', 'the sealed receipt is incomplete');
    const landed = { as, size, sha256: digest, offset: range.offset, length: range.length };
    const missing = body.getChild('missing', NS_SEALED);
    if ((as === 'partly') !== (missing !== undefined))
      throw new SealedError('malformed', 'the sealed receipt contradicts itself');
    return missing === undefined ? landed : { ...landed, missing: decodeMissing(missing, lines) };
  }

  /** See {@link Seals.transferId}. */
  transferId(): string {
    return this.#seals.transferId();
  }

  /** Forgets the keys. */
  wipe(): void {
    this.#seals.wipe();
  }

  get #content(): { readonly creator: Creator; readonly name: string } {
    return { creator: this.#creator, name: this.#name };
  }

  #seal(
    label: Label,
    file: Element,
    attrs: Record<string, string> = {},
    ...extra: Element[]
  ): Element {
    const body = xml(label, { xmlns: NS_SEALED, ...attrs }, file, ...extra);
    return writeSealed(label, this.#seals.seal(label, Buffer.from(body.toString())));
  }

  #open(label: Label, bytes: Buffer): Element {
    const body = parse(this.#seals.open(label, bytes).toString());
    if (body?.is(label, NS_SEALED) !== true)
      throw new SealedError('malformed', `the sealed ${label} holds something else`);
    return body;
  }

  #file(label: Label, bytes: Buffer): FileDescription {
    return fileIn(this.#open(label, bytes));
  }
}

/** A sealed element that does not hold, as an error for the user. */
export function sealedFailure(error: SealedError): JetError {
  return new JetError(
    Exit.security,
    `sealed-${error.reason}`,
    `${error.message}: something was changed, left out or repeated on the way. Nothing of it is kept; try again, and over another server if it stays so.`,
    { cause: error },
  );
}

function describe(file: Partial<FileDescription>): Element {
  return encodeFile({ hashes: [], hashUsed: [], ...file });
}

function fileIn(body: Element): FileDescription {
  const [file, second] = body.getChildren('file', FILE_TRANSFER);
  try {
    if (file !== undefined && second === undefined) return decodeFile(file);
  } catch (error) {
    if (!(error instanceof StanzaError)) throw error;
  }
  throw new SealedError('malformed', 'a sealed element does not describe one file');
}

function named(file: FileDescription, label: Label): NamedFile {
  const { name, size } = file;
  if (name === undefined || name === '' || size === undefined)
    throw new SealedError('malformed', `the sealed ${label} names no file`);
  return { ...file, name, size };
}

function encodeResume({ id, attempt }: Resume): Element {
  return xml('resume', { id, attempt: String(attempt) });
}

function decodeResume(body: Element): Resume | undefined {
  const element = body.getChild('resume', NS_SEALED);
  if (element === undefined) return undefined;
  const id = attr(element, 'id') ?? '';
  const attempt = uint(attr(element, 'attempt'), 0xffff_ffff);
  if (!/^[0-9a-f]{32}$/.test(id) || attempt === undefined || attempt < 1)
    throw new SealedError('malformed', 'what is to be resumed is not named rightly');
  return { id, attempt };
}

function encodeHashes(block: number): Element {
  return xml('hashes', { block: String(block) });
}

/** @throws SealedError also where nothing is gone on with: there is nothing to compare them with */
function decodeHashes(body: Element, { size, resume }: Resumable): { readonly hashes?: number } {
  const element = body.getChild('hashes', NS_SEALED);
  if (element === undefined) return {};
  const hashes = uint(attr(element, 'block'), Number.MAX_SAFE_INTEGER);
  if (hashes === undefined || resume === undefined)
    throw new SealedError('malformed', 'the blocks whose hashes are wanted are not named rightly');
  listSize(size, hashes);
  return { hashes };
}

function missing(label: Label): SealedError {
  return new SealedError('missing', `the sealed ${label} is missing`);
}

const sha256 = (digest: Buffer): Hash => ({ algorithm: 'sha-256', digest });

function strong(hashes: readonly Hash[] = []): Buffer | undefined {
  return hashes.find(({ algorithm }) => algorithm === 'sha-256')?.digest;
}
