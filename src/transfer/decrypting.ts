/** The side that gets the bytes: who was offered a file, or has asked for one. */
import type { Element } from '@xmpp/xml';
import { Exit, JetError } from '../core/errors.ts';
import type { Checkpoint, Sink } from '../files/landing.ts';
import type { Cipher } from '../jet/cipher.ts';
import type { TransportSecret } from '../jet/envelope.ts';
import { decodeChecksum, type FileDescription } from '../jingle/file-description.ts';
import type { Algorithm, Hash } from '../jingle/hashes.ts';
import { checksumCovers } from '../jingle/quirks.ts';
import type { Bytestream } from '../jingle/transport.ts';
import { StanzaError } from '../xmpp/connection.ts';
import type { ChecksumDue, Outcome } from './machine.ts';
import { mayGoOn } from './outcome.ts';
import type { Proof } from './proof.ts';
import { receiveStream } from './pump.ts';
import type { Reporter } from './reporter.ts';
import type { Extent, LandedAs, SealedContent } from './sealed.ts';
import type { ContentId } from './transfer.ts';

/** Where the bytes go. */
export interface Target extends Sink {
  readonly as: LandedAs;
  /** All is proven. The path of the file, or undefined where there is none. @throws JetError (exit 8) */
  finish(): Promise<string | undefined>;
  /**
   * Not everything is proven. Never rejects.
   *
   * @param keep - what has come may be gone on with
   * @returns how far what is kept got; undefined where nothing is, or it is not known
   */
  abort(keep: boolean): Promise<Checkpoint | undefined>;
  /** Hashes of the whole file, read from the disk, for one that was built by more than one session. */
  digests?(functions: readonly Algorithm[]): Promise<readonly Hash[]>;
}

/** A content that was agreed on. */
export interface Decrypting {
  readonly content: ContentId;
  readonly cipher: Cipher;
  readonly secret: TransportSecret;
  /** Bytes of the whole file. */
  readonly size: number;
  readonly extent: Extent;
  /** Digests of the extent: what is known already, and what was promised. */
  readonly proof: Proof;
  /** Of the whole file, where the extent is only what was missing of it. */
  readonly whole?: Proof;
  readonly target: Target;
  /** Only the extent is wanted: progress counts from its start and not from that of the file. */
  readonly partial: boolean;
  /** Between two jets. */
  readonly sealed?: SealedContent;
}

/** Receives a stream, proves it and lands it. */
export class DecryptingSide {
  landed: string | undefined;
  /** SHA-256 of what came, or of the whole file once it is read again. */
  sha256: Buffer | undefined;
  /** What is kept of a transfer that was interrupted. */
  kept: Checkpoint | undefined;
  readonly #what: Decrypting;
  readonly #reporter: Reporter;
  #digests: readonly Hash[] | undefined;
  /** SHA-256 of ciphertext and tag; of a plain peer's stream. */
  #wire: Buffer | undefined;
  /** The sealed checksum is here. */
  #checked = false;
  /** It named the hash of the whole file. */
  #fileKnown = false;

  constructor(what: Decrypting, reporter: Reporter) {
    this.#what = what;
    this.#reporter = reporter;
  }

  /** What has come may be gone on with: it can be read again and proven. */
  get keeps(): boolean {
    const { target, partial } = this.#what;
    return target.digests !== undefined && !partial;
  }

  get as(): LandedAs {
    return this.#what.target.as;
  }

  get moved(): number {
    return this.#reporter.bytes;
  }

  async receive(bytestream: Bytestream, signal: AbortSignal): Promise<ChecksumDue> {
    const { cipher, secret, extent, target, sealed, proof } = this.#what;
    const from = this.#what.partial ? 0 : extent.offset;
    this.#reporter.start(bytestream.route, from);
    const { sha256, digests, wire } = await receiveStream({
      bytestream,
      cipher,
      secret,
      size: extent.length,
      sink: target,
      functions: proof.functions,
      hashWire: sealed === undefined,
      signal,
      onProgress: (bytes) => this.#reporter.progress(from + bytes),
    });
    this.sha256 = sha256;
    this.#digests = digests;
    this.#wire = wire;
    this.#reporter.finishing('the file to be written');
    if (sealed !== undefined) return this.#checked ? 'none' : 'owed';
    return proof.due ? 'promised' : 'none';
  }

  /** Reads a session-info. @throws StanzaError, SealedError */
  info(payload: Element): 'checksum' | undefined {
    const checksum = decodeChecksum(payload);
    if (checksum === undefined) {
      if (payload.name === 'ringing') return undefined;
      throw new StanzaError('modify', 'feature-not-implemented');
    }
    const { content, proof, sealed } = this.#what;
    const { name, creator = content.creator, file } = checksum;
    if (name !== content.name || creator !== content.creator) return undefined;
    const covers = sealed === undefined ? checksumCovers(checksum) : 'file';
    return proof.add(this.#claimed(payload, file), covers) ? 'checksum' : undefined;
  }

  /** Compares what was said with what came, and lands it. @throws JetError */
  async land(): Promise<void> {
    if (this.#digests === undefined) throw new Error('nothing to land');
    const { proof, whole, target } = this.#what;
    proof.check(this.#digests, this.#wire);
    if (whole !== undefined) this.sha256 = await this.#proven(whole);
    this.landed = await target.finish();
  }

  /** Of what earlier sessions left behind nothing was verified: the whole is read and proven here. */
  async #proven(whole: Proof): Promise<Buffer> {
    const digests = (await this.#what.target.digests?.(whole.functions)) ?? [];
    const sha256 = digests.find(({ algorithm }) => algorithm === 'sha-256')?.digest;
    if (sha256 === undefined || !this.#fileKnown)
      throw new JetError(Exit.security, 'no-file-hash', 'the hash of the whole file is missing');
    try {
      whole.check(digests);
    } catch (error) {
      throw new JetError(
        Exit.security,
        'part-wrong',
        'what had come before does not belong to the file. It starts again from the beginning',
        { cause: error },
      );
    }
    return sha256;
  }

  /** What proves to a jet that it has landed. */
  receipt(): Element | undefined {
    const { sealed, size, extent, target, whole } = this.#what;
    if (this.sha256 === undefined) return undefined;
    const landed = whole === undefined ? extent : { offset: 0, length: size };
    return sealed?.landed({ as: target.as, size, sha256: this.sha256, ...landed });
  }

  async finish(outcome: Outcome): Promise<void> {
    const { target, sealed } = this.#what;
    if (outcome.kind === 'landed') return;
    // Of what came from a plain peer nothing could be proven later.
    this.kept = await target.abort(sealed !== undefined && mayGoOn(outcome));
  }

  /** What a checksum says of the extent; between two jets what is sealed in it. */
  #claimed(checksum: Element, clear: FileDescription): Pick<FileDescription, 'hashes' | 'range'> {
    const { sealed, extent, size } = this.#what;
    if (sealed === undefined) return clear;
    const { range, file } = sealed.openChecksum(checksum, extent);
    this.#checked = true;
    if (file !== undefined && this.#what.whole !== undefined) {
      this.#fileKnown = true;
      this.#what.whole.add({ hashes: [{ algorithm: 'sha-256', digest: file }] });
    }
    const whole = extent.offset === 0 && extent.length === size;
    const digests = whole && file ? [range, file] : [range];
    return { hashes: digests.map((digest) => ({ algorithm: 'sha-256', digest })) };
  }
}
