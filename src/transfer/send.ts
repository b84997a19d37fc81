/** Offering one file (XEP-0391 §4.1 over XEP-0234) and sending it. */
import type { Element } from '@xmpp/xml';
import { randomId } from '../core/bytes.ts';
import { asError, Exit, JetError, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { FileSource } from '../files/source.ts';
import type { Envelope } from '../jet/envelope.ts';
import { wipeSecret } from '../jet/secret.ts';
import { decodeReceived, encodeChecksum } from '../jingle/file-description.ts';
import type { Session } from '../jingle/session.ts';
import type { Sessions } from '../jingle/sessions.ts';
import type { Bytestream } from '../jingle/transport.ts';
import { StanzaError } from '../xmpp/connection.ts';
import { describe, protect, type Protected, type Protection } from './content.ts';
import { sendStream } from './pump.ts';
import { Reporter } from './reporter.ts';
import { Transfer, type Side, type Surroundings } from './transfer.ts';
import type { TransferEvent } from './events.ts';

/** What is sent to whom. */
export interface Sending {
  readonly source: FileSource;
  /** A full address: the resource that was found. */
  readonly to: Jid;
  readonly envelope: Envelope;
  /** How the peer reads digests. */
  readonly hashForm: 'raw' | 'hex';
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
  const { source, to, envelope, signal } = sending;
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
  const shield = await protect(name, to, envelope, around.ciphers, source.size);
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
        description: describe(source.name, source.size, source.mtime),
        transport: await transfer.offerTransport(session),
        security: shield.security,
      },
    ];
    await around.sessions.initiate(to, contents, transfer);
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

  async stream(bytestream: Bytestream, signal: AbortSignal): Promise<{ checksumDue: boolean }> {
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
    return { checksumDue: false };
  }

  checksum(): Element {
    const hashes = this.sha256 ? [{ algorithm: 'sha-256' as const, digest: this.sha256 }] : [];
    return encodeChecksum(
      { creator: 'initiator', name: this.#name, file: { hashes, hashUsed: [] } },
      this.#sending.hashForm,
    );
  }

  info(payload: Element): boolean {
    // Success is `<success/>` alone; that one content arrived is no news when there is but one.
    if (decodeReceived(payload) === undefined && payload.name !== 'ringing') {
      throw new StanzaError('modify', 'feature-not-implemented');
    }
    return false;
  }

  async finish(): Promise<void> {
    wipeSecret(this.#shield.secret);
    await this.#sending.source.close();
  }
}
