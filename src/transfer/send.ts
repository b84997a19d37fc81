/** Offering one file (XEP-0391 §4.1 over XEP-0234) and sending it. */
import type { Element } from '@xmpp/xml';
import { randomId } from '../core/bytes.ts';
import { asError, Exit, JetError, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { FileSource } from '../files/source.ts';
import type { Envelope } from '../jet/envelope.ts';
import { SealedError } from '../jet/sealed.ts';
import { wipeSecret } from '../jet/secret.ts';
import { decodeReceived, encodeChecksum } from '../jingle/file-description.ts';
import type { Session } from '../jingle/session.ts';
import type { Sessions } from '../jingle/sessions.ts';
import type { Content } from '../jingle/stanza.ts';
import type { Bytestream } from '../jingle/transport.ts';
import { StanzaError } from '../xmpp/connection.ts';
import { offerContent, protect, type Protected, type Protection } from './content.ts';
import type { Certainty, ChecksumDue } from './machine.ts';
import { sendStream } from './pump.ts';
import { Reporter } from './reporter.ts';
import type { SealedContent } from './sealed.ts';
import { Transfer, type Side, type Surroundings } from './transfer.ts';
import type { TransferEvent } from './events.ts';

/** What is sent to whom. */
export interface Sending {
  readonly source: FileSource;
  /** A full address: the resource that was found. */
  readonly to: Jid;
  /** The session id that the resource expects; random by default. */
  readonly sid?: string;
  readonly envelope: Envelope;
  /** How the peer reads digests. */
  readonly hashForm: 'raw' | 'hex';
  /** Of a jet: the device that its disco form names. Everything about the file is sealed for it. */
  readonly device?: number;
  /** Bytes a second. */
  readonly limitRate?: number;
  /** Milliseconds that the peer has to accept or decline. */
  readonly answerMs: number;
  readonly on: (event: TransferEvent) => void;
  readonly signal: AbortSignal;
}

/**
 * Offers the file and sees it through; tells every way it ends as events and as the exit status.
 *
 * @throws JetError when the envelope cannot be made
 */
export async function sendFile(
  around: Surroundings & Protection & { readonly sessions: Sessions },
  sending: Sending,
): Promise<ExitStatus> {
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
  const side = new SendingSide(around, sending, shield, name, reporter);
  const transfer = new Transfer(
    around,
    { sends: true, initiates: true },
    { creator: 'initiator', name },
    side,
  );
  const cancel = () => transfer.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  const unanswered = around.clock.after(sending.answerMs, () => transfer.unanswered());
  try {
    signal.throwIfAborted();
    const contents = async (session: Session) => [
      {
        creator: 'initiator' as const,
        name,
        senders: 'initiator' as const,
        ...side.offer(session),
        transport: await transfer.offerTransport(session),
      },
    ];
    await around.sessions.initiate(to, contents, transfer, sending.sid);
    reporter.waiting(`${to.bare.toString()} to accept ${source.name}`);
  } catch (error) {
    // What the peer answers reaches the transfer by the session itself.
    if (!(error instanceof StanzaError)) transfer.fail(asError(error));
  }
  try {
    const outcome = await transfer.done;
    return reporter.end(outcome, undefined, side.sha256?.toString('hex'));
  } finally {
    unanswered();
    signal.removeEventListener('abort', cancel);
  }
}

class SendingSide implements Side {
  sha256: Buffer | undefined;
  readonly #around: Surroundings;
  readonly #sending: Sending;
  readonly #shield: Protected;
  readonly #name: string;
  readonly #reporter: Reporter;
  #sealed: SealedContent | undefined;
  #receipt = false;

  constructor(
    around: Surroundings,
    sending: Sending,
    shield: Protected,
    name: string,
    reporter: Reporter,
  ) {
    this.#around = around;
    this.#sending = sending;
    this.#shield = shield;
    this.#name = name;
    this.#reporter = reporter;
  }

  get moved(): number {
    return this.#reporter.bytes;
  }

  get whole(): boolean {
    return this.#reporter.bytes === this.#sending.source.size;
  }

  /** What is said about the file: the digest follows in a `<checksum/>`. */
  offer(session: Session): Pick<Content, 'description' | 'security'> {
    const { name, size, mtime: date } = this.#sending.source;
    const { sealed, description, security } = offerContent(this.#shield, {
      name: this.#name,
      self: this.#around.connection.jid,
      session,
      file: {
        ...{ name, size, date, mediaType: 'application/octet-stream' },
        ...{ hashes: [], hashUsed: ['sha-256'] },
      },
    });
    this.#sealed = sealed;
    return { description, security };
  }

  consented({ extensions = [] }: Content): void {
    if (this.#sealed === undefined) return;
    const { size } = this.#sending.source;
    const { offset, length } = this.#sealed.openAccept(extensions, size);
    const { recipient, envelope } = this.#shield;
    if (recipient !== undefined) envelope.identity?.().rememberJet(recipient);
    if (offset !== 0 || length !== size)
      throw new SealedError('malformed', 'the sealed accept asks for what was not offered');
  }

  async stream(bytestream: Bytestream, signal: AbortSignal): Promise<ChecksumDue> {
    const { source, limitRate } = this.#sending;
    const { cipher, secret } = this.#shield;
    this.#reporter.start(bytestream.route);
    const { bytes, sha256 } = await sendStream({
      source,
      bytestream,
      cipher,
      secret,
      signal,
      clock: this.#around.clock,
      onProgress: (taken) => this.#reporter.progress(taken),
      ...(limitRate !== undefined && { limitRate }),
    });
    if (bytes !== source.size) {
      throw new JetError(Exit.localFile, 'source-changed', 'the file changed while it was sent');
    }
    this.sha256 = sha256;
    this.#reporter.finishing(`${this.#sending.to.bare.toString()} to confirm`);
    return 'none';
  }

  checksum(): Element {
    if (this.sha256 === undefined) throw new Error('no digest yet');
    const { size } = this.#sending.source;
    const digests = { range: this.sha256, file: this.sha256 };
    return (
      this.#sealed?.checksum({ offset: 0, length: size }, digests) ??
      encodeChecksum(
        {
          creator: 'initiator',
          name: this.#name,
          file: { hashes: [{ algorithm: 'sha-256', digest: this.sha256 }], hashUsed: [] },
        },
        this.#sending.hashForm,
      )
    );
  }

  info(payload: Element): 'receipt' | undefined {
    if (payload.name === 'ringing') return undefined;
    const received = decodeReceived(payload);
    if (received === undefined) throw new StanzaError('modify', 'feature-not-implemented');
    // Of a plain peer, that one content arrived is no news when there is but one.
    return this.#reads(payload) ? 'receipt' : undefined;
  }

  certainty(payloads: readonly Element[]): Certainty {
    if (this.#sealed === undefined) return 'delivered';
    for (const payload of payloads) if (decodeReceived(payload) !== undefined) this.#reads(payload);
    if (this.#receipt) return 'verified';
    throw new JetError(
      Exit.security,
      'no-receipt',
      'the other side is said to have the file, but its sealed receipt is missing: somebody may have forged this. Ask there whether the file has landed',
    );
  }

  async finish(): Promise<void> {
    wipeSecret(this.#shield.secret);
    this.#sealed?.wipe();
    await this.#sending.source.close();
  }

  /** Takes a receipt; true for one that is valid. @throws SealedError, JetError */
  #reads(received: Element): boolean {
    const landed = this.#sealed?.openLanded(received);
    if (landed === undefined) return false;
    const { size } = this.#sending.source;
    const whole = landed.size === size && landed.offset === 0 && landed.length === size;
    if (!whole || this.sha256?.equals(landed.sha256) !== true)
      throw new JetError(
        Exit.security,
        'wrong-receipt',
        'the receipt of the other side is about another file than the one that was sent. Ask there what has landed',
      );
    this.#receipt = landed.as === 'file';
    return this.#receipt;
  }
}
