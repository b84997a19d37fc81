/** The side whose bytes travel: who offers a file, or serves one that was asked for. */
import type { Element } from '@xmpp/xml';
import { Exit, JetError } from '../core/errors.ts';
import type { Cipher } from '../jet/cipher.ts';
import type { TransportSecret } from '../jet/envelope.ts';
import { decodeReceived, encodeChecksum } from '../jingle/file-description.ts';
import type { Bytestream } from '../jingle/transport.ts';
import { StanzaError } from '../xmpp/connection.ts';
import type { Certainty, ChecksumDue } from './machine.ts';
import { sendStream } from './pump.ts';
import type { Recorder } from './recorder.ts';
import type { Reporter } from './reporter.ts';
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

/** What is encrypted for whom. */
export interface Encrypting {
  readonly bytes: Bytes;
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
}

/** How the stream is encrypted: known once the content is accepted. */
export interface Stream {
  readonly cipher: Cipher;
  /** Of this stream alone. */
  readonly secret: TransportSecret;
  readonly extent: Extent;
  /** Only the extent is wanted, see `Decrypting`. */
  readonly partial: boolean;
  /** SHA-256 of the whole file where it is known before a byte was read. */
  readonly sha256?: Buffer;
  /** Between two jets. */
  readonly sealed?: SealedContent;
}

/** Sends a stream and takes the receipt for it. */
export class EncryptingSide {
  /** SHA-256 of what was sent. */
  sha256: Buffer | undefined;
  /** The valid receipt of a jet. */
  landed: Landed | undefined;
  readonly #what: Encrypting;
  readonly #clock: Surroundings['clock'];
  #started: Stream | undefined;

  constructor(what: Encrypting, clock: Surroundings['clock']) {
    this.#what = what;
    this.#clock = clock;
  }

  get moved(): number {
    return this.#what.reporter.bytes;
  }

  /** Whether all that is to be sent is out, if not yet the tag. */
  get whole(): boolean {
    if (this.#started === undefined) return false;
    const { offset, length } = this.#started.extent;
    return this.moved === (this.#started.partial ? 0 : offset) + length;
  }

  /** Encryption starts here, at most once for a key and IV. */
  async send(stream: Stream, bytestream: Bytestream, signal: AbortSignal): Promise<ChecksumDue> {
    if (this.#started !== undefined) throw new Error('a secret encrypts one stream');
    this.#started = stream;
    const { bytes: source, reporter, recorder, limitRate, peer } = this.#what;
    const { cipher, secret, extent } = stream;
    const { offset, length } = extent;
    const from = stream.partial ? 0 : offset;
    reporter.start(bytestream.route, from);
    const { bytes, sha256 } = await sendStream({
      source: { read: () => source.read(offset, offset + length) },
      bytestream,
      cipher,
      secret,
      signal,
      clock: this.#clock,
      onProgress: (taken) => {
        reporter.progress(from + taken);
        recorder?.progress(offset + taken);
      },
      ...(limitRate !== undefined && { limitRate }),
    });
    if (bytes !== length) {
      throw new JetError(Exit.localFile, 'source-changed', 'the file changed while it was sent');
    }
    this.sha256 = sha256;
    reporter.finishing(`${peer} to confirm`);
    return 'none';
  }

  /** The digests of what was sent. */
  checksum(): Element {
    const { content, bytes } = this.#what;
    const stream = this.#started;
    if (this.sha256 === undefined || stream === undefined) throw new Error('no digest yet');
    const { offset, length } = stream.extent;
    const whole = offset === 0 && length === bytes.size ? this.sha256 : stream.sha256;
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

  info(payload: Element): 'receipt' | undefined {
    if (payload.name === 'ringing') return undefined;
    const received = decodeReceived(payload);
    if (received === undefined) throw new StanzaError('modify', 'feature-not-implemented');
    // Of a plain peer, that one content arrived is no news when there is but one.
    return this.#reads(payload)?.as === 'file' ? 'receipt' : undefined;
  }

  /** What a `<success/>` is worth. @throws JetError (exit 6) `no-receipt`, `wrong-receipt`; SealedError */
  certainty(payloads: readonly Element[]): Certainty {
    if (this.#started?.sealed === undefined) return 'delivered';
    for (const payload of payloads) if (decodeReceived(payload) !== undefined) this.#reads(payload);
    // What went to a pipe, or is a part, lies nowhere as the file that was sent.
    if (this.landed !== undefined) return this.landed.as === 'file' ? 'verified' : 'delivered';
    throw new JetError(
      Exit.security,
      'no-receipt',
      'the other side is said to have the file, but its sealed receipt is missing: somebody may have forged this. Ask there whether the file has landed',
    );
  }

  async finish(): Promise<void> {
    await this.#what.bytes.close();
  }

  /** Takes a receipt; undefined where there is none. @throws SealedError, JetError */
  #reads(received: Element): Landed | undefined {
    const stream = this.#started;
    const landed = stream?.sealed?.openLanded(received);
    if (stream === undefined || landed === undefined) return undefined;
    const { size } = this.#what.bytes;
    const { offset, length } = stream.extent;
    const partly = landed.offset === offset && landed.length === length && this.sha256;
    const wholly = landed.offset === 0 && landed.length === size && stream.sha256;
    // A resumed file is proven as a whole, from its first byte.
    const digest = partly || wholly;
    if (landed.size !== size || !digest || !digest.equals(landed.sha256))
      throw new JetError(
        Exit.security,
        'wrong-receipt',
        'the receipt of the other side is about another file than the one that was sent. Ask there what has landed',
      );
    this.landed = landed;
    return landed;
  }
}
