/** Offering one file (XEP-0391 §4.1 over XEP-0234) and sending it. */
import { resolve } from 'node:path';
import { randomId } from '../core/bytes.ts';
import { Exit, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { FileSource } from '../files/source.ts';
import type { Walked } from '../files/walk.ts';
import type { Envelope } from '../jet/envelope.ts';
import { SealedError } from '../jet/sealed.ts';
import { wipeSecret } from '../jet/secret.ts';
import type { ContentSession } from '../jingle/contents.ts';
import type { Initiates } from '../jingle/joint.ts';
import type { Content } from '../jingle/stanza.ts';
import { offerContent, protect, type Protected, type Protection } from './content.ts';
import { forgetEarlier } from './journal/earlier.ts';
import { EncryptingSide, type Bytes } from './encrypting.ts';
import type { TransferEvent } from './events.ts';
import { hashList } from './hash-list.ts';
import { initiate } from './initiate.ts';
import type { NewTransfer } from './journal/journal.ts';
import type { SessionEnd } from './machine.ts';
import { conclude, type Recorder } from './journal/recorder.ts';
import { Reporter } from './reporter.ts';
import { endOf, endOfError, mostSessions } from './rounds.ts';
import { RunningHash } from './running-hash.ts';
import type { Membership } from './several.ts';
import type { Accepted, Resume, SealedContent } from './sealed.ts';
import { shownName, treeWords, type TreeHead } from './tree/tree-list.ts';
import { walkWords, type Walk } from './tree/tree-source.ts';
import { Transfer, type ContentId, type Side, type Surroundings } from './transfer.ts';

/** What is offered: an open file, or something that is read like one. */
export interface Sendable extends Bytes {
  readonly name: string;
  readonly mtime: Date;
  /** Of a folder or a batch, which only a jet takes so: what its offer says. */
  readonly tree?: TreeHead;
  /** Of these: how it can be read again. */
  readonly walked?: Walk;
  /** Of these: what is in the list, and paths of what could not be read, so far. */
  readonly entries?: readonly Walked[];
  readonly unread?: readonly string[];
  /** Where it lies and what it is, for what can be opened again. */
  readonly origin?: Pick<FileSource, 'path' | 'identity'>;
}

/** A transfer that this side goes on with. */
export interface GoesOn {
  readonly recorder: Recorder;
  /** SHA-256 of the whole file, as it lies on the disk now. */
  readonly sha256: Buffer;
}

/** What is sent to whom. */
export interface Sending {
  readonly source: Sendable;
  /** Which of several it is; told to a jet only. */
  readonly of?: Membership | undefined;
  /** An earlier transfer of this file is gone on with. */
  readonly goesOn?: GoesOn;
  /** Told the key of the row. */
  readonly began?: (key: number) => void;
  /** A full address: the resource that was found. */
  readonly to: Jid;
  /** The session id that the resource expects; random by default. */
  readonly sid?: string;
  readonly envelope: Envelope;
  /** Of a jet: the device that its disco form names. Everything about the file is sealed for it. */
  readonly device?: number;
  /** How the peer reads digests; default `raw`. */
  readonly hashForm?: 'raw' | 'hex';
  /** Bytes a second. */
  readonly limitRate?: number;
  /** Milliseconds that the peer has to accept or decline. */
  readonly answerMs: number;
  readonly on: (event: TransferEvent) => void;
  readonly signal: AbortSignal;
  /** Asked when the peer could not open the envelope: true when another one may do better. */
  readonly renew?: () => Promise<boolean>;
}

/**
 * Offers the file and sees it through; tells every way it ends as events and as the exit status.
 * `renewed`: nothing was told, the file is to be offered again with a fresh secret.
 *
 * @throws JetError when the envelope cannot be made
 */
export async function sendFile(
  around: Surroundings & Protection & { readonly sessions: Initiates },
  sending: Sending,
): Promise<ExitStatus | 'renewed'> {
  const { source, to, goesOn, signal } = sending;
  const file = shownName(source.name, source.tree);
  const reporter = new Reporter(
    {
      id: randomId(),
      direction: 'send',
      peer: to.bare.toString(),
      file,
      size: source.size,
    },
    around.clock,
    sending.on,
  );
  const shield = await shieldOf(around, sending);
  const recorder = goesOn?.recorder ?? around.records.begin(rowOf(around, sending));
  sending.began?.(recorder.key);
  const whole = new RunningHash(source.size, goesOn?.sha256);
  const course = { around, sending, reporter, recorder, whole };
  const next = () => ({
    id: recorder.row().id,
    attempt: around.records.journal.nextAttempt(recorder.key),
  });
  let { encrypting, transfer, end } = await offer(course, shield, goesOn && next());
  if (transfer.refusedUnread && (await sending.renew?.())) {
    recorder.end({ outcome: endOf(end), exit: Exit.security });
    around.records.journal.forget(recorder.key);
    return 'renewed';
  }
  const most = mostSessions(source.size, shield.cipher.maxBytes);
  for (let n = 1; end.kind === 'continues' && n < most; n++)
    try {
      signal.throwIfAborted();
      ({ encrypting, transfer, end } = await offer(
        course,
        await shieldOf(around, sending),
        next(),
      ));
    } catch (error) {
      end = endOfError(error, signal);
    }
  const { landed } = encrypting;
  const sha256 = whole.known ?? encrypting.sha256;
  const outcome = endOf(end);
  if (outcome.kind === 'verified' || outcome.kind === 'partly')
    forgetEarlier(around.records, recorder.row());
  const ending = { outcome, ...(sha256 && { sha256 }), ...(landed && { as: landed.as }) };
  const { unread = [] } = source;
  return conclude(reporter, recorder, ending, sha256, { name: file, unread }).exit;
}

/** What is the same in all sessions of a file. */
interface Course {
  readonly around: Surroundings & Protection & { readonly sessions: Initiates };
  readonly sending: Sending;
  readonly reporter: Reporter;
  readonly recorder: Recorder;
  readonly whole: RunningHash;
}

/** A fresh secret for a content whose name it is bound to. @throws JetError */
function shieldOf(
  around: Surroundings & Protection,
  { source, to, envelope, device }: Sending,
): Promise<Protected> {
  return protect(randomId(), to, envelope, around.ciphers, source.size, device);
}

/** One session. */
async function offer(
  { around, sending, reporter, recorder, whole }: Course,
  shield: Protected,
  resume: Resume | undefined,
): Promise<{
  readonly encrypting: EncryptingSide;
  readonly transfer: Transfer;
  readonly end: SessionEnd;
}> {
  const { source, to, signal, limitRate, hashForm, sid } = sending;
  const content: ContentId = { creator: 'initiator', name: shield.name };
  const encrypting = new EncryptingSide(
    {
      ...{ content, peer: to.bare.toString(), reporter, recorder, size: source.size, whole },
      files: source.tree?.files,
      listed: { entries: source.entries ?? [], unread: source.unread ?? [] },
      ...(limitRate !== undefined && { limitRate }),
      ...(hashForm !== undefined && { hashForm }),
    },
    around.clock,
  );
  const side = new Offering(around, sending, shield, content, encrypting, recorder, resume);
  const transfer = new Transfer(around, { sends: true, initiates: true }, content, side);
  recorder.follow((error) => transfer.fail(error));
  const end = await initiate(around, transfer, {
    ...{ to, answerMs: sending.answerMs, signal },
    // The session that was agreed on is the first.
    ...(sid !== undefined && resume === undefined && { sid }),
    content: (session, transport) => ({
      ...content,
      senders: 'initiator',
      ...side.offer(session),
      transport,
    }),
    begun: () =>
      reporter.waiting(`${to.bare.toString()} to accept ${shownName(source.name, source.tree)}`),
  });
  return { encrypting, transfer, end };
}

/** What the journal knows from the start. */
function rowOf(around: Surroundings, { source, to, device }: Sending): NewTransfer {
  const { name, size, origin, tree, walked } = source;
  const folder = walked && tree && { tree: treeWords(tree), ...walkWords(walked) };
  return {
    ...{ account: around.connection.jid.bare.toString(), peer: to.bare.toString() },
    ...{ direction: 'send', jet: device !== undefined, device },
    ...{ name, size, options: { kind: 'offer', ...folder } },
    ...(walked && { path: walked.path }),
    ...(origin && { path: resolve(origin.path), file: origin.identity }),
  };
}

/** The side that has offered a file. */
class Offering implements Side {
  readonly #around: Surroundings;
  readonly #sending: Sending;
  readonly #source: Sendable;
  readonly #shield: Protected;
  readonly #content: ContentId;
  readonly #encrypting: EncryptingSide;
  readonly #recorder: Recorder;
  readonly #resume: Resume | undefined;
  /** What the peer wants of it. */
  #accepted: Accepted;
  #sealed: SealedContent | undefined;
  #peer: Jid | undefined;

  constructor(
    around: Surroundings,
    sending: Sending,
    shield: Protected,
    content: ContentId,
    encrypting: EncryptingSide,
    recorder: Recorder,
    resume: Resume | undefined,
  ) {
    this.#around = around;
    this.#sending = sending;
    this.#source = sending.source;
    this.#recorder = recorder;
    this.#resume = resume;
    const { size } = sending.source;
    this.#accepted = { size, extent: { offset: 0, length: size } };
    this.#shield = shield;
    this.#content = content;
    this.#encrypting = encrypting;
  }

  get moved(): number {
    return this.#encrypting.moved;
  }

  get whole(): boolean {
    return this.#encrypting.whole;
  }

  get patience(): number {
    return this.#encrypting.patience;
  }

  get asked(): boolean {
    return this.#encrypting.asked;
  }

  /** What is said about the file: the digest follows in a `<checksum/>`. */
  offer(session: ContentSession): Pick<Content, 'description' | 'security'> {
    const { name, size, mtime: date, tree } = this.#source;
    const self = this.#around.connection.jid;
    const { of } = this.#sending;
    this.#peer = session.peer;
    const { sealed, description, security } = offerContent(
      this.#shield,
      { name: this.#content.name, self, session },
      {
        ...{ name, size, date, mediaType: 'application/octet-stream' },
        ...{ hashes: [], hashUsed: ['sha-256'] },
        ...(of && { of }),
        ...(tree && { tree }),
        ...(this.#resume && { resume: this.#resume }),
      },
    );
    this.#sealed = sealed;
    return { description, security };
  }

  consented({ extensions = [] }: Content): void {
    if (this.#sealed === undefined) return;
    const { size } = this.#source;
    const accepted = this.#sealed.openAccept(extensions, { size, resume: this.#resume });
    const { recipient, envelope, cipher } = this.#shield;
    if (recipient !== undefined && this.#peer !== undefined)
      envelope.identity?.().rememberJet(recipient, this.#peer);
    if (this.#resume === undefined) beginsFile(accepted, cipher.maxBytes, this.#source.tree?.list);
    else goesOnWith(accepted, cipher.maxBytes);
    this.#accepted = accepted;
    const sealed = this.#sealed;
    const { device } = this.#sending;
    // What cannot be opened again is not gone on with once this process has ended.
    if (recipient !== undefined && device !== undefined)
      this.#recorder.agreed(() => sealed.transferId(), recipient, device);
  }

  stream: Side['stream'] = (bytestream, signal) => {
    const { cipher, secret } = this.#shield;
    const { extent, hashes } = this.#accepted;
    const bytes = hashes === undefined ? this.#source : hashList(this.#source, hashes);
    const aside = hashes !== undefined;
    const sealed = this.#sealed && { sealed: this.#sealed };
    const what = { cipher, secret, bytes, extent, aside, partial: false, ...sealed };
    return this.#encrypting.send(what, bytestream, signal);
  };

  checksum: NonNullable<Side['checksum']> = () => this.#encrypting.checksum();

  info: Side['info'] = (payload) => this.#encrypting.info(payload);

  certainty: NonNullable<Side['certainty']> = (payloads) => this.#encrypting.certainty(payloads);

  finish(): Promise<void> {
    wipeSecret(this.#shield.secret);
    this.#sealed?.wipe();
    return Promise.resolve();
  }
}

/**
 * @param list - bytes of the list of a folder
 * @throws SealedError unless it wants an offered file, what is missing of it, or as much as one message carries; of
 * a folder also its list alone
 */
function beginsFile({ size, extent }: Accepted, most: number, list?: number): void {
  const { offset, length } = extent;
  const listed = offset === 0 && list !== undefined && length === Math.min(list, most);
  if (length !== Math.min(size - offset, most) && !listed)
    throw new SealedError('malformed', 'the sealed accept asks for what was not offered');
}

/** @throws SealedError unless it wants no more than one message carries */
function goesOnWith({ extent }: Accepted, most: number): void {
  if (extent.length > most)
    throw new SealedError('malformed', 'the sealed accept asks for what was not offered');
}
