/** Offering one file (XEP-0391 §4.1 over XEP-0234) and sending it. */
import { randomId } from '../core/bytes.ts';
import type { ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
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
import { Reporter } from './reporter.ts';
import type { Membership } from './several.ts';
import type { SealedContent } from './sealed.ts';
import type { TreeHead } from './tree-list.ts';
import { Transfer, type ContentId, type Side, type Surroundings } from './transfer.ts';

/** What is offered: an open file, or something that is read like one. */
export interface Sendable extends Bytes {
  readonly name: string;
  readonly mtime: Date;
  /** Of a folder, which only a jet takes so: what its offer says. */
  readonly tree?: TreeHead;
}

/** What is sent to whom. */
export interface Sending {
  readonly source: Sendable;
  /** Which of several it is; told to a jet only. */
  readonly of?: Membership;
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
  const encrypting = new EncryptingSide(
    {
      ...{ bytes: source, content, peer: to.bare.toString(), reporter },
      ...(sending.limitRate !== undefined && { limitRate: sending.limitRate }),
      ...(sending.hashForm !== undefined && { hashForm: sending.hashForm }),
    },
    around.clock,
  );
  const side = new Offering(around, sending, shield, content, encrypting);
  const transfer = new Transfer(around, { sends: true, initiates: true }, content, side);
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
  if (transfer.refusedUnread && (await sending.renew?.())) return 'renewed';
  const { sha256, landed } = encrypting;
  return reporter.end(outcome, undefined, sha256?.toString('hex'), landed?.as);
}

/** The side that has offered a file. */
class Offering implements Side {
  readonly #around: Surroundings;
  readonly #source: Sendable;
  readonly #of: Membership | undefined;
  readonly #shield: Protected;
  readonly #content: ContentId;
  readonly #encrypting: EncryptingSide;
  #sealed: SealedContent | undefined;
  #peer: Jid | undefined;

  constructor(
    around: Surroundings,
    { source, of }: Pick<Sending, 'source' | 'of'>,
    shield: Protected,
    content: ContentId,
    encrypting: EncryptingSide,
  ) {
    this.#around = around;
    this.#source = source;
    this.#of = of;
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

  /** What is said about the file: the digest follows in a `<checksum/>`. */
  offer(session: Session): Pick<Content, 'description' | 'security'> {
    const { name, size, mtime: date, tree } = this.#source;
    const self = this.#around.connection.jid;
    this.#peer = session.peer;
    const { sealed, description, security } = offerContent(
      this.#shield,
      { name: this.#content.name, self, session },
      {
        ...{ name, size, date, mediaType: 'application/octet-stream' },
        ...{ hashes: [], hashUsed: ['sha-256'] },
        ...(this.#of && { of: this.#of }),
        ...(tree && { tree }),
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
    if (offset !== 0 || length !== size)
      throw new SealedError('malformed', 'the sealed accept asks for what was not offered');
  }

  stream: Side['stream'] = (bytestream, signal) => {
    const { cipher, secret } = this.#shield;
    const extent = { offset: 0, length: this.#source.size };
    const sealed = this.#sealed && { sealed: this.#sealed };
    const what = { cipher, secret, extent, partial: false, ...sealed };
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
