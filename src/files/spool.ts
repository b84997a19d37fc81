/** Standard input, whose length nobody knows, in a temporary file: its size and hash are known after. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, statfs, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomId } from '../core/bytes.ts';
import { Exit, JetError } from '../core/errors.ts';
import { writeFailure } from './refusal.ts';
import { FileSource } from './source.ts';

/** How to take the input. */
export interface SpoolOptions {
  /** What the other side sees as the file's name. */
  readonly name: string;
  /** Where the file lies. Default: the system's folder for temporary files. */
  readonly folder?: string;
  readonly signal?: AbortSignal;
  /** Bytes that were taken so far. */
  readonly onProgress?: (bytes: number) => void;
}

/** Bytes between two looks at the free space, which never goes below that. */
const RESERVE = 16 * 1024 * 1024;

/**
 * Takes all of an input into a file that has no name: it is gone when it is closed or the process
 * ends, however that happens.
 *
 * @returns the source, and its SHA-256 (32 bytes)
 * @throws JetError (exit 8) `disk-full`, `input-failed` and as `Landing`; the signal's reason
 */
export async function spool(
  input: AsyncIterable<Uint8Array>,
  options: SpoolOptions,
): Promise<{ readonly source: FileSource; readonly sha256: Buffer }> {
  const { name, signal, onProgress } = options;
  const folder = options.folder ?? tmpdir();
  const path = join(folder, `jet-${randomId()}`);
  signal?.throwIfAborted();
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(path, flags, 0o600).catch((error: unknown) => {
    throw writeFailure(path, error);
  });
  try {
    const hash = createHash('sha256');
    const write = async (bytes: Uint8Array, position: number) => {
      for (let done = 0; done < bytes.length;) {
        const left = bytes.length - done;
        done += (await file.write(bytes, done, left, position + done)).bytesWritten;
      }
    };
    let taken = 0;
    let checked = -RESERVE;
    try {
      await unlink(path);
      for await (const bytes of read(input, signal)) {
        if (taken + bytes.length - checked >= RESERVE) {
          await checkSpace(folder, bytes.length);
          checked = taken;
        }
        await write(bytes, taken);
        hash.update(bytes);
        taken += bytes.length;
        onProgress?.(taken);
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw writeFailure(path, error);
    }
    return { source: await FileSource.of(file, name, 'the input'), sha256: hash.digest() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The input's blocks; waiting for one ends with the signal. */
async function* read(
  input: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  // It may have been called off while the file was being made.
  signal?.throwIfAborted();
  const blocks = input[Symbol.asyncIterator]();
  let abort: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal?.reason as Error);
    signal?.addEventListener('abort', abort, { once: true });
  });
  aborted.catch(() => undefined);
  try {
    for (;;) {
      const next = await Promise.race([blocks.next(), aborted]).catch((error: unknown) => {
        signal?.throwIfAborted();
        throw failed(error);
      });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    // Not awaited: an input that gives nothing does not end, either.
    void blocks.return?.().then(undefined, () => undefined);
  }
}

async function checkSpace(folder: string, coming: number): Promise<void> {
  const { blocks, bavail, bsize } = await statfs(folder, { bigint: true });
  // A file system that counts no blocks at all does not tell.
  if (blocks === 0n || bavail * bsize >= BigInt(RESERVE + coming)) return;
  throw new JetError(
    Exit.localFile,
    'disk-full',
    `${folder} has no space left for the input, which is kept there until it is sent. Free some, or set TMPDIR to another folder.`,
  );
}

function failed(cause: unknown): JetError {
  const message = 'The input could not be read to its end. Start the program that writes it again.';
  return new JetError(Exit.localFile, 'input-failed', message, { cause });
}
