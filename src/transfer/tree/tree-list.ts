/** A folder, or a batch of files, as one content (docs/sealed.md §4.3): what the offer says, and the list. */
import { createHash } from 'node:crypto';
import { fromBase64, fromHex, toBase64 } from '../../core/bytes.ts';
import { Exit, JetError } from '../../core/errors.ts';
import { parseObject } from '../../core/json.ts';
import type { TreeEntry } from '../../files/walk.ts';
import { SealedError } from '../../jet/sealed.ts';
import type { TransferRow } from '../journal/journal-row.ts';
import { attr, bool, uint, xml, type Element } from '../../xmpp/xml.ts';

/** Most bytes of a list. */
const MOST_BYTES = 64 * 1024 * 1024;
/** Most entries of a list. */
const MOST_ENTRIES = 1_000_000;
/** Longest path and longest target of a link, in UTF-16 units. */
const LONGEST = 4096;

/** What binds the list: the stream is the list, the bytes of the files in its order, and one byte for each file. */
export interface TreeHead {
  /** Bytes of the list. */
  readonly list: number;
  /** How many files it has. */
  readonly files: number;
  /** SHA-256 of the list, 32 bytes. */
  readonly sha256: Buffer;
  /** It is a batch: files that were named one by one, and that no folder holds. */
  readonly batch: boolean;
}

/** The last bytes of the stream: what became of each file at the side that has read it. */
export const WHOLE = 0x31;
export const BROKEN = 0x30;

/** `<tree/>` in the body of a sealed offer. */
export function encodeTree({ list, files, sha256, batch }: TreeHead): Element {
  const attrs = { list: String(list), files: String(files), sha256: toBase64(sha256) };
  return xml('tree', { ...attrs, ...(batch && { batch: 'true' }) });
}

/** @param size - bytes of the stream @throws SealedError */
export function decodeTree(element: Element, size: number): TreeHead {
  const list = uint(attr(element, 'list'), MOST_BYTES);
  const files = uint(attr(element, 'files'), MOST_ENTRIES);
  const sha256 = fromBase64(attr(element, 'sha256') ?? '');
  const batch = bool(attr(element, 'batch'));
  const counts = list !== undefined && files !== undefined && list + files <= size;
  if (!counts || sha256?.length !== 32 || batch === undefined || (batch && files === 0))
    throw new SealedError('malformed', 'the list of an offered folder is not named rightly');
  return { list, files, sha256, batch };
}

/** The head for the options of a row. */
export function treeWords({ list, files, sha256, batch }: TreeHead): string {
  return `${list} ${files} ${sha256.toString('hex')}${batch ? ' batch' : ''}`;
}

/** What the row of a folder or a batch says of it; undefined for that of a file. */
export function headOf({ options }: Pick<TransferRow, 'options'>): TreeHead | undefined {
  const [list, files, digest = '', batch] = String(options['tree'] ?? '').split(' ');
  const sha256 = fromHex(digest);
  if (sha256?.length !== 32) return undefined;
  return { list: Number(list), files: Number(files), sha256, batch: batch === 'batch' };
}

/** The name of what is offered, as it is shown: a folder's ends with `/`, that of a batch is that of its first file. */
export function shownName(name: string, head: TreeHead | undefined): string {
  if (head === undefined) return name;
  if (!head.batch) return `${name}/`;
  return head.files === 1 ? name : `${name} and ${head.files - 1} more`;
}

/** The list as it is encrypted, one JSON object a line. @throws JetError (exit 8) `folder-too-large` */
export function writeTree(
  entries: readonly TreeEntry[],
  batch = false,
): {
  readonly bytes: Buffer;
  readonly head: TreeHead;
} {
  const lines = entries.map(({ kind, path, mode, mtime, ...rest }) => {
    const { size, target } = rest as { size?: number; target?: string };
    return `${JSON.stringify({ kind, path, mode, mtime, size, target })}\n`;
  });
  const bytes = Buffer.from(lines.join(''));
  if (bytes.length > MOST_BYTES || entries.length > MOST_ENTRIES)
    throw new JetError(
      Exit.localFile,
      'folder-too-large',
      'The folder holds too many files for one offer. Send its folders one by one.',
    );
  const files = entries.filter(({ kind }) => kind === 'file').length;
  const sha256 = createHash('sha256').update(bytes).digest();
  return { bytes, head: { list: bytes.length, files, sha256, batch } };
}

/**
 * Reads the list of a peer: a folder of this name and what is in it, or files of which the first has this name. Their
 * bytes come to the stream.
 *
 * @param size - bytes of the stream
 * @throws JetError (exit 9) `bad-list`
 */
export function readTree(bytes: Buffer, head: TreeHead, name: string, size: number): TreeEntry[] {
  if (!createHash('sha256').update(bytes).digest().equals(head.sha256)) throw badList();
  const lines = bytes.toString().split('\n');
  if (lines.pop() !== '' || lines.length > MOST_ENTRIES) throw badList();
  const entries = lines.map((line, n) => {
    const entry = decodeEntry(line);
    if (entry === undefined) throw badList();
    const { kind, path } = entry;
    const inside = head.batch || n === 0 || path.startsWith(`${name}/`);
    const fits = head.batch ? kind === 'file' && !path.includes('/') : n > 0 || kind === 'folder';
    if (!inside || !fits || (n === 0 && path !== name)) throw badList();
    return entry;
  });
  const files = entries.filter((entry) => entry.kind === 'file');
  const total = files.reduce((sum, file) => sum + file.size, head.list + head.files);
  if (entries.length === 0 || files.length !== head.files || total !== size) throw badList();
  return entries;
}

function decodeEntry(line: string): TreeEntry | undefined {
  const value = parseObject(line);
  if (value === undefined) return undefined;
  const { kind, path, mode, mtime, size, target } = value;
  if (typeof path !== 'string' || path.length > LONGEST) return undefined;
  if (!within(mode, 0o777) || typeof mtime !== 'number') return undefined;
  const about = { path, mode, mtime };
  if (kind === 'folder') return { kind, ...about };
  if (kind === 'file' && within(size, Number.MAX_SAFE_INTEGER)) return { kind, ...about, size };
  if (kind === 'link' && typeof target === 'string' && target.length <= LONGEST)
    return { kind, ...about, target };
  return undefined;
}

function within(value: unknown, most: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most;
}

function badList(): JetError {
  return new JetError(
    Exit.remoteFile,
    'bad-list',
    'the list of what is in the folder is malformed. Ask there for an update of jet',
  );
}
