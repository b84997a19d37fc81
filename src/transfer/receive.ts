/** Being offered a file (XEP-0391 §4.1 over XEP-0234), and landing it. */
import { join } from 'node:path';
import type { Element } from '@xmpp/xml';
import { randomId } from '../core/bytes.ts';
import { asError, Exit, messageOf } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { ConflictPolicy } from '../files/landing.ts';
import { safeName } from '../files/names.ts';
import { wipeSecret } from '../jet/secret.ts';
import { encodeDescription } from '../jingle/file-description.ts';
import { REFUSED, type SessionHandler } from '../jingle/handler.ts';
import type { IncomingSession } from '../jingle/sessions.ts';
import type { Content } from '../jingle/stanza.ts';
import { StanzaError } from '../xmpp/connection.ts';
import type { Protection } from './content.ts';
import { DecryptingSide, type Target } from './decrypting.ts';
import type { TransferEvent } from './events.ts';
import {
  openOffer,
  readIncoming,
  Unacceptable,
  type Incoming,
  type OpenedOffer,
} from './incoming.ts';
import { LiveTransfers } from './live.ts';
import type { Outcome } from './machine.ts';
import { Proof } from './proof.ts';
import { Reporter } from './reporter.ts';
import { clearDescription, type Extent, type LandedAs, type OfferedFile } from './sealed.ts';
import type { EndedOffer, Membership } from './several.ts';
import { fileTarget } from './targets.ts';
import type { TreeHead } from './tree-list.ts';
import { TreeTarget } from './tree-target.ts';
import { Transfer, type Side, type Surroundings } from './transfer.ts';

/** An offer whose envelope opened, for the one who decides. */
export interface Offer {
  readonly peer: Jid;
  /** As the peer wrote it. */
  readonly name: string;
  /** How many files, of a folder. */
  readonly files?: number;
  readonly size: number;
  /** 64 lower-case hex digits of the device's identity key. */
  readonly fingerprint: string;
  /** Which one of several of one send it is; only a jet says so. */
  readonly of?: Membership;
}

/** How offers are taken. */
export interface ReceiverOptions {
  readonly out: string;
  readonly onConflict: ConflictPolicy;
  /** Where a file goes that is no file of `out`; undefined for one that is. */
  readonly elsewhere?: (file: OfferedFile) => Promise<Target> | undefined;
  /** Larger offers are declined unasked; bytes. */
  readonly maxSize?: number;
  /** The decision; only asked for what could be taken. Rejects with the signal's reason. */
  readonly decide: (offer: Offer, signal: AbortSignal) => Promise<boolean>;
  readonly on: (event: TransferEvent) => void;
  /** Something of a folder that is not made, and why. */
  readonly skipped: (path: string, why: string) => void;
  /** An envelope of this full address opened. */
  readonly opened?: (peer: Jid) => void;
  /** An offer has ended, however that was. */
  readonly ended: (offer: EndedOffer) => void;
  /** An offer that was refused, and why: for the user alone. */
  readonly refused: (peer: Jid, why: string) => void;
}

/** Waits for offers and takes them; one per session. */
export class Receiver {
  readonly live = new LiveTransfers();
  readonly #around: Surroundings & Protection;
  readonly #options: ReceiverOptions;
  readonly #stop = new AbortController();

  constructor(around: Surroundings & Protection, options: ReceiverOptions) {
    this.#around = around;
    this.#options = options;
  }

  /** The handler of a session-initiate whose sender may offer at all. */
  async handle({ session, contents }: IncomingSession): Promise<SessionHandler> {
    const peer = session.peer;
    try {
      const incoming = readIncoming(contents);
      if (incoming.kind === 'request')
        throw new Unacceptable('failed-application', 'it asked for a file, and none is shared');
      this.#checkSize(incoming.clear.size ?? 0);
      if (this.#around.transports.get(incoming.content.transport.getNS() ?? '') === undefined) {
        throw new Unacceptable('unsupported-transports', 'its transport is unknown');
      }
      const self = this.#around.connection.jid;
      const opened = await openOffer(incoming, self, session, this.#around);
      this.#options.opened?.(peer);
      try {
        this.#checkSize(opened.file.size);
        return this.#take(session, incoming, opened);
      } catch (error) {
        wipeSecret(opened.secret);
        const { of } = opened.file;
        // The others of its send are not kept waiting for it.
        if (of !== undefined) {
          const fingerprint = opened.sender.identityKey.toString('hex');
          const exit = error instanceof Unacceptable ? Exit.declined : Exit.internal;
          this.#options.ended({ peer: peer.toString(), fingerprint, of, accepted: false, exit });
        }
        throw error;
      }
    } catch (error) {
      const why = error instanceof Unacceptable || error instanceof StanzaError;
      this.#options.refused(peer, why ? error.message : `an error: ${messageOf(error)}`);
      await session.terminate(error instanceof Unacceptable ? error.reason : 'general-error');
      return REFUSED;
    }
  }

  /** Ends everything that is under way. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('stopped'));
    await this.live.stop();
  }

  #checkSize(size: number): void {
    const { maxSize } = this.#options;
    if (maxSize !== undefined && size > maxSize)
      throw new Unacceptable('media-error', `it is larger than --max-size ${maxSize}`);
  }

  #take(
    session: IncomingSession['session'],
    incoming: Incoming,
    opened: OpenedOffer,
  ): SessionHandler {
    const { content } = incoming;
    const { file } = opened;
    const { peer } = session;
    const offer: Offer = {
      peer: peer.bare,
      name: file.name,
      size: file.size,
      fingerprint: opened.sender.identityKey.toString('hex'),
      ...(file.of && { of: file.of }),
      ...(file.tree && { files: file.tree.files }),
    };
    const shown = file.tree === undefined ? file.name : `${file.name}/`;
    const about = { id: randomId(), peer: peer.bare.toString(), file: shown, size: file.size };
    const reporter = new Reporter(
      { ...about, direction: 'receive' },
      this.#around.clock,
      this.#options.on,
    );
    const side = new Receiving(incoming, opened, this.#options, reporter);
    const part = { sends: false, initiates: false };
    const id = { creator: content.creator, name: content.name };
    const transfer = new Transfer(this.#around, part, id, side);
    if (!transfer.takeTransport(session, content.transport))
      throw new Unacceptable('unsupported-transports', 'its transport is not allowed here');
    this.live.add(transfer);
    reporter.offer(offer.fingerprint);
    void this.#see(peer, transfer, side, offer, reporter);
    return transfer;
  }

  async #see(
    peer: Jid,
    transfer: Transfer,
    side: Receiving,
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
      accepted = (await this.#options.decide(offer, asked)) && (await side.open());
      transfer.decide(accepted);
    } catch (error) {
      transfer.fail(asError(error));
    }
    const outcome = await ended;
    this.live.delete(transfer);
    const exit = reporter.end(outcome, side.landed, side.sha256?.toString('hex'), side.as);
    const { fingerprint, of } = offer;
    this.#options.ended({
      ...{ peer: peer.toString(), fingerprint, exit },
      accepted: accepted || outcome.kind === 'failed',
      ...(of && { of }),
    });
  }
}

/** The side that was offered a file. */
class Receiving implements Side {
  readonly #content: Incoming['content'];
  readonly #opened: OpenedOffer;
  readonly #options: ReceiverOptions;
  readonly #reporter: Reporter;
  #decrypting: DecryptingSide | undefined;

  constructor(
    { content }: Incoming,
    opened: OpenedOffer,
    options: ReceiverOptions,
    reporter: Reporter,
  ) {
    this.#content = content;
    this.#opened = opened;
    this.#options = options;
    this.#reporter = reporter;
  }

  get landed(): string | undefined {
    return this.#decrypting?.landed;
  }

  get sha256(): Buffer | undefined {
    return this.#decrypting?.sha256;
  }

  get as(): LandedAs | undefined {
    return this.#decrypting?.as;
  }

  get moved(): number {
    return this.#reporter.bytes;
  }

  /** Makes the part; false when the file is there and is to be skipped. @throws JetError (exit 8) */
  async open(): Promise<boolean> {
    const { out, onConflict, elsewhere } = this.#options;
    const { cipher, secret, file, sealed } = this.#opened;
    const { name, size, tree } = file;
    const target =
      (await elsewhere?.(file)) ??
      (tree && this.#tree(tree)) ??
      (await fileTarget({ target: join(out, safeName(name)), size, onConflict }));
    if (target === undefined) return false;
    this.#decrypting = new DecryptingSide(
      {
        ...{ content: this.#content, cipher, secret, size, target, extent: this.#whole },
        proof: new Proof(file, size),
        partial: false,
        ...(sealed && { sealed }),
      },
      this.#reporter,
    );
    return true;
  }

  #tree(head: TreeHead): Target {
    const { out, onConflict, skipped } = this.#options;
    const { name, size } = this.#opened.file;
    return new TreeTarget({ out, name, size, head, onConflict, skipped });
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

  stream: Side['stream'] = (bytestream, signal) => this.#side.receive(bytestream, signal);

  info: Side['info'] = (payload) => this.#side.info(payload);

  land: NonNullable<Side['land']> = () => this.#side.land();

  receipt: NonNullable<Side['receipt']> = () => this.#side.receipt();

  async finish(outcome: Outcome): Promise<void> {
    wipeSecret(this.#opened.secret);
    this.#opened.sealed?.wipe();
    await this.#decrypting?.finish(outcome);
  }

  get #whole(): Extent {
    return { offset: 0, length: this.#opened.file.size };
  }

  get #side(): DecryptingSide {
    if (this.#decrypting === undefined) throw new Error('nothing was accepted');
    return this.#decrypting;
  }
}
