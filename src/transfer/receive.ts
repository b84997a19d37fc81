/** Being offered a file (XEP-0391 §4.1 over XEP-0234), and landing it. */
import { join } from 'node:path';
import type { Element } from '@xmpp/xml';
import { randomId } from '../core/bytes.ts';
import { asError, Exit, JetError, messageOf, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { Landing, type ConflictPolicy } from '../files/landing.ts';
import { safeName } from '../files/names.ts';
import { wipeSecret } from '../jet/secret.ts';
import { decodeChecksum, encodeDescription } from '../jingle/file-description.ts';
import { sameHash, type Hash } from '../jingle/hashes.ts';
import type { SessionHandler } from '../jingle/handler.ts';
import type { IncomingSession } from '../jingle/sessions.ts';
import type { Content } from '../jingle/stanza.ts';
import type { Bytestream } from '../jingle/transport.ts';
import { StanzaError } from '../xmpp/connection.ts';
import {
  openOffer,
  readOffer,
  Unacceptable,
  type Offered,
  type Opened,
  type Protection,
} from './content.ts';
import type { TransferEvent } from './events.ts';
import type { ChecksumDue, Outcome } from './machine.ts';
import { receiveStream } from './pump.ts';
import { Reporter } from './reporter.ts';
import { clearDescription, type Extent } from './sealed.ts';
import { Transfer, type Side, type Surroundings } from './transfer.ts';

/** An offer whose envelope opened, for the one who decides. */
export interface Offer {
  readonly peer: Jid;
  /** As the peer wrote it. */
  readonly name: string;
  readonly size: number;
  /** 64 lower-case hex digits of the device's identity key. */
  readonly fingerprint: string;
}

/** How offers are taken. */
export interface Receiving {
  readonly out: string;
  readonly onConflict: ConflictPolicy;
  /** Larger offers are declined unasked; bytes. */
  readonly maxSize?: number;
  /** The decision; only asked for what could be taken. Rejects with the signal's reason. */
  readonly decide: (offer: Offer, signal: AbortSignal) => Promise<boolean>;
  readonly on: (event: TransferEvent) => void;
  /** An envelope of this full address opened. */
  readonly opened?: (peer: Jid) => void;
  /** An accepted transfer has ended. */
  readonly ended: (exit: ExitStatus) => void;
  /** An offer that was refused, and why: for the user alone. */
  readonly refused: (peer: Jid, why: string) => void;
}

/** Waits for offers and takes them; one per session. */
export class Receiver {
  readonly #around: Surroundings & Protection;
  readonly #receiving: Receiving;
  readonly #live = new Set<Transfer>();
  readonly #stop = new AbortController();

  constructor(around: Surroundings & Protection, receiving: Receiving) {
    this.#around = around;
    this.#receiving = receiving;
  }

  /** True while an offer is being decided or its bytes are on their way. */
  get busy(): boolean {
    return this.#live.size > 0;
  }

  /** The handler of a session-initiate whose sender may offer at all. */
  async handle({ session, contents }: IncomingSession): Promise<SessionHandler> {
    const peer = session.peer;
    try {
      const offered = readOffer(contents);
      this.#checkSize(offered.clear.size ?? 0);
      if (this.#around.transports.get(offered.content.transport.getNS() ?? '') === undefined) {
        throw new Unacceptable('unsupported-transports', 'its transport is unknown');
      }
      const self = this.#around.connection.jid;
      const opened = await openOffer(offered, self, session, this.#around);
      this.#receiving.opened?.(peer);
      try {
        this.#checkSize(opened.file.size);
        return this.#take(session, offered, opened);
      } catch (error) {
        wipeSecret(opened.secret);
        throw error;
      }
    } catch (error) {
      const why = error instanceof Unacceptable || error instanceof StanzaError;
      this.#receiving.refused(peer, why ? error.message : `an error: ${messageOf(error)}`);
      await session.terminate(error instanceof Unacceptable ? error.reason : 'general-error');
      return REFUSED;
    }
  }

  /** Ends everything that is under way. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('stopped'));
    const live = [...this.#live];
    for (const transfer of live) transfer.cancel();
    await Promise.all(live.map((transfer) => transfer.done));
  }

  #checkSize(size: number): void {
    const { maxSize } = this.#receiving;
    if (maxSize !== undefined && size > maxSize)
      throw new Unacceptable('media-error', `it is larger than --max-size ${maxSize}`);
  }

  #take(session: IncomingSession['session'], offered: Offered, opened: Opened): SessionHandler {
    const { content } = offered;
    const { file } = opened;
    const { peer } = session;
    const offer: Offer = {
      peer: peer.bare,
      name: file.name,
      size: file.size,
      fingerprint: opened.sender.identityKey.toString('hex'),
    };
    const about = { id: randomId(), peer: peer.bare.toString(), file: file.name, size: file.size };
    const reporter = new Reporter(
      { ...about, direction: 'receive' },
      this.#around.clock,
      this.#receiving.on,
    );
    const side = new ReceivingSide(offered, opened, this.#receiving, reporter);
    const part = { sends: false, initiates: false };
    const id = { creator: content.creator, name: content.name };
    const transfer = new Transfer(this.#around, part, id, side);
    if (!transfer.takeTransport(session, content.transport))
      throw new Unacceptable('unsupported-transports', 'its transport is not allowed here');
    this.#live.add(transfer);
    reporter.offer(offer.fingerprint);
    void this.#see(transfer, side, offer, reporter);
    return transfer;
  }

  async #see(
    transfer: Transfer,
    side: ReceivingSide,
    offer: Offer,
    reporter: Reporter,
  ): Promise<void> {
    let accepted = false;
    // The peer may give up while the question stands: then it is taken back.
    const over = new AbortController();
    const ended = transfer.done.finally(() => {
      over.abort(new Error('the offer is gone'));
    });
    try {
      const asked = AbortSignal.any([this.#stop.signal, over.signal]);
      accepted = (await this.#receiving.decide(offer, asked)) && (await side.open());
      transfer.decide(accepted);
    } catch (error) {
      transfer.fail(asError(error));
    }
    const outcome = await ended;
    this.#live.delete(transfer);
    const exit = reporter.end(outcome, side.landed, side.sha256?.toString('hex'));
    if (accepted || outcome.kind === 'failed') this.#receiving.ended(exit);
  }
}

const REFUSED: SessionHandler = {
  accepted: () => undefined,
  transportInfo: () => undefined,
  transportReplace: () => undefined,
  transportAccepted: () => undefined,
  transportRejected: () => undefined,
  info: () => undefined,
  ended: () => undefined,
};

class ReceivingSide implements Side {
  landed: string | undefined;
  sha256: Buffer | undefined;
  readonly #content: Offered['content'];
  readonly #opened: Opened;
  readonly #receiving: Receiving;
  readonly #reporter: Reporter;
  readonly #expected: Hash[];
  #landing: Landing | undefined;
  /** The sealed checksum is here. */
  #proven = false;

  constructor(offered: Offered, opened: Opened, receiving: Receiving, reporter: Reporter) {
    this.#content = offered.content;
    this.#opened = opened;
    this.#receiving = receiving;
    this.#reporter = reporter;
    this.#expected = opened.file.hashes.filter(({ algorithm }) => algorithm === 'sha-256');
  }

  /** Makes the part; false when the file is there and is to be skipped. @throws JetError (exit 8) */
  async open(): Promise<boolean> {
    const { out, onConflict } = this.#receiving;
    const { name, size } = this.#opened.file;
    this.#landing = await Landing.open({ target: join(out, safeName(name)), size, onConflict });
    return this.#landing !== undefined;
  }

  accepted(transport: Element): Content {
    const { creator, name, senders } = this.#content;
    const { sealed, file } = this.#opened;
    const base = { creator, name, senders, transport };
    if (sealed !== undefined)
      return {
        ...base,
        description: clearDescription(),
        extensions: [sealed.accept(file.size, this.#whole)],
      };
    const { size, hashes, hashUsed } = file;
    return { ...base, description: encodeDescription({ name: file.name, size, hashes, hashUsed }) };
  }

  get moved(): number {
    return this.#reporter.bytes;
  }

  async stream(bytestream: Bytestream, signal: AbortSignal): Promise<ChecksumDue> {
    const sink = this.#landing;
    if (sink === undefined) throw new Error('nothing to write to');
    const { cipher, secret, file, sealed } = this.#opened;
    this.#reporter.start(bytestream.route);
    const { sha256 } = await receiveStream({
      bytestream,
      cipher,
      secret,
      size: file.size,
      sink,
      signal,
      onProgress: (bytes) => this.#reporter.progress(bytes),
    });
    this.sha256 = sha256;
    this.#reporter.finishing('the file to be written');
    if (sealed !== undefined) return this.#proven ? 'none' : 'owed';
    if (this.#expected.length > 0) return 'none';
    return file.hashUsed.includes('sha-256') ? 'promised' : 'none';
  }

  info(payload: Element): 'checksum' | undefined {
    const checksum = decodeChecksum(payload);
    if (checksum === undefined) {
      if (payload.name === 'ringing') return undefined;
      throw new StanzaError('modify', 'feature-not-implemented');
    }
    const { creator, name } = this.#content;
    if (checksum.name !== name || checksum.creator !== creator) return undefined;
    const hashes = this.#digests(payload, checksum.file.hashes);
    this.#expected.push(...hashes);
    return hashes.length > 0 ? 'checksum' : undefined;
  }

  async land(): Promise<void> {
    const digest = this.sha256;
    if (this.#landing === undefined || digest === undefined) throw new Error('nothing to land');
    const own: Hash = { algorithm: 'sha-256', digest };
    if (!this.#expected.every((hash) => sameHash(hash, own))) {
      throw new JetError(
        Exit.security,
        'hash-mismatch',
        'its hash is not the one that the sender gave. Nothing was kept; ask for it again',
      );
    }
    this.landed = await this.#landing.finish();
    if (this.landed === undefined) {
      throw new JetError(Exit.localFile, 'target-exists', 'a file of that name appeared meanwhile');
    }
  }

  receipt(): Element | undefined {
    const { sealed, file } = this.#opened;
    if (this.sha256 === undefined) return undefined;
    return sealed?.landed({
      as: 'file',
      size: file.size,
      sha256: this.sha256,
      ...this.#whole,
    });
  }

  async finish(outcome: Outcome): Promise<void> {
    wipeSecret(this.#opened.secret);
    this.#opened.sealed?.wipe();
    if (outcome.kind !== 'landed') await this.#landing?.abort('remove');
  }

  get #whole(): Extent {
    return { offset: 0, length: this.#opened.file.size };
  }

  #digests(checksum: Element, clear: readonly Hash[]): Hash[] {
    const { sealed } = this.#opened;
    if (sealed === undefined) return clear.filter(({ algorithm }) => algorithm === 'sha-256');
    const { range, file } = sealed.openChecksum(checksum, this.#whole);
    this.#proven = true;
    return [range, ...(file ? [file] : [])].map((digest) => ({ algorithm: 'sha-256', digest }));
  }
}
