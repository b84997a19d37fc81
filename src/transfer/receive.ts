/** Being offered a file (XEP-0391 §4.1 over XEP-0234), and landing it. */
import type { Element } from '@xmpp/xml';
import { randomId } from '../core/bytes.ts';
import { asError, Exit, messageOf } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { wipeSecret } from '../jet/secret.ts';
import { fileError } from '../jingle/file-description.ts';
import { Contents, type ContentSession } from '../jingle/contents.ts';
import { REFUSED, type SessionHandler } from '../jingle/handler.ts';
import type { IncomingSession } from '../jingle/sessions.ts';
import type { Condition, Content } from '../jingle/stanza.ts';
import { StanzaError } from '../xmpp/connection.ts';
import type { Protection } from './content.ts';
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
import { Pauses } from './pauses.ts';
import { conclude, type Recorder } from './journal/recorder.ts';
import { flowName, Receiving, type LandingChoices } from './receiving-side.ts';
import { Reporter } from './reporter.ts';
import { endOf, isRefusal } from './rounds.ts';
import { goOnReceiving, goOnStreaming, type GoesOn, type Taken } from './going-on.ts';
import type { EndedOffer, Membership } from './several.ts';
import { startAnew } from './targets.ts';
import { shownName, treeWords } from './tree/tree-list.ts';
import { Transfer, type Surroundings } from './transfer.ts';

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

/** How offers are taken. */
export interface ReceiverOptions extends LandingChoices {
  /** Undefined: nothing new is taken, only what was interrupted is gone on with. */
  readonly out?: string;
  /** Larger offers are declined unasked; bytes. */
  readonly maxSize?: number;
  /** What is gone on with, where that is not all that can be. */
  readonly goesOn?: GoesOn;
  /** The decision; only asked for what could be taken. Rejects with the signal's reason. */
  readonly decide: (offer: Offer, signal: AbortSignal) => Promise<boolean>;
  readonly on: (event: TransferEvent) => void;
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

/** How an offer is refused that cannot be taken. */
function refusalOf(error: unknown): { reason: Condition; farewell?: { application: Element } } {
  if (!(error instanceof Unacceptable)) return { reason: 'general-error' };
  const { reason, application } = error;
  return { reason, ...(application && { farewell: { application: fileError(application) } }) };
}
