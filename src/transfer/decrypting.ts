/** The side that gets the bytes: who was offered a file, or has asked for one. */
import type { Element } from '@xmpp/xml';
import { asError, Exit, JetError } from '../core/errors.ts';
import type { Checkpoint, Sink } from '../files/landing.ts';
import type { Cipher } from '../jet/cipher.ts';
import type { TransportSecret } from '../jet/envelope.ts';
import { decodeChecksum, type FileDescription } from '../jingle/file-description.ts';
import type { Algorithm, Hash } from '../jingle/hashes.ts';
import { checksumCovers } from '../jingle/quirks.ts';
import type { Bytestream } from '../jingle/transport.ts';
import { StanzaError } from '../xmpp/connection.ts';
import type { ChecksumDue, Landing, SessionEnd } from './machine.ts';
import type { Missing, MissingPaths } from './tree/missing.ts';
import { readingMs } from './encrypting.ts';
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
  /** Of what more than one session may build. */
  readonly built?: Built;
  /** Of a batch: where its files lie, once they do. */
  readonly files?: readonly string[] | undefined;
  /** Of a folder or a batch: what of it has not landed, once the rest has. */
  readonly missing?: (Missing & MissingPaths) | undefined;
  /** Bytes that are to come first, where they tell what of the rest has to come. */
  readonly first?: number;
}

/** A target that more than one session may build. */
export interface Built {
  /** Of what is not read again: the functions by which the whole is to be hashed while it comes. */
  follow?(functions: readonly Algorithm[]): void;
  /** What this session brought is right. @returns whether the whole is there now @throws JetError (exit 8) */
  taken(): Promise<boolean>;
  /** Hashes of the whole, read from the disk, or made while it came. */
  digests(functions: readonly Algorithm[]): Promise<readonly Hash[]>;
  /** They are not those of the file: sees to it that what is wrong comes again. @throws JetError when it did */
  doubt(cause: Error): void;
}

/** A content that was agreed on. */
export interface Decrypting {
  readonly content: ContentId;
  readonly cipher: Cipher;
  readonly secret: TransportSecret;
  /** Bytes of the whole of what travels: the file, or the list of its hashes. */
  readonly size: number;
  readonly extent: Extent;
  /** Digests of the extent: what is known already, and what was promised. */
  readonly proof: Proof;
  /** Of the whole file, where this session does not bring all of it. */
  readonly whole?: Proof;
  readonly target: Target;
  /** Only the extent is wanted: progress counts from its start and not from that of the file. */
  readonly partial: boolean;
  /** It is the list of hashes: nothing of the file moves. */
  readonly aside: boolean;
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
  /** The part of the file that this session brought and proved. */
  proven: Extent | undefined;
  readonly #what: Decrypting;
  readonly #reporter: Reporter;
  #digests: readonly Hash[] | undefined;
  /** SHA-256 of ciphertext and tag; of a plain peer's stream. */
  #wire: Buffer | undefined;
  /** The sealed checksum is here. */
  #checked = false;
  /** It named the hash of the whole file. */
  #fileKnown = false;
  /** Bytes of the stream. */
  #moved = 0;
  /** Nothing is missing any more. */
  #complete = false;

  constructor(what: Decrypting, reporter: Reporter) {
    this.#what = what;
    if (what.whole !== undefined) what.target.built?.follow?.(what.whole.functions);
    this.#reporter = reporter;
  }

  /** What has come may be gone on with: it can be read again and proven. */
  get keeps(): boolean {
    const { target, partial } = this.#what;
    return target.built !== undefined && target.as !== 'stdout' && !partial;
  }

  get as(): LandedAs {
    return this.#what.target.as;
  }

  get moved(): number {
    return this.#moved;
  }

  /** See {@link Side.patience}: the other side may read all of it for the hash that it owes. */
  get patience(): number {
    return this.#what.whole === undefined ? 0 : readingMs(this.#what.size);
  }

  async receive(bytestream: Bytestream, signal: AbortSignal): Promise<ChecksumDue> {
    const { cipher, secret, extent, target, sealed, proof, aside, partial } = this.#what;
    const from = partial ? 0 : extent.offset;
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
      onProgress: (bytes) => {
        this.#moved = bytes;
        if (!aside) this.#reporter.progress(from + bytes);
      },
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

  /** Compares what was said with what came, and lands it; `continues` when more is to come. @throws JetError */
  async land(): Promise<Landing> {
    if (this.#digests === undefined) throw new Error('nothing to land');
    const { proof, whole, target } = this.#what;
    proof.check(this.#digests, this.#wire);
    if (this.#what.sealed !== undefined && !this.#what.aside) this.proven = this.#what.extent;
    if (whole !== undefined || this.#what.aside) {
      const sha256 = await this.#proven(whole);
      if (sha256 === undefined) return 'continues';
      this.sha256 = sha256;
    }
    this.landed = await target.finish();
    this.#complete = true;
    this.#reporter.landed(target.files);
    if (target.missing === undefined) return 'landed';
    const { count, paths } = target.missing;
    this.#reporter.lacks({ count, paths });
    return 'partly';
  }

  /**
   * Of what earlier sessions left behind nothing was verified: the whole is proven here. Undefined
   * while something of it is missing, or wrong.
   */
  async #proven(whole: Proof | undefined): Promise<Buffer | undefined> {
    const { built } = this.#what.target;
    if (built === undefined) throw new Error('what is built by several sessions can be proven');
    if (!(await built.taken()) || whole === undefined) return undefined;
    if (!this.#fileKnown)
      throw new JetError(Exit.security, 'no-file-hash', 'the hash of the whole file is missing');
    const digests = await built.digests(whole.functions);
    try {
      whole.check(digests);
    } catch (error) {
      built.doubt(asError(error));
      return undefined;
    }
    return digests.find(({ algorithm }) => algorithm === 'sha-256')?.digest;
  }

  /** What proves to a jet that it has landed. */
  receipt(): Element | undefined {
    const { sealed, size, extent, target, whole } = this.#what;
    if (this.sha256 === undefined) return undefined;
    const { missing } = target;
    const as = !this.#complete ? 'range' : missing === undefined ? target.as : 'partly';
    const landed = whole !== undefined && this.#complete ? { offset: 0, length: size } : extent;
    return sealed?.landed({ as, size, sha256: this.sha256, missing, ...landed });
  }

  async finish(outcome: SessionEnd): Promise<void> {
    const { target, sealed } = this.#what;
    if (outcome.kind === 'landed' || outcome.kind === 'partly') return;
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
