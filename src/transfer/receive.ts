/** Being offered a file (XEP-0391 §4.1 over XEP-0234), and landing it. */
import { dirname, join } from 'node:path';
import type { Element } from '@xmpp/xml';
import { randomId } from '../core/bytes.ts';
import { asError, Exit, messageOf } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { FoldersThere } from '../files/folders-there.ts';
import type { Checkpoint, ConflictPolicy } from '../files/landing.ts';
import { safeName } from '../files/names.ts';
import { wipeSecret } from '../jet/secret.ts';
import { encodeDescription, fileError } from '../jingle/file-description.ts';
import { Contents, type ContentSession } from '../jingle/contents.ts';
import { REFUSED, type SessionHandler } from '../jingle/handler.ts';
import type { IncomingSession } from '../jingle/sessions.ts';
import type { Condition, Content } from '../jingle/stanza.ts';
import { StanzaError } from '../xmpp/connection.ts';
import type { Protection } from './content.ts';
import { DecryptingSide, type Target } from './decrypting.ts';
import { landedEarlier, takesPart } from './journal/earlier.ts';
import type { TransferEvent } from './events.ts';
import {
  openOffer,
  readIncoming,
  Unacceptable,
  type Incoming,
  type OpenedOffer,
} from './incoming.ts';
import { LiveTransfers } from './live.ts';
import type { Outcome, SessionEnd } from './machine.ts';
import { Pauses } from './pauses.ts';
import { Proof } from './proof.ts';
import { conclude, type Recorder, type Records } from './journal/recorder.ts';
import { Reporter } from './reporter.ts';
import { checkBuildable, endOf, isRefusal } from './rounds.ts';
import { goOnReceiving, goOnStreaming, knownHashes, type GoesOn, type Taken } from './going-on.ts';
import { clearDescription, type Extent, type LandedAs, type OfferedFile } from './sealed.ts';
import type { EndedOffer, Membership } from './several.ts';
import { StreamTarget } from './stream-target.ts';
import {
  earlierTarget,
  fileTarget,
  keptTarget,
  landedTarget,
  opening,
  startAnew,
  treeTarget,
  type Opening,
  type Say,
} from './targets.ts';
import { shownName, treeWords } from './tree/tree-list.ts';
import { Transfer, type Side, type Surroundings } from './transfer.ts';

/** An offer whose envelope opened, for the one who decides. */
export interface Offer {
  readonly peer: Jid;
  /** As the peer wrote it; of a batch that of its first file. */
  readonly name: string;
  /** How many files, of a folder or a batch. */
  readonly files?: number;
  /** They are a batch. */
  readonly batch?: boolean;
  readonly size: number;
  /** 64 lower-case hex digits of the device's identity key. */
  readonly fingerprint: string;
  /** Which one of several of one send it is; only a jet says so. */
  readonly of?: Membership;
}

/** Of a part of a file the offer promises nothing. */
const NOTHING = { hashes: [], hashUsed: [] };

/** How offers are taken. */
export interface ReceiverOptions {
  /** Undefined: nothing new is taken, only what was interrupted is gone on with. */
  readonly out?: string;
  readonly onConflict: ConflictPolicy;
  /** Where a file goes that is no file of `out`; undefined for one that is. */
  readonly elsewhere?: (file: OfferedFile) => Promise<Target> | undefined;
  /** Larger offers are declined unasked; bytes. */
  readonly maxSize?: number;
  /** What is gone on with, where that is not all that can be. */
  readonly goesOn?: GoesOn;
  /** The decision; only asked for what could be taken. Rejects with the signal's reason. */
  readonly decide: (offer: Offer, signal: AbortSignal) => Promise<boolean>;
  readonly on: (event: TransferEvent) => void;
  /** Something that the user is to know of a transfer that goes on. */
  readonly say: Say;
  /** Something of a folder that is not made, and why. */
  readonly skipped: (path: string, why: string) => void;
  /** An envelope of this full address opened. */
  readonly opened?: (peer: Jid) => void;
  /** An offer has ended, however that was. */
  readonly ended: (offer: EndedOffer) => void;
  /** An offer that was refused, and why: for the user alone. */
  readonly refused: (peer: Jid, why: string) => void;
}

/** Waits for offers and takes them; each is a content. */
export class Receiver {
  readonly live: LiveTransfers;
  readonly #around: Surroundings & Protection;
  readonly #options: ReceiverOptions;
  readonly #pauses: Pauses;
  /** Rows of what is handed on as it comes, by identity key and transfer id: it is nothing to resume. */
  readonly #flows = new Map<string, number>();
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
    this.#pauses = new Pauses(live, around.clock);
  }

  /** The handler of a session-initiate whose sender may offer at all. */
  async handle({ session, contents }: IncomingSession): Promise<SessionHandler> {
    const { clock, log } = this.#around;
    let device: Buffer | undefined;
    const all: Contents = new Contents(session, {
      ...{ clock, log },
      offered: (offered, lane) =>
        this.#offered(lane, offered, ({ sender, file }) => {
          device ??= sender.identityKey;
          if (!device.equals(sender.identityKey))
            throw new Unacceptable('security-error', 'another device of it began the session');
          // Its sender ends the session, or says no more.
          if (file.of?.joint === true) all.stay();
        }),
    });
    return (await all.begin(contents)) ? all : REFUSED;
  }

  /**
   * Takes what is offered, or refuses it.
   *
   * @param fits - whether it belongs to its session; throws Unacceptable where it does not
   */
  async #offered(
    session: ContentSession,
    contents: readonly Content[],
    fits: (opened: OpenedOffer) => void,
  ): Promise<SessionHandler | undefined> {
    const peer = session.peer;
    try {
      const incoming = readIncoming(contents);
      if (incoming.kind !== 'offer')
        throw new Unacceptable('unsupported-applications', 'it asked for a file among its offers');
      this.#checkSize(incoming.clear.size ?? 0);
      if (this.#around.transports.get(incoming.content.transport.getNS() ?? '') === undefined) {
        throw new Unacceptable('unsupported-transports', 'its transport is unknown');
      }
      const self = this.#around.connection.jid;
      const opened = await openOffer(incoming, self, session, this.#around);
      this.#options.opened?.(peer);
      try {
        this.#checkSize(opened.file.size);
        fits(opened);
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
      return undefined;
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
  async #record({ peer }: ContentSession, opened: OpenedOffer): Promise<Taken> {
    const { file, sender } = opened;
    const { records, connection } = this.#around;
    const account = connection.jid.bare.toString();
    const identity = sender.identityKey.toString('hex');
    const flow = file.resume && this.#flows.get(flowName(sender, file.resume.id));
    if (flow !== undefined) return goOnStreaming(records, this.#pauses, flow, peer, file);
    // What goes to standard output goes there from its first byte on.
    if (file.resume !== undefined && this.#options.elsewhere === undefined) {
      const { goesOn } = this.#options;
      const pauses = this.#pauses;
      const going = await goOnReceiving(records, pauses, account, identity, peer, file, goesOn);
      if (going?.landed !== undefined && file.tree !== undefined) {
        // It comes again, and what has come of it is not to lie there unknown to everybody.
        const recorder = this.#begin(peer, opened);
        recorder.note({ doubt: 'anew' });
        return { ...going, recorder };
      }
      if (going !== undefined) return going;
    }
    const { out } = this.#options;
    if (out === undefined)
      throw new Unacceptable('failed-application', 'it offered a file, and none is taken here');
    return { recorder: this.#begin(peer, opened), out };
  }

  /** A row of its own for an offer. */
  #begin(peer: Jid, { file, sender, sealed }: OpenedOffer): Recorder {
    const { records, connection } = this.#around;
    const account = connection.jid.bare.toString();
    const identity = sender.identityKey.toString('hex');
    const { onConflict } = this.#options;
    return records.begin({
      ...{ account, peer: peer.bare.toString(), direction: 'receive' },
      ...{ identity, device: sender.device, jet: sealed !== undefined },
      ...{ name: file.name, size: file.size },
      options: {
        ...{ kind: 'offer', onConflict },
        ...(file.tree && { tree: treeWords(file.tree) }),
      },
    });
  }

  #take(
    session: ContentSession,
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
      ...(file.tree && { files: file.tree.files, batch: file.tree.batch }),
    };
    const shown = shownName(file.name, file.tree);
    const about = { id: randomId(), peer: peer.bare.toString(), file: shown, size: file.size };
    const { clock } = this.#around;
    const reporter =
      taken.reporter ?? new Reporter({ ...about, direction: 'receive' }, clock, this.#options.on);
    const side = new Receiving(
      incoming,
      opened,
      taken,
      this.#options,
      reporter,
      this.#around.records,
      this.#flows,
    );
    const part = { sends: false, initiates: false };
    const id = { creator: content.creator, name: content.name };
    const transfer = new Transfer(this.#around, part, id, side);
    if (!transfer.takeTransport(session, content.transport)) {
      recorder?.end({ outcome: { kind: 'declined', by: 'self' }, exit: Exit.declined });
      throw new Unacceptable('unsupported-transports', 'its transport is not allowed here');
    }
    this.live.add(transfer);
    recorder?.follow((error) => transfer.fail(error));
    if (taken.reporter === undefined) reporter.offer(offer.fingerprint);
    const seen = this.#see(peer, transfer, side, offer, reporter, taken);
    if (recorder !== undefined) this.#pauses.watch(recorder.key, transfer, seen);
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
    const gone = new AbortController();
    const ended = transfer.done.finally(() => {
      gone.abort(new Error('the offer is gone'));
    });
    try {
      const asked = AbortSignal.any([this.#stop.signal, gone.signal]);
      // What was accepted once is not asked about again.
      const wanted = out === undefined || (await this.#options.decide(offer, asked));
      accepted = wanted && (await side.open());
      transfer.decide(accepted);
    } catch (error) {
      transfer.fail(asError(error));
    }
    const end = await ended;
    const { kept, proven, flow } = side;
    const over = (outcome: Outcome) => {
      for (const [name, key] of this.#flows) if (key === recorder?.key) this.#flows.delete(name);
      this.#over(peer, offer, side, reporter, recorder, outcome, accepted);
    };
    const goes = end.kind === 'continues' && !this.#stop.signal.aborted;
    try {
      if (goes && recorder !== undefined) {
        if (kept !== undefined) recorder.keep(kept, proven);
        if (recorder.row().written === 0 && flow === undefined) reporter.restart();
        this.#pauses.add({ recorder, reporter, ...(flow && { flow }) }, over);
        this.live.delete(transfer);
        return;
      }
      this.live.delete(transfer);
      if (recorder !== undefined && side.asksForHashes && isRefusal(end))
        await startAnew({ recorder, say: this.#options.say });
      over(endOf(end));
    } catch (error) {
      // Another process has the row by now.
      this.live.delete(transfer);
      over({ kind: 'failed', fault: { by: 'self', error: asError(error) } });
    }
  }

  /** The transfer has ended, in this session or because the next one did not come. */
  #over(
    peer: Jid,
    { fingerprint, of }: Offer,
    { landed: path, sha256, kept, as }: Receiving,
    reporter: Reporter,
    recorder: Recorder | undefined,
    outcome: Outcome,
    accepted: boolean,
  ): void {
    const ending = {
      ...{ outcome, ...(path !== undefined && { path }), ...(as && { as }) },
      ...{ ...(sha256 && { sha256 }), ...(kept && { kept }) },
    };
    const { exit, broke } = conclude(reporter, recorder, ending, sha256);
    this.#options.ended({
      ...{ peer: peer.toString(), fingerprint, exit, broke },
      accepted: accepted || outcome.kind === 'failed',
      ...(of && { of }),
    });
  }
}

/** By what the next session of a file is known that is handed on. */
function flowName({ identityKey }: OpenedOffer['sender'], id: string): string {
  return `${identityKey.toString('hex')} ${id}`;
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
  readonly #records: Records;
  readonly #flows: Map<string, number>;
  #opening: Opening | undefined;
  #decrypting: DecryptingSide | undefined;

  constructor(
    { content }: Incoming,
    opened: OpenedOffer,
    taken: Taken,
    options: ReceiverOptions,
    reporter: Reporter,
    records: Records,
    flows: Map<string, number>,
  ) {
    this.#records = records;
    this.#flows = flows;
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

  /** What takes the bytes, of what is handed on as they come. */
  get flow(): StreamTarget | undefined {
    const target = this.#opening?.target;
    return target instanceof StreamTarget ? target : undefined;
  }

  get moved(): number {
    return this.#decrypting?.moved ?? 0;
  }

  get patience(): number {
    return this.#decrypting?.patience ?? 0;
  }

  /** It is not the file that is wanted, but what tells what is wrong in its part. */
  get asksForHashes(): boolean {
    return this.#opening?.hashes !== undefined;
  }

  get kept(): Checkpoint | undefined {
    return this.#decrypting?.kept;
  }

  get proven(): Extent | undefined {
    return this.#decrypting?.proven;
  }

  /** Makes the part; false when the file is there and is to be skipped. @throws JetError (exit 8) */
  async open(): Promise<boolean> {
    const { cipher, secret, file, sealed } = this.#opened;
    const next = await this.#open();
    if (next === undefined) return false;
    this.#opening = next;
    const { target, size, extent, fresh, hashes } = next;
    const aside = hashes !== undefined;
    const whole = fresh && extent.length === size;
    const known = { hashes: knownHashes(this.#taken.recorder), hashUsed: [] };
    this.#decrypting = new DecryptingSide(
      {
        ...{ content: this.#content, cipher, secret, size, target, extent },
        // What is promised of a file is not of the part that is missing of it.
        proof: whole && !aside ? new Proof(file, size) : new Proof(NOTHING, extent.length),
        ...(!whole && !aside && { whole: new Proof(known, size) }),
        ...{ partial: false, aside },
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
    if (sealed !== undefined && this.#opening !== undefined) {
      const extensions = [sealed.accept(this.#opening)];
      const { recorder } = this.#taken;
      if (this.#decrypting?.keeps === true)
        recorder?.agreed(() => sealed.transferId(), sender.identityKey, sender.device);
      else if (this.flow !== undefined && recorder !== undefined)
        this.#flows.set(flowName(sender, file.resume?.id ?? sealed.transferId()), recorder.key);
      return { ...base, description: clearDescription(), extensions };
    }
    const { size, hashes, hashUsed } = file;
    return { ...base, description: encodeDescription({ name: file.name, size, hashes, hashUsed }) };
  }

  stream: Side['stream'] = (bytestream, signal) => this.#side.receive(bytestream, signal);

  info: Side['info'] = (payload) => this.#side.info(payload);

  land: NonNullable<Side['land']> = () => this.#side.land();

  receipt: NonNullable<Side['receipt']> = () => this.#side.receipt();

  async finish(outcome: SessionEnd): Promise<void> {
    wipeSecret(this.#opened.secret);
    this.#opened.sealed?.wipe();
    await this.#decrypting?.finish(outcome);
  }

  async #open(): Promise<Opening | undefined> {
    const { recorder, out, landed, flow } = this.#taken;
    const { say, skipped, onConflict } = this.#options;
    const { file, cipher } = this.#opened;
    const { size } = file;
    const { maxBytes: most } = cipher;
    if (out !== undefined) {
      const earlier = await this.#earlier(out, most);
      if (earlier !== undefined) return earlier;
      const target = await this.#new(out);
      return target && this.#first(target);
    }
    if (landed !== undefined && file.tree !== undefined) {
      // Nothing that lies there tells what the stream was; but what has landed does not land twice.
      const { name, tree: head } = file;
      const plan = { out: dirname(landed), name, size, head, onConflict, skipped, again: true };
      // Its folders have got theirs, and may have been given others since.
      return this.#first(await treeTarget({ ...plan, there: FoldersThere.all }, recorder));
    }
    if (flow !== undefined) return flow.rest(most);
    if (landed !== undefined) {
      const extent = { offset: size, length: 0 };
      return { target: landedTarget(landed), size, extent, fresh: false };
    }
    if (recorder === undefined) throw new Error('neither a row nor a file');
    return keptTarget({ recorder, size, most, say, skipped });
  }

  /** What comes first of something new. @throws JetError (exit 8) */
  async #first(target: Target): Promise<Opening> {
    const { file, cipher } = this.#opened;
    const first = opening(target, file.size, cipher.maxBytes);
    try {
      checkBuildable(target, first.extent, file.size, cipher);
    } catch (error) {
      await target.abort(false);
      throw error;
    }
    return first;
  }

  /** What of a file has landed here, or come, when it was sent before; of that only a jet can prove anything. */
  async #earlier(out: string, most: number): Promise<Opening | undefined> {
    const { recorder } = this.#taken;
    const { elsewhere, say, skipped } = this.#options;
    const records = this.#records;
    const { file, sealed } = this.#opened;
    const { size } = file;
    if (sealed === undefined || elsewhere !== undefined || recorder === undefined) return undefined;
    // What has landed of a folder is many files: nothing there tells what the stream was.
    const alone = file.tree === undefined;
    const path = alone ? await landedEarlier(records, recorder, out, file) : undefined;
    if (path !== undefined) {
      const target = earlierTarget(path, join(out, safeName(file.name)), recorder);
      return { target, size, extent: { offset: size, length: 0 }, fresh: false };
    }
    if (!takesPart(records, recorder, out)) return undefined;
    return keptTarget({ recorder, size, most, say, skipped });
  }

  /** Where something goes that is offered for the first time. */
  async #new(out: string): Promise<Target | undefined> {
    const { onConflict, elsewhere, skipped } = this.#options;
    const { file } = this.#opened;
    const { name, size, tree: head } = file;
    const other = await elsewhere?.(file);
    if (other !== undefined) return other;
    const { recorder } = this.#taken;
    if (head !== undefined) {
      const plan = { out, name, size, head, onConflict, skipped, again: false };
      return treeTarget(plan, recorder, this.#options);
    }
    const plan = { target: join(out, safeName(name)), size, onConflict };
    return fileTarget(plan, 'file', recorder, this.#options);
  }

  get #side(): DecryptingSide {
    if (this.#decrypting === undefined) throw new Error('nothing was accepted');
    return this.#decrypting;
  }
}
