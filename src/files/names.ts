/** The one place where a file name from the network becomes a name for the disk. */

/** Bytes of a name: 255 on common file systems, less what the part file adds to it. */
export const MAX_NAME_BYTES = 255 - Buffer.byteLength('.jet-part');

/** Longest extension, in bytes, that is kept when a name is cut. */
const MAX_EXTENSION_BYTES = 32;

/** Control, format (bidi overrides, zero width), lone surrogates, line and paragraph separators. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const RESERVED = /[<>:"|?*]/g;
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\s*(?:\.|$)/iu;

/** Splits at the last dot; a name's leading dot starts no extension. */
export function splitName(name: string): { stem: string; extension: string } {
  const dot = name.lastIndexOf('.');
  return dot <= 0
    ? { stem: name, extension: '' }
    : { stem: name.slice(0, dot), extension: name.slice(dot) };
}

/** Cuts at a character boundary to at most `max` bytes of UTF-8. */
function cutBytes(text: string, max: number): string {
  let bytes = 0;
  let kept = '';
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > max) break;
    kept += character;
  }
  return kept;
}

/** Joins stem, addition and extension, cutting the stem so that all fits `max` bytes. */
function fitName(name: string, addition: string, max: number): string {
  const { stem, extension } = splitName(name);
  const keep = Buffer.byteLength(extension) <= MAX_EXTENSION_BYTES;
  const [whole, kept] = keep ? [stem, extension] : [name, ''];
  const cut = cutBytes(whole, max - Buffer.byteLength(addition) - Buffer.byteLength(kept));
  return cut + addition + kept;
}

/** No leading dots (hidden), dashes (options) or spaces. */
const LEADING = /^[.\-\s]+/u;
/** No trailing dots or spaces: some systems drop them. */
const TRAILING = /[.\s]+$/u;

/**
 * A name that stays in its folder on every system, at most MAX_NAME_BYTES bytes long, in NFC.
 *
 * @remarks Only the last segment of a path survives, with either separator. Idempotent.
 * @param name - anything, as it came from the peer
 */
export function safeName(name: string): string {
  const segments = name.split(/[/\\]/u).filter((segment) => segment !== '');
  return clean(segments.at(-1) ?? '', true);
}

/**
 * The name of something inside a folder that is received: as `safeName`, but leading dots and dashes
 * stay, and what is no separator here does not split it. Idempotent.
 */
export function safeInnerName(name: string): string {
  return clean(name.replace(/[/\\]/gu, '_'), false);
}

function clean(name: string, top: boolean): string {
  const trim = (text: string) =>
    (top ? text.replace(LEADING, '') : text.trimStart()).replace(TRAILING, '');
  const plain = name.replace(UNSAFE, '').replace(RESERVED, '_').normalize('NFC');
  const fitted = trim(fitName(trim(plain), '', MAX_NAME_BYTES - 1));
  // The byte that was left free is for this mark.
  if (DEVICE.test(fitted)) return `_${fitted}`;
  return fitted === '' ? 'file' : fitted;
}

/**
 * What two names have in common when some file system takes them for one: letters of either case, in
 * any form of Unicode, without what such systems ignore.
 *
 * @remarks Down before up: ẞ is the capital of ß, whose capitals are SS.
 */
export function foldName(name: string): string {
  return name
    .normalize('NFKD')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .toLowerCase()
    .toUpperCase();
}

/** The nth alternative of a taken name: `name (1).ext`. */
export function alternativeName(name: string, n: number): string {
  return fitName(name, ` (${String(n)})`, MAX_NAME_BYTES);
}

/** The part file's name: `NAME.jet-part`, or `NAME.ID.jet-part` when that is taken. */
export function partName(name: string, id?: string): string {
  const suffix = id === undefined ? '.jet-part' : `.${id}.jet-part`;
  return cutBytes(name, 255 - Buffer.byteLength(suffix)) + suffix;
}
