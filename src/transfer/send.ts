/** Offering one file (XEP-0391 §4.1 over XEP-0234) and sending it. */
import { resolve } from 'node:path';
import { randomId } from '../core/bytes.ts';
import { Exit, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { FileSource } from '../files/source.ts';
import type { Envelope } from '../jet/envelope.ts';
import { SealedError } from '../jet/sealed.ts';
import { wipeSecret } from '../jet/secret.ts';
import type { Session } from '../jingle/session.ts';
import type { Sessions } from '../jingle/sessions.ts';
import type { Content } from '../jingle/stanza.ts';
import { offerContent, protect, type Protected, type Protection } from './content.ts';
import { EncryptingSide, type Bytes } from './encrypting.ts';
import type { TransferEvent } from './events.ts';
import { initiate } from './initiate.ts';
import type { NewTransfer } from './journal.ts';
import { conclude, type Recorder } from './recorder.ts';
import { Reporter } from './reporter.ts';
import type { Membership } from './several.ts';
import type { Extent, Resume, SealedContent } from './sealed.ts';
import type { TreeHead } from './tree-list.ts';
import { Transfer, type ContentId, type Side, type Surroundings } from './transfer.ts';

/** What is offered: an open file, or something that is read like one. */
export interface Sendable extends Bytes {
  readonly name: string;
  readonly mtime: Date;
  /** Of a folder, which only a jet takes so: what its offer says. */
  readonly tree?: TreeHead;
  /** Where it lies and what it is, for what can be opened again. */
  readonly origin?: Pick<FileSource, 'path' | 'identity'>;
}

/** A transfer that this side goes on with. */
export interface GoesOn {
  readonly recorder: Recorder;
  readonly resume: Resume;
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
  around: Surroundings & Protection & { readonly sessions: Sessions },
  sending: Sending,
): Promise<ExitStatus | 'renewed'> {
  const { source, to, envelope, device, signal } = sending;
  const name = randomId();
  const reporter = new Reporter(
    {
      id: randomId(),
      direction: 'send',
      peer: to.bare.toString(),
      file: source.tree === undefined ? source.name : `${source.name}/`,
      size: source.size,
    },
    around.clock,
    sending.on,
  );
  const shield = await protect(name, to, envelope, around.ciphers, source.size, device);
  const content: ContentId = { creator: 'initiator', name };
  const recorder = sending.goesOn?.recorder ?? around.records.begin(rowOf(around, sending));
  const encrypting = new EncryptingSide(
    {
      ...{ bytes: source, content, peer: to.bare.toString(), reporter, recorder },
      ...(sending.limitRate !== undefined && { limitRate: sending.limitRate }),
      ...(sending.hashForm !== undefined && { hashForm: sending.hashForm }),
    },
    around.clock,
  );
  const side = new Offering(around, sending, shield, content, encrypting, recorder);
  const transfer = new Transfer(around, { sends: true, initiates: true }, content, side);
  sending.began?.(recorder.key);
  recorder.follow((error) => transfer.fail(error));
  const outcome = await initiate(around, transfer, {
    ...{ to, answerMs: sending.answerMs, signal },
    ...(sending.sid !== undefined && { sid: sending.sid }),
    content: (session, transport) => ({
      ...content,
      senders: 'initiator',
      ...side.offer(session),
      transport,
    }),
    begun: () => reporter.waiting(`${to.bare.toString()} to accept ${source.name}`),
  });
  if (transfer.refusedUnread && (await sending.renew?.())) {
    recorder.end({ outcome, exit: Exit.security });
    around.records.journal.forget(recorder.key);
    return 'renewed';
  }
  const { landed } = encrypting;
  const { sha256 } = side;
  const ending = { outcome, ...(sha256 && { sha256 }), ...(landed && { as: landed.as }) };
  return conclude(reporter, recorder, ending, sha256).exit;
}

/** What the journal knows from the start. */
function rowOf(around: Surroundings, { source, to, device }: Sending): NewTransfer {
  const { name, size, origin } = source;
  return {
    ...{ account: around.connection.jid.bare.toString(), peer: to.bare.toString() },
    ...{ direction: 'send', jet: device !== undefined, device },
    ...{ name, size, options: { kind: 'offer' } },
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
  /** What the peer wants of it. */
  #extent: Extent;
  #sealed: SealedContent | undefined;
  #peer: Jid | undefined;

  constructor(
    around: Surroundings,
    sending: Sending,
    shield: Protected,
    content: ContentId,
    encrypting: EncryptingSide,
    recorder: Recorder,
  ) {
    this.#around = around;
    this.#sending = sending;
    this.#source = sending.source;
    this.#recorder = recorder;
    this.#extent = { offset: 0, length: sending.source.size };
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

  /** SHA-256 of the whole file, once it is known. */
  get sha256(): Buffer | undefined {
    return this.#sending.goesOn?.sha256 ?? this.#encrypting.sha256;
  }

  /** What is said about the file: the digest follows in a `<checksum/>`. */
  offer(session: Session): Pick<Content, 'description' | 'security'> {
    const { name, size, mtime: date, tree } = this.#source;
    const self = this.#around.connection.jid;
    const { goesOn, of } = this.#sending;
    this.#peer = session.peer;
    const { sealed, description, security } = offerContent(
      this.#shield,
      { name: this.#content.name, self, session },
      {
        ...{ name, size, date, mediaType: 'application/octet-stream' },
        ...{ hashes: [], hashUsed: ['sha-256'] },
        ...(of && { of }),
        ...(tree && { tree }),
        ...(goesOn && { resume: goesOn.resume }),
      },
    );
    this.#sealed = sealed;
    return { description, security };
  }

  consented({ extensions = [] }: Content): void {
    if (this.#sealed === undefined) return;
    const { size } = this.#source;
    const { offset, length } = this.#sealed.openAccept(extensions, size);
    const { recipient, envelope } = this.#shield;
    if (recipient !== undefined && this.#peer !== undefined)
      envelope.identity?.().rememberJet(recipient, this.#peer);
    const resumed = this.#sending.goesOn !== undefined;
    if ((offset !== 0 && !resumed) || offset + length !== size)
      throw new SealedError('malformed', 'the sealed accept asks for what was not offered');
    this.#extent = { offset, length };
    const sealed = this.#sealed;
    const { device } = this.#sending;
    // What cannot be opened again is not gone on with.
    if (recipient !== undefined && device !== undefined && this.#source.origin !== undefined)
      this.#recorder.agreed(() => sealed.transferId(), recipient, device);
  }

  stream: Side['stream'] = (bytestream, signal) => {
    const { cipher, secret } = this.#shield;
    const sealed = this.#sealed && { sealed: this.#sealed };
    const known = this.#sending.goesOn && { sha256: this.#sending.goesOn.sha256 };
    const what = { cipher, secret, extent: this.#extent, partial: false, ...sealed, ...known };
    return this.#encrypting.send(what, bytestream, signal);
  };

  checksum: NonNullable<Side['checksum']> = () => this.#encrypting.checksum();

  info: Side['info'] = (payload) => this.#encrypting.info(payload);

  certainty: NonNullable<Side['certainty']> = (payloads) => this.#encrypting.certainty(payloads);

  async finish(): Promise<void> {
    wipeSecret(this.#shield.secret);
    this.#sealed?.wipe();
    await this.#encrypting.finish();
  }
}
