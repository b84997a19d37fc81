/** The side that gets the bytes: who was offered a file, or has asked for one. */
import type { Element } from '@xmpp/xml';
import type { Sink } from '../files/landing.ts';
import type { Cipher } from '../jet/cipher.ts';
import type { TransportSecret } from '../jet/envelope.ts';
import { decodeChecksum, type FileDescription } from '../jingle/file-description.ts';
import type { Hash } from '../jingle/hashes.ts';
import type { Bytestream } from '../jingle/transport.ts';
import { StanzaError } from '../xmpp/connection.ts';
import type { ChecksumDue, Outcome } from './machine.ts';
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
  /** Not everything is proven. Never rejects. */
  abort(): Promise<void>;
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
  readonly target: Target;
  /** Only the extent is wanted: progress counts from its start and not from that of the file. */
  readonly partial: boolean;
  /** Between two jets. */
  readonly sealed?: SealedContent;
}

/** Receives a stream, proves it and lands it. */
export class DecryptingSide {
  landed: string | undefined;
  /** SHA-256 of what came. */
  sha256: Buffer | undefined;
  readonly #what: Decrypting;
  readonly #reporter: Reporter;
  #digests: readonly Hash[] | undefined;
  /** The sealed checksum is here. */
  #proven = false;

  constructor(what: Decrypting, reporter: Reporter) {
    this.#what = what;
    this.#reporter = reporter;
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
    const { sha256, digests } = await receiveStream({
      bytestream,
      cipher,
      secret,
      size: extent.length,
      sink: target,
      functions: proof.functions,
      signal,
      onProgress: (bytes) => this.#reporter.progress(from + bytes),
    });
    this.sha256 = sha256;
    this.#digests = digests;
    this.#reporter.finishing('the file to be written');
    if (sealed !== undefined) return this.#proven ? 'none' : 'owed';
    return proof.due ? 'promised' : 'none';
  }

  /** Reads a session-info. @throws StanzaError, SealedError */
  info(payload: Element): 'checksum' | undefined {
    const checksum = decodeChecksum(payload);
    if (checksum === undefined) {
      if (payload.name === 'ringing') return undefined;
      throw new StanzaError('modify', 'feature-not-implemented');
    }
    const { content, proof } = this.#what;
    if (checksum.name !== content.name || checksum.creator !== content.creator) return undefined;
    return proof.add(this.#claimed(payload, checksum.file)) ? 'checksum' : undefined;
  }

  /** Compares what was said with what came, and lands it. @throws JetError */
  async land(): Promise<void> {
    if (this.#digests === undefined) throw new Error('nothing to land');
    this.#what.proof.check(this.#digests);
    this.landed = await this.#what.target.finish();
  }

  /** What proves to a jet that it has landed. */
  receipt(): Element | undefined {
    const { sealed, size, extent, target } = this.#what;
    if (this.sha256 === undefined) return undefined;
    return sealed?.landed({ as: target.as, size, sha256: this.sha256, ...extent });
  }

  async finish(outcome: Outcome): Promise<void> {
    if (outcome.kind !== 'landed') await this.#what.target.abort();
  }

  /** What a checksum says of the extent; between two jets what is sealed in it. */
  #claimed(checksum: Element, clear: FileDescription): Pick<FileDescription, 'hashes' | 'range'> {
    const { sealed, extent, size } = this.#what;
    if (sealed === undefined) return clear;
    const { range, file } = sealed.openChecksum(checksum, extent);
    this.#proven = true;
    const whole = extent.offset === 0 && extent.length === size;
    const digests = whole && file ? [range, file] : [range];
    return { hashes: digests.map((digest) => ({ algorithm: 'sha-256', digest })) };
  }
}
