/** XEP-0234 0.19.1, Jingle File Transfer: what is said about a file. */
import type { Element } from '@xmpp/xml';
import { attr, xml } from '../xmpp/xml.ts';
import type { Algorithm, Hash } from './hashes.ts';
import { HASHES, decodeHash, encodeHash, isAlgorithm } from './hashes.ts';
import type { Creator } from './stanza.ts';
import { MAX_NAME, badRequest } from './stanza.ts';

/** Namespace of `<description/>`, `<checksum/>` and `<received/>`. */
export const FILE_TRANSFER = 'urn:xmpp:jingle:apps:file-transfer:5';
/** Namespace of the application-specific reasons. */
export const FILE_ERRORS = 'urn:xmpp:jingle:apps:file-transfer:errors:0';
/** What disco#info advertises for file transfer. */
export const fileFeatures: readonly string[] = [FILE_TRANSFER];

/** A part of a file, in bytes; without `length` up to the end. Both integers of 0 to 2^53 − 1. */
export interface FileRange {
  readonly offset: number;
  readonly length?: number;
  readonly hashes: readonly Hash[];
}

/** A `<file/>`. Everything in it is a claim of the peer. */
export interface FileDescription {
  /** As sent: sanitised where it meets the disk, escaped where it is printed. At most 4096 characters. */
  readonly name?: string;
  /** Bytes of the plaintext, an integer of 0 to 2^53 − 1. */
  readonly size?: number;
  readonly date?: Date;
  readonly mediaType?: string;
  readonly desc?: string;
  /** Only functions that this program knows. */
  readonly hashes: readonly Hash[];
  /** Functions whose digest follows in a `<checksum/>`. */
  readonly hashUsed: readonly Algorithm[];
  readonly range?: FileRange;
}

/** The content that a `<checksum/>` or a `<received/>` is about. */
export interface Reference {
  /** The schema demands it; one client leaves it out. */
  readonly creator?: Creator;
  readonly name: string;
}

/** A `<checksum/>` (§8.1): digests that became known after the offer. */
export interface Checksum extends Reference {
  readonly file: FileDescription;
}

const MAX_FILE_NAME = 4096;
const MAX_MEDIA_TYPE = 256;
const MAX_DESC = 16_384;
const MAX_HASHES = 16;

/** Reads the `<description/>` of a content. @throws StanzaError `bad-request` */
export function decodeDescription(element: Element): FileDescription {
  if (!element.is('description', FILE_TRANSFER)) throw badRequest('not a file description');
  return onlyFile(element);
}

/** Writes the `<description/>` of a content. */
export function encodeDescription(file: FileDescription, form: 'raw' | 'hex' = 'raw'): Element {
  return xml('description', { xmlns: FILE_TRANSFER }, encodeFile(file, form));
}

/** Reads a `<file/>`. @throws StanzaError `bad-request` */
export function decodeFile(element: Element): FileDescription {
  const file: { -readonly [K in keyof FileDescription]: FileDescription[K] } = {
    hashes: [],
    hashUsed: [],
  };
  const hashes: Hash[] = [];
  const used: Algorithm[] = [];
  const seen = new Set<string>();
  for (const child of element.getChildElements()) {
    const name = child.getName();
    if (child.getNS() === HASHES) {
      readHash(child, hashes, used);
      continue;
    }
    if (child.getNS() !== FILE_TRANSFER) continue;
    // A description may come in several languages; of all the rest a second one is a contradiction.
    const once = name === 'mediaType' ? 'media-type' : name;
    if (seen.has(once) && once !== 'desc') throw badRequest(`two of ${once}`);
    seen.add(once);
    if (name === 'name') file.name = bounded(child, MAX_FILE_NAME);
    else if (name === 'size') file.size = decodeInteger(child.getText().trim(), 'size');
    else if (name === 'date') file.date = decodeDate(child.getText().trim());
    else if (once === 'media-type') file.mediaType = bounded(child, MAX_MEDIA_TYPE);
    else if (name === 'desc') file.desc ??= bounded(child, MAX_DESC);
    else if (name === 'range') file.range = decodeRange(child);
  }
  file.hashes = hashes;
  file.hashUsed = used;
  return file;
}

/**
 * Writes a `<file/>`: always with `<desc/>`, without which one client refuses an offer.
 *
 * @param form - how digests are written, see {@link encodeHash}
 */
export function encodeFile(file: FileDescription, form: 'raw' | 'hex' = 'raw'): Element {
  const parts: Element[] = [];
  if (file.name !== undefined) parts.push(xml('name', {}, file.name));
  if (file.size !== undefined) parts.push(xml('size', {}, String(checked(file.size))));
  if (file.mediaType !== undefined) parts.push(xml('media-type', {}, file.mediaType));
  parts.push(xml('desc', {}, ...(file.desc === undefined ? [] : [file.desc])));
  if (file.date) parts.push(xml('date', {}, file.date.toISOString().replace('.000Z', 'Z')));
  if (file.range) parts.push(encodeRange(file.range, form));
  parts.push(...file.hashes.map((hash) => encodeHash(hash, form)));
  parts.push(...file.hashUsed.map((algo) => xml('hash-used', { xmlns: HASHES, algo })));
  return xml('file', { xmlns: FILE_TRANSFER }, ...parts);
}

/** Reads a `<checksum/>`; undefined when the element is another. @throws StanzaError `bad-request` */
export function decodeChecksum(element: Element): Checksum | undefined {
  if (!element.is('checksum', FILE_TRANSFER)) return undefined;
  return { ...decodeReference(element), file: onlyFile(element) };
}

/** Writes a `<checksum/>` with the digests, and the range that they speak of. */
export function encodeChecksum(checksum: Required<Checksum>, form: 'raw' | 'hex' = 'raw'): Element {
  const { creator, name, file } = checksum;
  const parts = file.range ? [encodeRange(file.range, form)] : [];
  parts.push(...file.hashes.map((hash) => encodeHash(hash, form)));
  return xml(
    'checksum',
    { xmlns: FILE_TRANSFER, creator, name },
    xml('file', { xmlns: FILE_TRANSFER }, ...parts),
  );
}

/** Reads a `<received/>` (§8.2); undefined when the element is another. @throws StanzaError */
export function decodeReceived(element: Element): Reference | undefined {
  return element.is('received', FILE_TRANSFER) ? decodeReference(element) : undefined;
}

/** Writes a `<received/>`: this content has arrived; `extra` is what goes inside. */
export function encodeReceived(creator: Creator, name: string, ...extra: Element[]): Element {
  return xml('received', { xmlns: FILE_TRANSFER, creator, name }, ...extra);
}

/** The application part of a `<reason/>` (§9). */
export function fileError(condition: 'file-not-available' | 'file-too-large'): Element {
  return xml(condition, { xmlns: FILE_ERRORS });
}

/** Which of the reasons of §9 it is, if any. */
export function decodeFileError(
  element: Element | undefined,
): 'file-not-available' | 'file-too-large' | undefined {
  if (element?.is('file-not-available', FILE_ERRORS)) return 'file-not-available';
  if (element?.is('file-too-large', FILE_ERRORS)) return 'file-too-large';
  return undefined;
}

function onlyFile(element: Element): FileDescription {
  const files = element.getChildElements().filter((child) => child.is('file', FILE_TRANSFER));
  const [file] = files;
  if (!file || files.length > 1) throw badRequest('not one file');
  return decodeFile(file);
}

function decodeReference(element: Element): Reference {
  const creator = attr(element, 'creator');
  const name = attr(element, 'name');
  if (creator !== undefined && creator !== 'initiator' && creator !== 'responder')
    throw badRequest('bad creator');
  if (name === undefined || name === '' || name.length > MAX_NAME) throw badRequest('bad name');
  return { name, ...(creator !== undefined && { creator }) };
}

function readHash(element: Element, hashes: Hash[], used: Algorithm[]): void {
  if (hashes.length + used.length >= MAX_HASHES) throw badRequest('too many hashes');
  const algorithm = attr(element, 'algo');
  if (algorithm === undefined || !isAlgorithm(algorithm)) return;
  if (element.getName() === 'hash-used') {
    if (!used.includes(algorithm)) used.push(algorithm);
  } else if (element.getName() === 'hash' && element.getText().trim() !== '') {
    const hash = decodeHash(element);
    if (!hash) throw badRequest('bad hash');
    hashes.push(hash);
  }
}

function decodeRange(element: Element): FileRange {
  const hashes: Hash[] = [];
  for (const child of element.getChildElements())
    if (child.getNS() === HASHES) readHash(child, hashes, []);
  const offset = decodeInteger(attr(element, 'offset') ?? '0', 'offset');
  const length = attr(element, 'length');
  if (length === undefined) return { offset, hashes };
  const bytes = decodeInteger(length, 'length');
  if (!Number.isSafeInteger(offset + bytes)) throw badRequest('bad length');
  return { offset, length: bytes, hashes };
}

function encodeRange(range: FileRange, form: 'raw' | 'hex'): Element {
  const attributes = {
    ...(range.offset > 0 && { offset: String(checked(range.offset)) }),
    ...(range.length !== undefined && { length: String(checked(range.length)) }),
  };
  return xml('range', attributes, ...range.hashes.map((hash) => encodeHash(hash, form)));
}

function bounded(element: Element, max: number): string {
  const value = element.getText();
  if (value.length > max) throw badRequest(`${element.getName()} too long`);
  return value;
}

function decodeInteger(digits: string, what: string): number {
  const value = /^[0-9]{1,19}$/.test(digits) ? Number(digits) : -1;
  if (value < 0 || !Number.isSafeInteger(value)) throw badRequest(`bad ${what}`);
  return value;
}

function checked(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError('not a number of bytes');
  return value;
}

/** XEP-0082 §3.2: a date and time with its offset from UTC. */
function decodeDate(value: string): Date {
  const form = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;
  const date = new Date(form.test(value) ? value : NaN);
  if (Number.isNaN(date.getTime())) throw badRequest('bad date');
  return date;
}
