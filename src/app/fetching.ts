/** `jet fetch`: pulls files that a contact shares. */
import { basename, join } from 'node:path';
import { statSync } from 'node:fs';
import { Exit, JetError, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { warmUp } from '../files/memory.ts';
import { safeName } from '../files/names.ts';
import type { FileRange } from '../jingle/file-description.ts';
import type { Hash } from '../jingle/hashes.ts';
import type { Target } from '../transfer/decrypting.ts';
import { fetchFile, type Wanted } from '../transfer/fetch.ts';
import { memoryTarget, readList, type Listed } from '../transfer/listing.ts';
import type { Recorder } from '../transfer/journal/recorder.ts';
import type { Extent, NamedFile, Request } from '../transfer/sealed.ts';
import type { AskedRange } from '../transfer/selector.ts';
import { overall } from '../transfer/several.ts';
import { StreamTarget } from '../transfer/stream-target.ts';
import type { Say } from '../transfer/file-target.ts';
import { fileTarget } from '../transfer/targets.ts';
import { approach, type Approached } from './approach.ts';
import { persist, type First } from './persisting.ts';
import type { FetchOptions, OnEvent, RouteOptions } from './types.ts';
import type { Workbench } from './workbench.ts';

/** Milliseconds that a holder has to answer: nobody is asked there. */
const ANSWER_MS = 60_000;

/** @see OpenAccount.fetch */
export async function fetch(
  bench: Workbench,
  hashes: readonly Hash[],
  from: Jid,
  options: FetchOptions,
  on: OnEvent,
  signal: AbortSignal,
): Promise<ExitStatus> {
  bench.prepare(options);
  const found = await approach(bench, from, 'request', options, on, signal);
  if (options.range !== undefined && found.device === undefined)
    throw new JetError(
      Exit.remoteFile,
      'no-ranges',
      `${from.bare.toString()} is no jet, and a part of a file could not be proven. Fetch the whole file.`,
    );
  warmUp();
  const statuses: ExitStatus[] = [];
  for (const hash of hashes) {
    signal.throwIfAborted();
    const request: Request = {
      file: {
        hashes: [hash],
        hashUsed: [],
        ...(options.range && { range: rangeOf(options.range) }),
      },
      list: false,
    };
    const say: Say = (code, message) => bench.ui.notice(code, message);
    const target: Wanted = (...args) => landing(options, ...args, say);
    const first: First = (told, began) =>
      ask(bench, found, request, labelOf(hash), target, options, told, signal, began);
    statuses.push(await persist(bench, first, options, on, signal));
  }
  return overall(statuses);
}

/** @see OpenAccount.list */
export async function list(
  bench: Workbench,
  from: Jid,
  options: RouteOptions,
  on: OnEvent,
  signal: AbortSignal,
): Promise<readonly Listed[] | ExitStatus> {
  bench.prepare(options);
  const found = await approach(bench, from, 'request', options, on, signal);
  if (found.device === undefined)
    throw new JetError(
      Exit.remoteFile,
      'no-list',
      `${from.bare.toString()} is no jet and has no list that could be asked for in secret.`,
    );
  let memory: ReturnType<typeof memoryTarget> | undefined;
  const target = ({ size }: NamedFile) => {
    memory = memoryTarget(size);
    return Promise.resolve(memory);
  };
  const request: Request = { file: { hashes: [], hashUsed: [] }, list: true };
  const exit = await ask(bench, found, request, 'the list', target, options, on, signal);
  return exit === Exit.done && memory !== undefined ? readList(memory.bytes()) : exit;
}

function ask(
  bench: Workbench,
  { peer, envelope, device }: Approached,
  request: Request,
  label: string,
  target: Wanted,
  options: RouteOptions,
  on: OnEvent,
  signal: AbortSignal,
  began?: (key: number) => void,
): Promise<ExitStatus> {
  return fetchFile(bench.surroundings(options), {
    ...{ to: peer, envelope, request, label, target, answerMs: ANSWER_MS, on, signal },
    say: (code, message) => bench.ui.notice(code, message),
    ...(device !== undefined && { device }),
    ...(began && { began }),
  });
}

function rangeOf({ offset, length }: AskedRange): FileRange {
  return { offset, ...(length !== undefined && { length }), hashes: [] };
}

function labelOf({ algorithm, digest }: Hash): string {
  return `${algorithm}:${digest.toString('hex').slice(0, 16)}…`;
}

/** To a file that was named, into a folder under the file's own name, or to standard output. */
async function landing(
  { out, stdout, onConflict }: FetchOptions,
  file: NamedFile,
  part: Extent | undefined,
  recorder: Recorder | undefined,
  say: Say,
): Promise<Target> {
  if (stdout) return new StreamTarget(process.stdout, part?.length ?? file.size, true);
  const folder = statSync(out, { throwIfNoEntry: false })?.isDirectory() === true;
  const path = folder ? join(out, safeName(file.name)) : out;
  // A file that the user has named is not put elsewhere unasked.
  const policy = onConflict ?? (folder ? 'rename' : 'fail');
  const options = { target: path, size: part?.length ?? file.size, onConflict: policy };
  if (part === undefined)
    recorder?.note({ options: { ...recorder.row().options, onConflict: policy } });
  const target = part
    ? await fileTarget(options, 'range')
    : await fileTarget(options, 'file', recorder, { say });
  if (target !== undefined) return target;
  throw new JetError(Exit.localFile, 'target-exists', `${basename(path)} is there already`);
}
