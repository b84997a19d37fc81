/** The bytes of one file: read, hashed, encrypted and sent; received, decrypted, hashed, written. */
import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { type Clock, systemClock } from '../core/clock.ts';
import { asError, Exit, type ExitStatus, JetError } from '../core/errors.ts';
import type { Sink } from '../files/landing.ts';
import { release } from '../files/memory.ts';
import type { Cipher } from '../jet/cipher.ts';
import type { TransportSecret } from '../jet/envelope.ts';
import { Decryptor, Encryptor, GcmError } from '../jet/gcm.ts';
import { tooLarge } from '../jet/limits.ts';
import { nodeName, type Algorithm, type Hash } from '../jingle/hashes.ts';
import type { Bytestream } from '../jingle/transport.ts';
import { RateLimiter } from './rate.ts';

/** Bytes that are encrypted or decrypted at once. */
const SLICE = 256 * 1024;
/** Encrypted bytes that may wait for the connection before no more are made. */
const AHEAD = 1024 * 1024;

/** What a source must offer; FileSource does. */
export interface Readable {
  read(): AsyncIterable<Buffer>;
}

/** What both directions need. */
interface PumpOptions {
  readonly bytestream: Bytestream;
  readonly cipher: Cipher;
  readonly secret: TransportSecret;
  readonly signal?: AbortSignal;
  /** Plaintext bytes so far: taken by the other side or the kernel (send), in the sink (receive). */
  readonly onProgress?: (bytes: number) => void;
}

/** What to send. */
export interface SendOptions extends PumpOptions {
  readonly source: Readable;
  /** Bytes a second. */
  readonly limitRate?: number;
  readonly clock?: Clock;
  /** Told the plaintext, in order. */
  readonly onBytes?: (bytes: Buffer) => void;
  /** SHA-256 of the plaintext, where it is known: it is not computed again, which is a third of the work. */
  readonly sha256?: Buffer | undefined;
}

/** What to receive. */
export interface ReceiveOptions extends PumpOptions {
  readonly sink: Sink;
  /** Plaintext bytes announced. */
  readonly size: number;
  /** Hash functions to compute beside SHA-256; default none. */
  readonly functions?: readonly Algorithm[];
  /** Compute SHA-256 of ciphertext and tag, too. */
  readonly hashWire?: boolean;
}

/** Plaintext bytes and their SHA-256 (32 bytes). */
export interface Pumped {
  readonly bytes: number;
  readonly sha256: Buffer;
}

/** What came, and is right as far as the tag says. */
export interface Received extends Pumped {
  readonly verified: true;
  readonly digests: readonly Hash[];
  /** SHA-256 of ciphertext and tag, where it was asked for. */
  readonly wire?: Buffer;
}

function lost(cause?: unknown): JetError {
  const message =
    'the connection to the other side broke before the whole file was through. Try again.';
  return new JetError(Exit.transport, 'stream-ended', message, { cause });
}

/** The user's error for what the cipher said; anything else as it is. */
function explain(error: unknown, cipher: Cipher, side: 'send' | 'receive'): unknown {
  if (!(error instanceof GcmError)) return error;
  const refuse = (exit: ExitStatus, code: string, message: string) =>
    new JetError(exit, code, message, { cause: error });
  switch (error.reason) {
    case 'tag-mismatch':
      return refuse(
        Exit.security,
        'tag-mismatch',
        'what came is not what the sender encrypted: it was damaged or changed on the way, and is not kept as the file. Ask for it to be sent again.',
      );
    case 'secret':
      return refuse(
        Exit.security,
        'bad-secret',
        'the key of the transfer does not fit its cipher. Try again, and update both sides if it stays so.',
      );
    case 'extra-bytes':
      return refuse(
        Exit.remoteFile,
        'too-many-bytes',
        'the other side sent more bytes than it had announced. Ask for the file to be sent again.',
      );
    case 'too-long':
      return tooLarge(cipher, side);
    case 'truncated':
      return lost(error);
    case 'ended':
      return error;
  }
}

/** Watches a duplex: one place that knows whether it failed. */
class Watch {
  readonly #duplex: Duplex;
  #error: Error | undefined;
  readonly #onError = (error: Error) => {
    this.#error ??= error;
  };
  readonly #onAbort: () => void;
  #interrupt: (reason: unknown) => void = () => undefined;
  readonly #signal: AbortSignal | undefined;

  constructor(duplex: Duplex, signal: AbortSignal | undefined) {
    this.#duplex = duplex;
    this.#signal = signal;
    this.#onAbort = () => {
      duplex.destroy();
      this.#interrupt(signal?.reason);
    };
    duplex.on('error', this.#onError);
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** @throws the signal's reason, or JetError (exit 7) when the stream is gone */
  check(): void {
    this.#signal?.throwIfAborted();
    if (this.broken) throw lost(this.#error);
  }

  /** What to report of an error: the abort's reason goes before what the abort broke. */
  reasonOf(error: unknown): unknown {
    return this.#signal?.aborted === true ? this.#signal.reason : error;
  }

  /** True when the stream failed or was closed before its end. */
  get broken(): boolean {
    return this.#error !== undefined || this.#duplex.destroyed;
  }

  /** Waits for work that knows no signal; one at a time. Rejects at once with the abort's reason. */
  unlessAborted(work: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#interrupt = reject;
      // The work may have aborted itself before anybody listened.
      if (this.#signal?.aborted === true) this.#onAbort();
      work.then(resolve, reject);
    });
  }

  /** Resolves at `event` or when the stream closes, whichever is first. */
  until(event: 'drain' | 'finish'): Promise<void> {
    return new Promise((resolve) => {
      if (this.#duplex.closed) {
        resolve();
        return;
      }
      const done = () => {
        this.#duplex.off(event, done).off('close', done);
        resolve();
      };
      this.#duplex.on(event, done).on('close', done);
    });
  }

  /** The duplex keeps its error listener: a late reset must not end the process. */
  stop(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }
}

/**
 * Gives each chunk to `take` until that wants no more, or the stream has ended or is gone. While `take`
 * has promised its answer nothing is read.
 *
 * @param take - whether more is wanted; what it throws or rejects with is passed on
 */
function consume(
  duplex: Duplex,
  take: (chunk: Buffer) => Promise<boolean> | boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (duplex.destroyed || duplex.readableEnded) {
      resolve();
      return;
    }
    let promised = false;
    let ended = false;
    const stop = () => {
      duplex.pause();
      duplex.off('data', read).off('end', over).off('close', over);
    };
    const over = () => {
      ended = true;
      if (promised) return;
      stop();
      resolve();
    };
    const fail = (error: unknown) => {
      stop();
      reject(asError(error));
    };
    const answered = (more: boolean) => {
      promised = false;
      if (more && !ended) duplex.resume();
      else over();
    };
    const read = (chunk: Buffer) => {
      try {
        const more = take(chunk);
        if (more === false) over();
        if (typeof more === 'boolean') return;
        promised = true;
        duplex.pause();
        more.then(answered, fail);
      } catch (error) {
        fail(error);
      }
    };
    duplex.on('data', read).on('end', over).on('close', over);
    duplex.resume();
  });
}

/**
 * Sends a file as one GCM message and half-closes.
 *
 * @throws JetError: exit 6 `bad-secret`, 7 `stream-ended`, 8 from the source and `file-too-large`; the
 * signal's reason
 */
export async function sendStream(options: SendOptions): Promise<Pumped> {
  const { source, bytestream, signal, onProgress, sha256 } = options;
  const { duplex } = bytestream;
  const hash = createHash('sha256');
  const limiter =
    options.limitRate === undefined
      ? undefined
      : new RateLimiter(options.clock ?? systemClock, options.limitRate);
  const slice = Math.min(SLICE, limiter?.chunk ?? SLICE);
  // Whoever limits the rate wants to see what is under way.
  const most = limiter === undefined ? AHEAD : 0;
  const watch = new Watch(duplex, signal);
  // What the other side writes back means nothing, but unread it would hold up its end of stream.
  duplex.resume();
  let bytes = 0;
  const progress = () => onProgress?.(Math.min(bytes, bytestream.taken()));
  try {
    watch.check();
    const encryptor = new Encryptor(options.cipher, options.secret);
    for await (const block of source.read()) {
      for (let at = 0; at < block.length; at += slice) {
        const plain = block.subarray(at, at + slice);
        if (limiter !== undefined) await limiter.take(plain.length, signal);
        watch.check();
        if (sha256 === undefined) hash.update(plain);
        options.onBytes?.(plain);
        const wire = encryptor.update(plain);
        bytes += plain.length;
        const passed = duplex.write(wire, (error) => {
          if (bytestream.buffersAreFree && !error) release(wire);
        });
        if (!passed && duplex.writableLength >= most) await watch.until('drain');
        watch.check();
      }
      progress();
      // write() may succeed at once for ever: timers and other sockets must have their turn.
      await new Promise(setImmediate);
    }
    duplex.end(encryptor.final());
    if (!duplex.writableFinished) await watch.until('finish');
    signal?.throwIfAborted();
    if (!duplex.writableFinished) throw lost();
    progress();
    return { bytes, sha256: sha256 ?? hash.digest() };
  } catch (error) {
    // No half message may look like a whole one: the stream is cut, not ended.
    duplex.destroy();
    throw explain(watch.reasonOf(error), options.cipher, 'send');
  } finally {
    watch.stop();
  }
}

/**
 * Receives one GCM message of `size` bytes into a sink.
 *
 * @remarks Resolves once the tag is verified, whether or not the peer ever closes its end. What the
 * sink was given before that is unverified.
 * Of bytes behind the tag only those that come in one chunk with it are an error: some clients write a
 * few after they have got everything, and by then nobody waits for them. They are read and dropped
 * until whoever owns the stream closes it; not one of them reaches the sink.
 * @throws JetError: exit 6 `tag-mismatch` and `bad-secret`, 7 `stream-ended`, 8 from the sink, 9
 * `too-many-bytes` and `file-too-large`; the signal's reason
 */
export async function receiveStream(options: ReceiveOptions): Promise<Received> {
  const { bytestream, sink, size, signal, onProgress, functions = [] } = options;
  const { duplex } = bytestream;
  const hash = createHash('sha256');
  const others = functions
    .filter((algorithm) => algorithm !== 'sha-256')
    .map((algorithm) => ({ algorithm, hash: createHash(nodeName(algorithm)) }));
  const wire = options.hashWire === true ? createHash('sha256') : undefined;
  const watch = new Watch(duplex, signal);
  let bytes = 0;
  try {
    signal?.throwIfAborted();
    const decryptor = new Decryptor(options.cipher, options.secret, size);
    const take = (part: Buffer): Promise<void> | undefined => {
      const plain = decryptor.update(part).bytes;
      if (plain.length === 0) return undefined;
      hash.update(plain);
      for (const other of others) other.hash.update(plain);
      bytes += plain.length;
      // The sink owns the buffer from here on.
      return sink.write(plain);
    };
    // A promise only where the sink has no room: one for each chunk would cost too much.
    const taken = (chunk: Buffer): Promise<boolean> | boolean => {
      if (chunk.length > decryptor.missing)
        throw new GcmError('extra-bytes', 'more bytes than were announced');
      wire?.update(chunk);
      const done = () => {
        if (bytestream.buffersAreFree) release(chunk);
        onProgress?.(bytes);
        return !decryptor.complete;
      };
      const from = (start: number): Promise<boolean> | boolean => {
        for (let at = start; at < chunk.length; at += SLICE) {
          const room = take(chunk.subarray(at, at + SLICE));
          if (room !== undefined) return room.then(() => from(at + SLICE));
        }
        return done();
      };
      return from(0);
    };
    // An output that nobody reads must not hold up an abort.
    if (!decryptor.complete) await watch.unlessAborted(consume(duplex, taken));
    signal?.throwIfAborted();
    if (!decryptor.complete) throw lost();
    const { verified } = decryptor.final();
    duplex.resume();
    duplex.end();
    const sha256 = hash.digest();
    const digests: Hash[] = [
      { algorithm: 'sha-256', digest: sha256 },
      ...others.map((other) => ({ algorithm: other.algorithm, digest: other.hash.digest() })),
    ];
    return { bytes, sha256, digests, verified, ...(wire && { wire: wire.digest() }) };
  } catch (error) {
    const broken = watch.broken && !(error instanceof JetError || error instanceof GcmError);
    duplex.destroy();
    const reason = watch.reasonOf(broken ? lost(error) : error);
    throw explain(reason, options.cipher, 'receive');
  } finally {
    watch.stop();
  }
}
