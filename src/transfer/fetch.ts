/** Asking for a file (XEP-0391 §4.2 over XEP-0234) and getting it. */
import { randomId } from '../core/bytes.ts';
import { Exit, JetError, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { Checkpoint } from '../files/landing.ts';
import type { Envelope, TransportSecret } from '../jet/envelope.ts';
import { checkSize } from '../jet/limits.ts';
import { SealedError } from '../jet/sealed.ts';
import { wipeSecret } from '../jet/secret.ts';
import { decodeDescription } from '../jingle/file-description.ts';
import { sameHash, type Hash } from '../jingle/hashes.ts';
import type { Session } from '../jingle/session.ts';
import type { Sessions } from '../jingle/sessions.ts';
import type { Content } from '../jingle/stanza.ts';
import { protect, requestContent, type Protected, type Protection } from './content.ts';
import { DecryptingSide, type Target } from './decrypting.ts';
import type { TransferEvent } from './events.ts';
import { hashWords, knownHashes } from './going-on.ts';
import { initiate } from './initiate.ts';
import type { Outcome } from './machine.ts';
import { Proof } from './proof.ts';
import { conclude, type Recorder } from './recorder.ts';
import { Reporter } from './reporter.ts';
import type { Extent, LandedAs, NamedFile, Request, SealedContent } from './sealed.ts';
import { Transfer, type ContentId, type Side, type Surroundings } from './transfer.ts';

/** What is asked of whom. */
export interface Fetching {
  /** A full address: the resource that was found. */
  readonly to: Jid;
  readonly envelope: Envelope;
  /** Of a jet: the device that its disco form names. Without it the request is plain XEP-0391. */
  readonly device?: number;
  readonly request: Request;
  /** For the user, until the peer has named the file. */
  readonly label: string;
  /** Where it goes, once its name and size are known. @throws JetError */
  readonly target: (
    file: NamedFile,
    extent: Extent,
    recorder: Recorder | undefined,
  ) => Promise<Target>;
  /** An earlier transfer is gone on with: of this row, from the range of the request to the end. */
  readonly goesOn?: { readonly recorder: Recorder; readonly target: Target };
  /** Told the key of the row. */
  readonly began?: (key: number) => void;
  /** Milliseconds that the peer has to answer. */
  readonly answerMs: number;
  readonly on: (event: TransferEvent) => void;
  readonly signal: AbortSignal;
}

/**
 * Asks for a file and sees it through; tells every way it ends as events and as the exit status. What lands
 * has the hash that was asked for.
 *
 * @throws JetError when the envelope cannot be made
 */
export async function fetchFile(
  around: Surroundings & Protection & { readonly sessions: Sessions },
  fetching: Fetching,
): Promise<ExitStatus> {
  const { to, envelope, device, signal } = fetching;
  const name = randomId();
  const content: ContentId = { creator: 'initiator', name };
  const reporter = new Reporter(
    {
      id: randomId(),
      direction: 'receive',
      peer: to.bare.toString(),
      file: fetching.label,
      size: 0,
    },
    around.clock,
    fetching.on,
  );
  const shield = await protect(name, to, envelope, around.ciphers, 0, device);
  const recorder = fetching.goesOn?.recorder ?? begin(around, fetching);
  if (recorder !== undefined) fetching.began?.(recorder.key);
  const side = new Requesting(around, fetching, shield, content, reporter, recorder);
  const transfer = new Transfer(around, { sends: false, initiates: true }, content, side);
  recorder?.follow((error) => transfer.fail(error), true);
  const outcome = await initiate(around, transfer, {
    ...{ to, answerMs: fetching.answerMs, signal },
    content: (session, transport) => ({
      ...content,
      senders: 'responder',
      ...side.ask(session),
      transport,
    }),
    begun: () => reporter.waiting(`${to.bare.toString()} to answer`),
  });
  const { landed: path, sha256, kept, as } = side;
  const whole = fetching.request.file.range === undefined || fetching.goesOn !== undefined;
  const ending = {
    ...{ outcome, ...(path !== undefined && { path }), ...(as && { as }) },
    ...{ ...(whole && sha256 && { sha256 }), ...(kept && { kept }) },
  };
  return conclude(reporter, recorder, ending, sha256).exit;
}

/** The row of a file that is asked for; a list has none. */
function begin(around: Surroundings, fetching: Fetching): Recorder | undefined {
  const { to, device, request, label } = fetching;
  if (request.list) return undefined;
  return around.records.begin({
    ...{ account: around.connection.jid.bare.toString(), peer: to.bare.toString() },
    ...{ direction: 'receive', jet: device !== undefined, device, name: label },
    options: { kind: 'fetch', hashes: hashWords(request.file.hashes) },
  });
}

/** The side that has asked for a file. */
class Requesting implements Side {
  readonly #around: Surroundings;
  readonly #fetching: Fetching;
  readonly #shield: Protected;
  readonly #content: ContentId;
  readonly #reporter: Reporter;
  readonly #recorder: Recorder | undefined;
  #sealed: SealedContent | undefined;
  #decrypting: DecryptingSide | undefined;
  /** A part that was opened again in vain. */
  #unused: Checkpoint | undefined;

  constructor(
    around: Surroundings,
    fetching: Fetching,
    shield: Protected,
    content: ContentId,
    reporter: Reporter,
    recorder: Recorder | undefined,
  ) {
    this.#recorder = recorder;
    this.#around = around;
    this.#fetching = fetching;
    this.#shield = shield;
    this.#content = content;
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

  get kept(): Checkpoint | undefined {
    return this.#decrypting?.kept ?? this.#unused;
  }

  get moved(): number {
    return this.#reporter.bytes;
  }

  ask(session: Session): Pick<Content, 'description' | 'security'> {
    const { sealed, description, security } = requestContent(
      this.#shield,
      { name: this.#content.name, self: this.#around.connection.jid, session },
      this.#fetching.request,
    );
    this.#sealed = sealed;
    return { description, security };
  }

  async consented(content: Content): Promise<void> {
    const { file, extent, secret } = this.#granted(content);
    const { cipher } = this.#shield;
    checkSize(extent.length, cipher, 'receive');
    const { size } = file;
    const asked = this.#fetching.request.file.hashes;
    const { offset, length } = extent;
    const { goesOn } = this.#fetching;
    if (goesOn && (this.#recorder?.row().size !== size || offset + length !== size))
      throw new SealedError('malformed', 'the sealed accept is about another file');
    const whole = offset === 0 && length === size;
    const partial = !whole && goesOn === undefined;
    this.#reporter.names(
      !partial
        ? { file: file.name, size }
        : { file: file.name, size: length, partOf: { offset, size } },
    );
    if (!goesOn) this.#recorder?.note({ name: file.name, size });
    const target = goesOn?.target ?? (await this.#fetching.target(file, extent, this.#recorder));
    // A part of a file, or what went to a pipe, is not gone on with.
    if (target.digests !== undefined && !partial) this.#agree();
    const known = { hashes: knownHashes(this.#recorder), hashUsed: [] };
    this.#decrypting = new DecryptingSide(
      {
        ...{ content: this.#content, cipher, secret, size, extent, target, partial },
        // Of what the hash names, all or nothing lands; a weak hash selects and proves nothing.
        ...(goesOn && { whole: new Proof(known, size) }),
        proof: whole
          ? new Proof({ ...file, hashes: [...asked, ...file.hashes] }, size)
          : new Proof({ hashes: [], hashUsed: [] }, extent.length),
        ...(this.#sealed && { sealed: this.#sealed }),
      },
      this.#reporter,
    );
  }

  /** Both sides know the transfer id now. */
  #agree(): void {
    const { recipient } = this.#shield;
    const { device } = this.#fetching;
    const sealed = this.#sealed;
    if (sealed !== undefined && recipient !== undefined && device !== undefined)
      this.#recorder?.agreed(() => sealed.transferId(), recipient, device);
  }

  stream: Side['stream'] = (bytestream, signal) => this.#side.receive(bytestream, signal);

  info: Side['info'] = (payload) => this.#side.info(payload);

  land: NonNullable<Side['land']> = () => this.#side.land();

  receipt: NonNullable<Side['receipt']> = () => this.#side.receipt();

  async finish(outcome: Outcome): Promise<void> {
    wipeSecret(this.#shield.secret);
    this.#sealed?.wipe();
    if (this.#decrypting !== undefined) await this.#decrypting.finish(outcome);
    // Nothing came of it: the part is what it was.
    else this.#unused = await this.#fetching.goesOn?.target.abort(true);
  }

  get #side(): DecryptingSide {
    if (this.#decrypting === undefined) throw new Error('nothing was granted');
    return this.#decrypting;
  }

  /** What the peer agreed to send, held against what was asked. */
  #granted({ description, extensions = [] }: Content): {
    readonly file: NamedFile;
    readonly extent: Extent;
    readonly secret: TransportSecret;
  } {
    const { key, iv } = this.#shield.secret;
    const { request, label } = this.#fetching;
    if (this.#sealed !== undefined) {
      const { recipient, envelope } = this.#shield;
      const granted = this.#sealed.openGrant(extensions);
      if (recipient !== undefined) envelope.identity?.().rememberJet(recipient, this.#fetching.to);
      if (granted.iv.equals(iv))
        throw new SealedError('malformed', 'the sealed accept brings no IV of its own');
      fits(granted, request);
      return { ...granted, secret: { key, iv: granted.iv } };
    }
    const file = description && decodeDescription(description);
    if (file?.size === undefined)
      throw new JetError(
        Exit.remoteFile,
        'no-size',
        'the other side does not say how large the file is. It cannot be taken from that program',
      );
    const extent = { offset: 0, length: file.size };
    return {
      file: { ...file, name: file.name ?? label, size: file.size },
      extent,
      secret: { key, iv },
    };
  }
}

/** @throws SealedError when another file or other bytes were granted than were asked for */
function fits(
  { file, extent }: { file: NamedFile; extent: Extent },
  { file: asked }: Request,
): void {
  const from = asked.range?.offset ?? 0;
  const most = Math.min(asked.range?.length ?? Infinity, file.size - from);
  const contradicts = (hash: Hash) =>
    file.hashes.some((other) => other.algorithm === hash.algorithm && !sameHash(other, hash));
  if (extent.offset !== from || extent.length > most || asked.hashes.some(contradicts))
    throw new SealedError('malformed', 'the sealed accept is about something else than was asked');
}
