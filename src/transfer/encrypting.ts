/** The side whose bytes travel: who offers a file, or serves one that was asked for. */
import type { Element } from '@xmpp/xml';
import { Exit, JetError } from '../core/errors.ts';
import type { Walked } from '../files/walk.ts';
import type { Cipher } from '../jet/cipher.ts';
import type { TransportSecret } from '../jet/envelope.ts';
import { decodeReceived, encodeChecksum } from '../jingle/file-description.ts';
import type { Bytestream } from '../jingle/transport.ts';
import { StanzaError } from '../xmpp/connection.ts';
import type { Certainty, ChecksumDue, Receipt } from './machine.ts';
import { sendStream } from './pump.ts';
import type { Recorder } from './journal/recorder.ts';
import type { Reporter } from './reporter.ts';
import type { RunningHash } from './running-hash.ts';
import type { Extent, Landed, SealedContent } from './sealed.ts';
import type { ContentId, Surroundings } from './transfer.ts';

/** Where the bytes come from: a file, or something in memory. */
export interface Bytes {
  /** Of the whole. */
  readonly size: number;
  /** From `offset` up to `end`, in order. @throws JetError (exit 8) */
  read(offset: number, end: number): AsyncIterable<Buffer>;
  /** Frees it. Never rejects. */
  close(): Promise<void>;
}

/** What is in a list, and the paths here of what of it could not be read, so far. */
export interface Listed {
  readonly entries: readonly Pick<Walked, 'kind' | 'source'>[];
  readonly unread: readonly string[];
}

/** What is encrypted for whom: it outlives the streams of a file that takes several. */
export interface Encrypting {
  readonly content: ContentId;
  /** Bare address, for what is said. */
  readonly peer: string;
  readonly reporter: Reporter;
  /** Its row, for what has one. */
  readonly recorder?: Recorder;
  /** Bytes a second. */
  readonly limitRate?: number;
  /** How a plain peer reads digests; default `raw`. */
  readonly hashForm?: 'raw' | 'hex';
  /** Bytes of the file, and its hash. */
  readonly size: number;
  /** How many files, of a folder or a batch. */
  readonly files?: number | undefined;
  /** And its list. */
  readonly listed?: Listed;
  readonly whole: RunningHash;
}

/** How the stream is encrypted: known once the content is accepted. */
export interface Stream {
  readonly cipher: Cipher;
  /** Of this stream alone. */
  readonly secret: TransportSecret;
  /** The file, or the list of its hashes. */
  readonly bytes: Bytes;
  readonly extent: Extent;
  /** Only the extent is wanted, see `Decrypting`. */
  readonly partial: boolean;
  /** It is the list of hashes: nothing of the file moves. */
  readonly aside: boolean;
  /** Between two jets. */
  readonly sealed?: SealedContent;
}

/** Bytes that the slowest disk which is waited for reads in a millisecond. */
const SLOWEST = 20_000;

/** Milliseconds that it may take to read a file of `size` bytes as a whole. */
export function readingMs(size: number): number {
  return Math.ceil(size / SLOWEST);
}

/** Milliseconds that the slowest disk which is waited for takes to make a file durable. */
const LANDING_MS = 50;

/** Sends a stream and takes the receipt for it. */
export class EncryptingSide {
  /** SHA-256 of what was sent. */
  sha256: Buffer | undefined;
  /** The valid receipt of a jet. */
  landed: Landed | undefined;
  readonly #what: Encrypting;
  readonly #clock: Surroundings['clock'];
  #started: Stream | undefined;
  /** Bytes of the stream that the other side took. */
  #taken = 0;
  /** Bytes that were read again for a hash. */
  #hashed = 0;

  constructor(what: Encrypting, clock: Surroundings['clock']) {
    this.#what = what;
    this.#clock = clock;
  }

  get moved(): number {
    return this.#taken + this.#hashed;
  }

  /** Whether all that is to be sent is out, if not yet the tag. */
  get whole(): boolean {
    return this.#taken === this.#started?.extent.length;
  }

  /** See {@link Side.patience}: the other side reads again what came in several streams, and makes each file. */
  get patience(): number {
    const stream = this.#started;
    if (stream === undefined) return 0;
    const { size, files = 0 } = this.#what;
    return (isWhole(stream) && !stream.aside ? 0 : readingMs(size)) + files * LANDING_MS;
  }

  /** See {@link Side.asked}. */
  get asked(): boolean {
    return this.#started?.sealed !== undefined;
  }

  /** Encryption starts here, at most once for a key and IV. */
  async send(stream: Stream, bytestream: Bytestream, signal: AbortSignal): Promise<ChecksumDue> {
    if (this.#started !== undefined) throw new Error('a secret encrypts one stream');
    this.#started = stream;
    const { reporter, recorder, limitRate, peer, whole } = this.#what;
    const { cipher, secret, extent, bytes: source, aside, partial } = stream;
    const { offset, length } = extent;
    const from = partial ? 0 : offset;
    reporter.start(bytestream.route, from);
    const all = isWhole(stream);
    const follows = aside || partial || all ? undefined : whole.follow(offset);
    const { bytes, sha256 } = await sendStream({
      source: { read: () => source.read(offset, offset + length) },
      bytestream,
      cipher,
      secret,
      signal,
      clock: this.#clock,
      onProgress: (taken) => {
        this.#taken = taken;
        if (aside) return;
        reporter.progress(from + taken);
        recorder?.progress(offset + taken);
      },
      ...(follows && { onBytes: follows }),
      ...(all && !aside && { sha256: whole.known }),
      ...(limitRate !== undefined && { limitRate }),
    });
    if (bytes !== length) {
      throw new JetError(Exit.localFile, 'source-changed', 'the file changed while it was sent');
    }
    this.sha256 = sha256;
    if (!aside && !partial && offset + length === source.size) await this.#complete(stream);
    reporter.finishing(`${peer} to confirm`);
    return 'none';
  }

  /** The digests of what was sent. */
  checksum(): Element {
    const { content } = this.#what;
    const stream = this.#started;
    if (this.sha256 === undefined || stream === undefined) throw new Error('no digest yet');
    const { offset, length } = stream.extent;
    const whole = this.#wholeOf(stream);
    const digest = (of: Buffer) => [{ algorithm: 'sha-256' as const, digest: of }];
    if (stream.sealed !== undefined)
      return stream.sealed.checksum(stream.extent, {
        range: this.sha256,
        ...(whole && { file: whole }),
      });
    const range = whole ? {} : { range: { offset, length, hashes: digest(this.sha256) } };
    return encodeChecksum(
      { ...content, file: { hashes: whole ? digest(whole) : [], hashUsed: [], ...range } },
      this.#what.hashForm,
    );
  }

  info(payload: Element): Receipt | undefined {
    if (payload.name === 'ringing') return undefined;
    const received = decodeReceived(payload);
    if (received === undefined) throw new StanzaError('modify', 'feature-not-implemented');
    // Of a plain peer, that one content arrived is no news when there is but one.
    const as = this.#reads(payload)?.as;
    return as === 'file' ? 'verified' : as === 'partly' ? as : undefined;
  }

  /** What a `<success/>` is worth. @throws JetError (exit 6) `no-receipt`, `wrong-receipt`; SealedError */
  certainty(payloads: readonly Element[]): Certainty {
    const stream = this.#started;
    if (stream?.sealed === undefined) return 'delivered';
    for (const payload of payloads) if (decodeReceived(payload) !== undefined) this.#reads(payload);
    switch (this.landed?.as) {
      case 'file':
        return 'verified';
      case 'partly':
        return 'partly';
      case 'range':
        // Of a file that is wanted as a whole, and did not go in one stream, it is a step.
        return stream.partial || (isWhole(stream) && !stream.aside) ? 'delivered' : 'continues';
      case 'stdout':
        // What went to a pipe lies nowhere as the file that was sent.
        return 'delivered';
      case undefined:
        throw new JetError(
          Exit.security,
          'no-receipt',
          'the other side is said to have the file, but its sealed receipt is missing: somebody may have forged this. Ask there whether the file has landed',
        );
    }
  }

  /** The last bytes are out: the hash of the whole goes with their own. */
  async #complete(stream: Stream): Promise<void> {
    const { whole, recorder } = this.#what;
    if (isWhole(stream) && this.sha256 !== undefined) whole.is(this.sha256);
    const read = (bytes: number) => {
      this.#hashed += bytes;
    };
    const sha256 = await whole.complete(stream.bytes, read);
    if (!isWhole(stream)) recorder?.note({ sha256: sha256.toString('hex') });
  }

  /** SHA-256 of what the stream is of, where it is known. */
  #wholeOf(stream: Stream): Buffer | undefined {
    return isWhole(stream) ? this.sha256 : stream.aside ? undefined : this.#what.whole.known;
  }

  /** Takes a receipt; undefined where there is none. @throws SealedError, JetError */
  #reads(received: Element): Landed | undefined {
    const stream = this.#started;
    const { listed, reporter } = this.#what;
    const { entries = [], unread = [] } = listed ?? {};
    const landed = stream?.sealed?.openLanded(received, entries.length);
    if (stream === undefined || landed === undefined) return undefined;
    const { size } = stream.bytes;
    const { offset, length } = stream.extent;
    const partly = landed.offset === offset && landed.length === length && this.sha256;
    const wholly = landed.offset === 0 && landed.length === size && this.#wholeOf(stream);
    // A file is there as a whole or not at all; one that is resumed is proven from its first byte.
    const ends = landed.as === 'file' || landed.as === 'partly';
    const digest = ends ? wholly : partly || wholly;
    if (landed.size !== size || !digest || !digest.equals(landed.sha256))
      throw new JetError(
        Exit.security,
        'wrong-receipt',
        'the receipt of the other side is about another file than the one that was sent. Ask there what has landed',
      );
    this.landed = landed;
    if (landed.missing !== undefined) {
      const { count, lines } = landed.missing;
      const paths = lines.map((line) => entries[line]?.source ?? '');
      const files = new Set(
        entries.flatMap(({ kind, source }) => (kind === 'file' ? [source] : [])),
      );
      reporter.lacks({ count, paths }, new Set(unread.filter((path) => files.has(path))));
    }
    return landed;
  }
}

function isWhole({ extent, bytes }: Pick<Stream, 'extent' | 'bytes'>): boolean {
  return extent.offset === 0 && extent.length === bytes.size;
}
