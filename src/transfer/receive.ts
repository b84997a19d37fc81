/** Being offered a file (XEP-0391 §4.1 over XEP-0234), and landing it. */
import { join } from 'node:path';
import type { Element } from '@xmpp/xml';
import { randomId } from '../core/bytes.ts';
import { asError, Exit, messageOf } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { Checkpoint, ConflictPolicy } from '../files/landing.ts';
import { safeName } from '../files/names.ts';
import { wipeSecret } from '../jet/secret.ts';
import { encodeDescription, fileError } from '../jingle/file-description.ts';
import { REFUSED, type SessionHandler } from '../jingle/handler.ts';
import type { Hash } from '../jingle/hashes.ts';
import type { IncomingSession } from '../jingle/sessions.ts';
import type { Condition, Content } from '../jingle/stanza.ts';
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
import { conclude } from './recorder.ts';
import { Reporter } from './reporter.ts';
import { goOnReceiving, knownHashes, type Taken } from './going-on.ts';
import { clearDescription, type Extent, type LandedAs, type OfferedFile } from './sealed.ts';
import type { EndedOffer, Membership } from './several.ts';
import { fileTarget, keptTarget, landedTarget, type Opening } from './targets.ts';
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
  /** Undefined: nothing new is taken, only what was interrupted is gone on with. */
  readonly out?: string;
  readonly onConflict: ConflictPolicy;
  /** Where a file goes that is no file of `out`; undefined for one that is. */
  readonly elsewhere?: (file: OfferedFile) => Promise<Target> | undefined;
  /** Larger offers are declined unasked; bytes. */
  readonly maxSize?: number;
  /** The decision; only asked for what could be taken. Rejects with the signal's reason. */
  readonly decide: (offer: Offer, signal: AbortSignal) => Promise<boolean>;
  readonly on: (event: TransferEvent) => void;
  /** Something that the user is to know of a transfer that goes on. */
  readonly say: (message: string) => void;
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
  readonly live: LiveTransfers;
  readonly #around: Surroundings & Protection;
  readonly #options: ReceiverOptions;
  readonly #stop = new AbortController();

  /** @param live - where its transfers are counted, with others of the same command */
  constructor(
    around: Surroundings & Protection,
    options: ReceiverOptions,
    live: LiveTransfers = new LiveTransfers(),
  ) {
    this.live = live;
    this.#around = around;
    this.#options = options;
  }

  /** The handler of a session-initiate whose sender may offer at all. */
  async handle({ session, contents }: IncomingSession): Promise<SessionHandler> {
    const peer = session.peer;
    try {
      const incoming = readIncoming(contents);
      this.#checkSize(incoming.clear.size ?? 0);
      if (this.#around.transports.get(incoming.content.transport.getNS() ?? '') === undefined) {
        throw new Unacceptable('unsupported-transports', 'its transport is unknown');
      }
      const self = this.#around.connection.jid;
      const opened = await openOffer(incoming, self, session, this.#around);
      this.#options.opened?.(peer);
      try {
        this.#checkSize(opened.file.size);
        return this.#take(session, incoming, opened, await this.#record(session, opened));
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
      const { reason, farewell } = refusalOf(error);
      await session.terminate(reason, farewell);
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

  /** The row of an offer: a new one, or that of the transfer which it goes on with. */
  async #record(
    { peer }: IncomingSession['session'],
    { file, sender, sealed }: OpenedOffer,
  ): Promise<Taken> {
    const { records, connection } = this.#around;
    const account = connection.jid.bare.toString();
    const identity = sender.identityKey.toString('hex');
    // What went to standard output cannot be gone on with.
    if (file.resume !== undefined && this.#options.elsewhere === undefined) {
      const going = await goOnReceiving(records, account, identity, peer, file);
      if (going !== undefined) return going;
    }
    const { out, onConflict } = this.#options;
    if (out === undefined)
      throw new Unacceptable('failed-application', 'it offered a file, and none is taken here');
    const recorder = records.begin({
      ...{ account, peer: peer.bare.toString(), direction: 'receive' },
      ...{ identity, device: sender.device, jet: sealed !== undefined },
      ...{ name: file.name, size: file.size, options: { kind: 'offer', onConflict } },
    });
    return { recorder, out };
  }

  #take(
    session: IncomingSession['session'],
    incoming: Incoming,
    opened: OpenedOffer,
    taken: Taken,
  ): SessionHandler {
    const { content } = incoming;
    const { file } = opened;
    const { peer } = session;
    const { recorder } = taken;
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
    const side = new Receiving(incoming, opened, taken, this.#options, reporter);
    const part = { sends: false, initiates: false };
    const id = { creator: content.creator, name: content.name };
    const transfer = new Transfer(this.#around, part, id, side);
    if (!transfer.takeTransport(session, content.transport)) {
      recorder?.end({ outcome: { kind: 'declined', by: 'self' }, exit: Exit.declined });
      throw new Unacceptable('unsupported-transports', 'its transport is not allowed here');
    }
    this.live.add(transfer);
    recorder?.follow((error) => transfer.fail(error));
    reporter.offer(offer.fingerprint);
    void this.#see(peer, transfer, side, offer, reporter, taken);
    return transfer;
  }

  async #see(
    peer: Jid,
    transfer: Transfer,
    side: Receiving,
    offer: Offer,
    reporter: Reporter,
    { recorder, out }: Taken,
  ): Promise<void> {
    let accepted = false;
    // The peer may give up while the question stands: then it is taken back.
    const over = new AbortController();
    const ended = transfer.done.finally(() => {
      over.abort(new Error('the offer is gone'));
    });
    try {
      const asked = AbortSignal.any([this.#stop.signal, over.signal]);
      // What was accepted once is not asked about again.
      const wanted = out === undefined || (await this.#options.decide(offer, asked));
      accepted = wanted && (await side.open());
      transfer.decide(accepted);
    } catch (error) {
      transfer.fail(asError(error));
    }
    const outcome = await ended;
    this.live.delete(transfer);
    const { landed: path, sha256, kept, as } = side;
    const ending = {
      ...{ outcome, ...(path !== undefined && { path }), ...(as && { as }) },
      ...{ ...(sha256 && { sha256 }), ...(kept && { kept }) },
    };
    const { exit, broke } = conclude(reporter, recorder, ending, sha256);
    const { fingerprint, of } = offer;
    this.#options.ended({
      ...{ peer: peer.toString(), fingerprint, exit, broke },
      accepted: accepted || outcome.kind === 'failed',
      ...(of && { of }),
    });
  }
}

/** How an offer is refused that cannot be taken. */
function refusalOf(error: unknown): { reason: Condition; farewell?: { application: Element } } {
  if (!(error instanceof Unacceptable)) return { reason: 'general-error' };
  const { reason, application } = error;
  return { reason, ...(application && { farewell: { application: fileError(application) } }) };
}

/** The side that was offered a file. */
class Receiving implements Side {
  readonly #content: Incoming['content'];
  readonly #opened: OpenedOffer;
  readonly #taken: Taken;
  readonly #options: ReceiverOptions;
  readonly #reporter: Reporter;
  /** Where the bytes begin that are missing. */
  #offset = 0;
  #decrypting: DecryptingSide | undefined;

  constructor(
    { content }: Incoming,
    opened: OpenedOffer,
    taken: Taken,
    options: ReceiverOptions,
    reporter: Reporter,
  ) {
    this.#content = content;
    this.#opened = opened;
    this.#taken = taken;
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

  get kept(): Checkpoint | undefined {
    return this.#decrypting?.kept;
  }

  /** Makes the part; false when the file is there and is to be skipped. @throws JetError (exit 8) */
  async open(): Promise<boolean> {
    const { cipher, secret, file, sealed } = this.#opened;
    const { size } = file;
    const opened = await this.#open();
    if (opened === undefined) return false;
    const { target, offset, known } = opened;
    this.#offset = offset;
    const whole = known && new Proof({ hashes: [...known], hashUsed: [] }, size);
    this.#decrypting = new DecryptingSide(
      {
        ...{ content: this.#content, cipher, secret, size, target, extent: this.#extent },
        // What is promised of a file is not of the part that is missing of it.
        proof: whole
          ? new Proof({ hashes: [], hashUsed: [] }, size - offset)
          : new Proof(file, size),
        ...(whole && { whole }),
        partial: false,
        ...(sealed && { sealed }),
      },
      this.#reporter,
    );
    return true;
  }

  accepted(transport: Element): Content {
    const { creator, name, senders } = this.#content;
    const { sealed, file, sender } = this.#opened;
    const base = { creator, name, senders, transport };
    if (sealed !== undefined) {
      const extensions = [sealed.accept(file.size, this.#extent)];
      if (this.#decrypting?.keeps === true)
        this.#taken.recorder?.agreed(() => sealed.transferId(), sender.identityKey, sender.device);
      return { ...base, description: clearDescription(), extensions };
    }
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

  /** @returns with what is known of the whole file where it is built by more than one session */
  async #open(): Promise<(Opening & { readonly known?: readonly Hash[] }) | undefined> {
    const { recorder, out, landed } = this.#taken;
    const { say } = this.#options;
    if (out !== undefined) {
      const target = await this.#new(out);
      return target && { target, offset: 0 };
    }
    const { size } = this.#opened.file;
    const known = knownHashes(recorder);
    if (landed !== undefined) return { target: landedTarget(landed), offset: size, known };
    if (recorder === undefined) throw new Error('neither a row nor a file');
    const kept = await keptTarget(recorder, size, (why) => say(`${why} It starts from zero.`));
    return kept && { ...kept, known };
  }

  /** Where something goes that is offered for the first time. */
  async #new(out: string): Promise<Target | undefined> {
    const { onConflict, elsewhere, skipped } = this.#options;
    const { file } = this.#opened;
    const { name, size, tree: head } = file;
    const other = await elsewhere?.(file);
    if (other !== undefined) return other;
    if (head !== undefined) return new TreeTarget({ out, name, size, head, onConflict, skipped });
    const plan = { target: join(out, safeName(name)), size, onConflict };
    return fileTarget(plan, 'file', this.#taken.recorder);
  }

  get #extent(): Extent {
    return { offset: this.#offset, length: this.#opened.file.size - this.#offset };
  }

  get #side(): DecryptingSide {
    if (this.#decrypting === undefined) throw new Error('nothing was accepted');
    return this.#decrypting;
  }
}
