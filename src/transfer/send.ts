/** Offering one file (XEP-0391 §4.1 over XEP-0234) and sending it. */
import { resolve } from 'node:path';
import { randomId } from '../core/bytes.ts';
import { asError, Exit, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { FileSource } from '../files/source.ts';
import type { Envelope } from '../jet/envelope.ts';
import { SealedError } from '../jet/sealed.ts';
import { wipeSecret } from '../jet/secret.ts';
import type { Session } from '../jingle/session.ts';
import type { Sessions } from '../jingle/sessions.ts';
import type { Content } from '../jingle/stanza.ts';
import { StanzaError } from '../xmpp/connection.ts';
import { offerContent, protect, type Protected, type Protection } from './content.ts';
import { EncryptingSide, type Bytes } from './encrypting.ts';
import type { TransferEvent } from './events.ts';
import type { NewTransfer } from './journal.ts';
import { conclude, type Recorder } from './recorder.ts';
import { Reporter } from './reporter.ts';
import type { Extent, Resume, SealedContent } from './sealed.ts';
import { Transfer, type ContentId, type Side, type Surroundings } from './transfer.ts';

/** A transfer that this side goes on with. */
export interface GoesOn {
  readonly recorder: Recorder;
  readonly resume: Resume;
  /** SHA-256 of the whole file, as it lies on the disk now. */
  readonly sha256: Buffer;
}

/** What is sent to whom. */
export interface Sending {
  readonly source: FileSource;
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
      file: source.name,
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
      ...{ bytes: fileBytes(source), content, peer: to.bare.toString(), reporter, recorder },
      ...(sending.limitRate !== undefined && { limitRate: sending.limitRate }),
    },
    around.clock,
  );
  const side = new Offering(around, sending, shield, content, encrypting, recorder);
  const transfer = new Transfer(around, { sends: true, initiates: true }, content, side);
  sending.began?.(recorder.key);
  recorder.follow((error) => transfer.fail(error));
  const cancel = () => transfer.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  const unanswered = around.clock.after(sending.answerMs, () => transfer.unanswered());
  try {
    signal.throwIfAborted();
    const contents = async (session: Session) => [
      {
        ...content,
        senders: 'initiator' as const,
        ...side.offer(session),
        transport: await transfer.offerTransport(session),
      },
    ];
    const offered = around.sessions.initiate(to, contents, transfer, sending.sid).then(() => {
      reporter.waiting(`${to.bare.toString()} to accept ${source.name}`);
    });
    // A peer that is silent acknowledges not even the offer: an interrupt does not wait for that.
    await Promise.race([offered, transfer.done]);
  } catch (error) {
    // What the peer answers reaches the transfer by the session itself.
    if (!(error instanceof StanzaError)) transfer.fail(asError(error));
  }
  try {
    const outcome = await transfer.done;
    if (transfer.refusedUnread && (await sending.renew?.())) {
      recorder.end({ outcome, exit: Exit.security });
      around.records.journal.forget(recorder.key);
      return 'renewed';
    }
    const { sha256 } = side;
    return conclude(reporter, recorder, { outcome, ...(sha256 && { sha256 }) }, sha256).exit;
  } finally {
    unanswered();
    signal.removeEventListener('abort', cancel);
  }
}

/** What the journal knows from the start. */
function rowOf(around: Surroundings, { source, to, device }: Sending): NewTransfer {
  const { name, size, path, identity: file } = source;
  return {
    ...{ account: around.connection.jid.bare.toString(), peer: to.bare.toString() },
    ...{ direction: 'send', jet: device !== undefined, device },
    ...{ name, size, path: resolve(path), file, options: { kind: 'offer' } },
  };
}

/** The bytes of an open file. */
export function fileBytes(source: FileSource): Bytes {
  return {
    size: source.size,
    read: (offset, end) => source.read(offset, end),
    close: () => source.close(),
  };
}

/** The side that has offered a file. */
class Offering implements Side {
  readonly #around: Surroundings;
  readonly #sending: Sending;
  readonly #source: FileSource;
  readonly #shield: Protected;
  readonly #content: ContentId;
  readonly #encrypting: EncryptingSide;
  readonly #recorder: Recorder;
  /** What the peer wants of it. */
  #extent: Extent;
  #sealed: SealedContent | undefined;

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

  /** SHA-256 of the whole file, once it is known. */
  get sha256(): Buffer | undefined {
    return this.#sending.goesOn?.sha256 ?? this.#encrypting.sha256;
  }

  /** What is said about the file: the digest follows in a `<checksum/>`. */
  offer(session: Session): Pick<Content, 'description' | 'security'> {
    const { name, size, mtime: date } = this.#source;
    const self = this.#around.connection.jid;
    const { goesOn } = this.#sending;
    const { sealed, description, security } = offerContent(
      this.#shield,
      { name: this.#content.name, self, session },
      {
        ...{ name, size, date, mediaType: 'application/octet-stream' },
        ...{ hashes: [], hashUsed: ['sha-256'] },
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
    if (recipient !== undefined) envelope.identity?.().rememberJet(recipient);
    const resumed = this.#sending.goesOn !== undefined;
    if ((offset !== 0 && !resumed) || offset + length !== size)
      throw new SealedError('malformed', 'the sealed accept asks for what was not offered');
    this.#extent = { offset, length };
    const sealed = this.#sealed;
    if (recipient !== undefined && this.#sending.device !== undefined)
      this.#recorder.agreed(() => sealed.transferId(), recipient, this.#sending.device);
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
