/** Transfers that a peer goes on with (docs/sealed.md §9.6): who may, and what the journal says of them. */
import { createHash } from 'node:crypto';
import { Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { Hasher } from '../files/hashing.ts';
import { FileSource } from '../files/source.ts';
import type { Hash } from '../jingle/hashes.ts';
import { Unacceptable } from './incoming.ts';
import type { TransferRow } from './journal/journal-row.ts';
import type { Pauses } from './pauses.ts';
import type { Recorder, Records } from './journal/recorder.ts';
import type { Reporter } from './reporter.ts';
import type { OfferedFile, Resume } from './sealed.ts';
import { parseSelector } from './selector.ts';
import type { Sendable } from './send.ts';
import type { StreamTarget } from './stream-target.ts';
import { headOf, treeWords } from './tree/tree-list.ts';
import { reopenTree } from './tree/tree-source.ts';

/** Which of our rows a peer may go on with. */
export interface GoesOn {
  readonly allows: (row: TransferRow) => boolean;
  /** Who wants it: `user` where this side goes on with them, too. Default: the peer alone. */
  readonly by?: 'user' | 'peer';
}

/** What an offer is about. */
export interface Taken {
  /** Its row; that of a file that has landed is closed, and a folder that comes again has one of its own. */
  readonly recorder?: Recorder;
  /** What tells of it, of a transfer that is between two sessions. */
  readonly reporter?: Reporter;
  /** The folder of a new transfer; undefined for one that is gone on with. */
  readonly out?: string;
  /** Where the file lies already: only its receipt is missing over there. */
  readonly landed?: string;
  /** What takes the next bytes of a file that is handed on as it comes. */
  readonly flow?: StreamTarget;
}

/**
 * The row of an offer that goes on with an earlier one; undefined for an offer of another file than the
 * id stands for, which is a new offer.
 *
 * @param goesOn - which rows are gone on with; all by default
 * @throws Unacceptable when it may not be gone on with; unknown and forbidden look the same
 */
export async function goOnReceiving(
  records: Records,
  pauses: Pauses,
  account: string,
  identity: string,
  peer: Jid,
  { name, size, resume, tree }: OfferedFile,
  goesOn?: GoesOn,
): Promise<Taken | undefined> {
  const { journal } = records;
  const row = find(records, account, identity, peer, 'receive', resume);
  if (row === undefined || goesOn?.allows(row) === false)
    throw unavailable('it goes on with a transfer that is not known here, or has expired');
  if (row.name !== name || row.size !== size) return undefined;
  if (row.options['tree'] !== (tree && treeWords(tree))) return undefined;
  if (!journal.acceptAttempt(row.key, resume?.attempt ?? 0))
    throw unavailable('it goes on with a transfer by a number that is used');
  try {
    const paused = await pauses.take(row.key);
    if (paused !== undefined) return paused;
    return { recorder: await records.answer(row.key, goesOn?.by ?? 'peer') };
  } catch (error) {
    // It has landed before, or while it was to be ended for the new session.
    const { state, path } = journal.row(row.key);
    if (state === 'done' && path !== undefined) return { landed: path };
    throw error instanceof JetError ? unavailable(error.message) : error;
  }
}

/**
 * The next session of a file that is handed on as it comes: only between two of them it may be gone on with.
 *
 * @param key - of its row
 * @throws Unacceptable, as `goOnReceiving`
 */
export async function goOnStreaming(
  { journal }: Records,
  pauses: Pauses,
  key: number,
  peer: Jid,
  { name, size, resume }: OfferedFile,
): Promise<Taken> {
  const row = journal.row(key);
  const same = row.peer === peer.bare.toString() && row.name === name && row.size === size;
  const paused =
    same && journal.acceptAttempt(key, resume?.attempt ?? 0) ? await pauses.take(key) : undefined;
  if (paused === undefined)
    throw unavailable('it goes on with what goes to standard output, and was interrupted');
  return paused;
}

/** What a peer goes on with that gets a file of ours. */
export interface GoneOn {
  readonly recorder: Recorder;
  /** As in `Taken`. */
  readonly reporter?: Reporter;
  readonly source: Sendable;
  readonly sha256: Buffer;
}

/**
 * The source of a request that goes on with an earlier transfer.
 *
 * @param goesOn - whether the right to it still stands
 * @throws Error with what this side's user is told; to the peer all is the same
 */
export async function goOnSending(
  records: Records,
  pauses: Pauses,
  account: string,
  identity: string,
  peer: Jid,
  resume: Resume,
  { allows, by = 'peer' }: GoesOn,
): Promise<GoneOn> {
  const row = find(records, account, identity, peer, 'send', resume);
  if (row === undefined || !allows(row))
    throw new Error(
      'it goes on with a transfer that is not known here, has expired, or is not allowed any more',
    );
  if (!records.journal.acceptAttempt(row.key, resume.attempt))
    throw new Error('it goes on with a transfer by a number that is used');
  const paused = await pauses.take(row.key);
  const recorder = paused?.recorder ?? (await records.answer(row.key, by));
  try {
    return { recorder, ...paused, ...(await openSource(recorder)) };
  } catch (error) {
    recorder.release();
    throw error;
  }
}

/**
 * What a row sends can be sent again.
 *
 * @throws JetError (exit 8) as `openSource`
 */
export async function checkSource(row: TransferRow, signal?: AbortSignal): Promise<void> {
  const { path, file } = row;
  if (headOf(row) !== undefined) await reopenTree(row, signal);
  else if (path !== undefined && file !== undefined)
    await (await FileSource.open(path, file)).close();
}

/**
 * The source of a row, if it is what it was, and its hash: of what lies on the disk now.
 *
 * @throws JetError (exit 8) as `FileSource.open`; `source-unknown`, `source-changed`
 */
export async function openSource(
  recorder: Recorder,
  signal?: AbortSignal,
): Promise<{ readonly source: Sendable; readonly sha256: Buffer }> {
  const row = recorder.row();
  const { path, file, sha256, id } = row;
  if (headOf(row) !== undefined) return openTree(row, signal);
  if (path === undefined || file === undefined)
    throw new JetError(
      Exit.localFile,
      'source-unknown',
      `What transfer ${id} sent cannot be read again. Send it anew.`,
    );
  const source = await FileSource.open(path, file);
  try {
    if (sha256 !== undefined) return { source, sha256: Buffer.from(sha256, 'hex') };
    const region = { file: source.file, offset: 0, end: source.size, ...(signal && { signal }) };
    const [hash] = await new Hasher(1).hash(region);
    await source.check();
    if (hash === undefined) throw new Error('no hash');
    recorder.note({ sha256: hash.digest.toString('hex') });
    return { source, sha256: hash.digest };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** That the list is the same does not say that everything can still be read: all of it is. */
async function openTree(
  row: TransferRow,
  signal: AbortSignal | undefined,
): Promise<{ readonly source: Sendable; readonly sha256: Buffer }> {
  const source = await reopenTree(row, signal);
  const hash = createHash('sha256');
  for await (const block of source.read(0, source.size)) {
    signal?.throwIfAborted();
    hash.update(block);
  }
  return { source, sha256: hash.digest() };
}

/** What is known of the whole file beforehand: the hashes that it was asked for by. */
export function knownHashes(recorder: Recorder | undefined): Hash[] {
  const hashes = recorder?.row().options['hashes'];
  return typeof hashes === 'string' && hashes !== '' ? hashes.split(' ').map(parseSelector) : [];
}

/** Hashes for the options of a row. */
export function hashWords(hashes: readonly Hash[]): string {
  return hashes.map(({ algorithm, digest }) => `${algorithm}:${digest.toString('hex')}`).join(' ');
}

function find(
  records: Records,
  account: string,
  identity: string,
  peer: Jid,
  direction: TransferRow['direction'],
  resume: Resume | undefined,
): TransferRow | undefined {
  const row = resume && records.journal.findByTransferId(account, identity, resume.id);
  if (row?.direction !== direction || row.peer !== peer.bare.toString()) return undefined;
  return row.state === 'expired' ? undefined : row;
}

function unavailable(message: string): Unacceptable {
  return new Unacceptable('failed-application', message, 'file-not-available');
}
