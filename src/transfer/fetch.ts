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
import type { ContentSession } from '../jingle/contents.ts';
import type { Initiates } from '../jingle/joint.ts';
import type { Content } from '../jingle/stanza.ts';
import { cipherOf, protect, requestContent, type Protected, type Protection } from './content.ts';
import { DecryptingSide, type Target } from './decrypting.ts';
import { Getting } from './getting.ts';
import type { TransferEvent } from './events.ts';
import { hashWords, knownHashes } from './going-on.ts';
import type { Say } from './file-target.ts';
import { initiate } from './initiate.ts';
import type { SessionEnd } from './machine.ts';
import { Proof } from './proof.ts';
import { conclude, type Recorder } from './journal/recorder.ts';
import { Reporter } from './reporter.ts';
import { checkBuildable, endOf, endOfError, isRefusal, mostSessions } from './rounds.ts';
import type { Extent, NamedFile, Request, SealedContent } from './sealed.ts';
import { StreamTarget } from './stream-target.ts';
import { keptTarget, notMade, startAnew, type Opening } from './targets.ts';
import { headOf, shownName } from './tree/tree-list.ts';
import { Transfer, type ContentId, type Side, type Surroundings } from './transfer.ts';

/** Where it goes, once its name and size are known; `part` is all that is wanted of it. @throws JetError */
export type Wanted = (
  file: NamedFile,
  part: Extent | undefined,
  recorder: Recorder | undefined,
) => Promise<Target>;

/** Of whom, and how. */
interface FromWhom {
  /** A full address: the resource that was found. */
  readonly to: Jid;
  readonly envelope: Envelope;
  /** Of a jet: the device that its disco form names. Without it the request is plain XEP-0391. */
  readonly device?: number;
  /** Something that the user is to know of what had come. */
  readonly say: Say;
  /** Told the key of the row. */
  readonly began?: (key: number) => void;
  /** Milliseconds that the peer has to answer. */
  readonly answerMs: number;
  readonly on: (event: TransferEvent) => void;
  readonly signal: AbortSignal;
}

/** Something that is asked for anew. */
interface Anew {
  readonly goesOn?: undefined;
  readonly request: Request;
  /** For the user, until the peer has named the file. */
  readonly label: string;
  readonly target: Wanted;
}

/** An earlier transfer that is gone on with: what is asked for follows from its row. */
interface GoesOn {
  readonly goesOn: Recorder;
}

/** What is asked of whom. */
export type Fetching = FromWhom & (Anew | GoesOn);

/**
 * Asks for a file and sees it through; tells every way it ends as events and as the exit status. What lands
 * has the hash that was asked for.
 *
 * @throws JetError when the envelope cannot be made
 */
export async function fetchFile(
  around: Surroundings & Protection & { readonly sessions: Initiates },
  fetching: Fetching,
): Promise<ExitStatus> {
  const { signal, to } = fetching;
  const anew = fetching.goesOn === undefined;
  const recorder = anew ? begin(around, fetching) : fetching.goesOn;
  if (recorder !== undefined) fetching.began?.(recorder.key);
  const row = fetching.goesOn?.row();
  const file = anew
    ? fetching.label
    : shownName(fetching.goesOn.row().name, headOf(fetching.goesOn.row()));
  const about = { id: randomId(), peer: to.bare.toString(), file, size: row?.size ?? 0 };
  const reporter = new Reporter({ ...about, direction: 'receive' }, around.clock, fetching.on);
  const course = { around, fetching, reporter, recorder };
  let asking: Asking = anew ? fetching : await rest(course, fetching.goesOn);
  let { side, end } = await ask(course, asking);
  for (
    let n = 1;
    recorder !== undefined && (await goesFurther(course, recorder, asking, side, end));
    n++
  )
    try {
      signal.throwIfAborted();
      if (n > mostSessions(recorder.row().size ?? 0, side.most)) break;
      asking = side.goesOn(recorder) ?? (await rest(course, recorder));
      ({ side, end } = await ask(course, asking));
    } catch (error) {
      end = endOfError(error, signal);
      break;
    }
  const { landed: path, sha256, kept, as } = side;
  const ending = {
    ...{ outcome: endOf(end), ...(path !== undefined && { path }), ...(as && { as }) },
    ...{ ...(side.wholly && sha256 && { sha256 }), ...(kept && { kept }) },
  };
  return conclude(reporter, recorder, ending, sha256).exit;
}

/** What is the same in all sessions of a transfer. */
interface Course {
  readonly around: Surroundings & Protection & { readonly sessions: Initiates };
  readonly fetching: Fetching;
  readonly reporter: Reporter;
  readonly recorder: Recorder | undefined;
}

/** What one session asks for. */
interface Asking {
  readonly request: Request;
  /** Where it goes, of a file that is gone on with. */
  readonly opening?: Opening;
}

/** One session. @throws JetError when the envelope cannot be made */
async function ask(
  { around, fetching, reporter, recorder }: Course,
  asking: Asking,
): Promise<{ readonly side: Requesting; readonly end: SessionEnd }> {
  const { to, envelope, device, signal } = fetching;
  const name = randomId();
  const content: ContentId = { creator: 'initiator', name };
  const shield = await protect(name, to, envelope, around.ciphers, 0, device);
  const side = new Requesting(around, fetching, asking, shield, content, reporter, recorder);
  const transfer = new Transfer(around, { sends: false, initiates: true }, content, side);
  recorder?.follow((error) => transfer.fail(error), true);
  const end = await initiate(around, transfer, {
    ...{ to, answerMs: fetching.answerMs, signal },
    content: (session, transport) => ({
      ...content,
      senders: 'responder',
      ...side.ask(session),
      transport,
    }),
    begun: () => reporter.waiting(`${to.bare.toString()} to answer`),
  });
  return { side, end };
}

/** Writes down what a session brought; false when it was the last one. */
async function goesFurther(
  { fetching, reporter }: Course,
  recorder: Recorder,
  { request, opening }: Asking,
  { kept, proven, flows }: Requesting,
  end: SessionEnd,
): Promise<boolean> {
  if (end.kind === 'continues') {
    if (kept !== undefined) recorder.keep(kept, proven);
  } else if (request.hashes !== undefined && opening !== undefined && isRefusal(end))
    await startAnew({ recorder, say: fetching.say });
  else return false;
  if (recorder.row().written === 0 && !flows) reporter.restart();
  return true;
}

/** Asks for what is to come next of a transfer. */
function askingFor(
  { records }: Surroundings,
  recorder: Recorder,
  id: string,
  opening: Opening,
): Asking {
  const { name, size = 0 } = recorder.row();
  const { extent, hashes } = opening;
  const resume = { id, attempt: records.journal.nextAttempt(recorder.key) };
  const range = hashes === undefined && { range: { ...extent, hashes: [] } };
  const file = { name, size, hashes: [], hashUsed: [], ...range };
  return { request: { file, list: false, resume, ...(hashes && { hashes }) }, opening };
}

/** The next session of a row: what is missing, or the hashes by which it is found. @throws JetError */
async function rest({ around, fetching }: Course, recorder: Recorder): Promise<Asking> {
  const { id, name, size = 0 } = recorder.row();
  const { maxBytes: most } = cipherOf(fetching.envelope, around.ciphers);
  const { say } = fetching;
  const skipped = (path: string, why: string) => say('left-out', notMade(path, why));
  const opening = await keptTarget({ recorder, size, most, say, skipped });
  if (opening === undefined)
    throw new JetError(Exit.localFile, 'target-exists', `${name} is there already.`);
  return askingFor(around, recorder, id, opening);
}

/** The row of a file that is asked for; a list has none. */
function begin(around: Surroundings, fetching: FromWhom & Anew): Recorder | undefined {
  const { to, device, request, label } = fetching;
  if (request.list) return undefined;
  return around.records.begin({
    ...{ account: around.connection.jid.bare.toString(), peer: to.bare.toString() },
    ...{ direction: 'receive', jet: device !== undefined, device, name: label },
    options: { kind: 'fetch', hashes: hashWords(request.file.hashes) },
  });
}

/** The side that has asked for a file. */
class Requesting extends Getting implements Side {
  readonly #around: Surroundings;
  readonly #fetching: Fetching;
  readonly #asking: Asking;
  readonly #shield: Protected;
  readonly #content: ContentId;
  readonly #reporter: Reporter;
  readonly #recorder: Recorder | undefined;
  #sealed: SealedContent | undefined;
  /** A part that was opened again in vain. */
  #unused: Checkpoint | undefined;
  /** What is handed on as it comes, and the id of its transfer: both end with this run. */
  #flow: { readonly target: StreamTarget; readonly id: string } | undefined;

  constructor(
    around: Surroundings,
    fetching: Fetching,
    asking: Asking,
    shield: Protected,
    content: ContentId,
    reporter: Reporter,
    recorder: Recorder | undefined,
  ) {
    super();
    this.#recorder = recorder;
    this.#around = around;
    this.#fetching = fetching;
    this.#asking = asking;
    this.#shield = shield;
    this.#content = content;
    this.#reporter = reporter;
  }

  override get kept(): Checkpoint | undefined {
    return super.kept ?? this.#unused;
  }

  /** Bytes that one session carries at most. */
  get most(): number {
    return this.#shield.cipher.maxBytes;
  }

  /** What lands is the whole file. */
  get wholly(): boolean {
    return this.#asking.opening !== undefined || this.#asking.request.file.range === undefined;
  }

  ask(session: ContentSession): Pick<Content, 'description' | 'security'> {
    const { sealed, description, security } = requestContent(
      this.#shield,
      { name: this.#content.name, self: this.#around.connection.jid, session },
      this.#asking.request,
    );
    this.#sealed = sealed;
    return { description, security };
  }

  async consented(content: Content): Promise<void> {
    const { file, extent, secret } = this.#granted(content);
    const { cipher } = this.#shield;
    checkSize(extent.length, cipher, 'receive');
    const { size } = file;
    const { opening: going, request } = this.#asking;
    const whole = extent.offset === 0 && extent.length === size;
    const partial = going === undefined && request.file.range !== undefined && !whole;
    const next = going ?? (await this.#begin(file, extent, partial));
    const { target, hashes, fresh } = next;
    // A part of a file is not gone on with.
    if (!partial) this.#agree(target);
    const known = { hashes: knownHashes(this.#recorder), hashUsed: [] };
    const aside = hashes !== undefined;
    this.decrypting = new DecryptingSide(
      {
        ...{ content: this.#content, cipher, secret, size, extent, target, partial, aside },
        // Of what the hash names, all or nothing lands; a weak hash selects and proves nothing.
        ...(!(fresh && whole) && !partial && !aside && { whole: new Proof(known, size) }),
        proof:
          whole && fresh
            ? new Proof({ ...file, hashes: [...request.file.hashes, ...file.hashes] }, size)
            : new Proof({ hashes: [], hashUsed: [] }, extent.length),
        ...(this.#sealed && { sealed: this.#sealed }),
      },
      this.#reporter,
    );
  }

  /** What was asked for anew has a name and a size now. */
  async #begin(file: NamedFile, extent: Extent, partial: boolean): Promise<Opening> {
    const { size } = file;
    const recorder = this.#recorder;
    const fetching = this.#fetching;
    if (fetching.goesOn !== undefined) throw new Error('what is gone on with has a place');
    this.#reporter.names(
      partial
        ? { file: file.name, size: extent.length, partOf: { offset: extent.offset, size } }
        : { file: file.name, size },
    );
    recorder?.note({ name: file.name, size });
    const target = await fetching.target(file, partial ? extent : undefined, recorder);
    if (!partial) checkBuildable(target, extent, size, this.#shield.cipher);
    return { target, size, extent, fresh: true };
  }

  /** Both sides know the transfer id now. */
  #agree(target: Target): void {
    const { recipient } = this.#shield;
    const { device } = this.#fetching;
    const sealed = this.#sealed;
    if (sealed === undefined || recipient === undefined || device === undefined) return;
    if (target instanceof StreamTarget)
      this.#flow = { target, id: this.#asking.request.resume?.id ?? sealed.transferId() };
    else if (target.built !== undefined)
      this.#recorder?.agreed(() => sealed.transferId(), recipient, device);
  }

  /** It is handed on as it comes. */
  get flows(): boolean {
    return this.#flow !== undefined;
  }

  /** The next session of what is handed on as it comes. */
  goesOn(recorder: Recorder): Asking | undefined {
    if (this.#flow === undefined) return undefined;
    const { target, id } = this.#flow;
    return askingFor(this.#around, recorder, id, target.rest(this.most));
  }

  async finish(outcome: SessionEnd): Promise<void> {
    wipeSecret(this.#shield.secret);
    this.#sealed?.wipe();
    if (this.decrypting !== undefined) await this.decrypting.finish(outcome);
    // Nothing came of it: the part is what it was.
    else this.#unused = await this.#asking.opening?.target.abort(true);
  }

  /** What the peer agreed to send, held against what was asked. */
  #granted({ description, extensions = [] }: Content): {
    readonly file: NamedFile;
    readonly extent: Extent;
    readonly secret: TransportSecret;
  } {
    const { key, iv } = this.#shield.secret;
    const { request, opening } = this.#asking;
    if (this.#sealed !== undefined) {
      const { recipient, envelope } = this.#shield;
      const granted = this.#sealed.openGrant(extensions);
      if (recipient !== undefined) envelope.identity?.().rememberJet(recipient, this.#fetching.to);
      if (granted.iv.equals(iv))
        throw new SealedError('malformed', 'the sealed accept brings no IV of its own');
      if (opening === undefined) fits(granted, request, this.most);
      else isWhatWasMissing(granted, opening);
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
      file: { ...file, name: file.name ?? this.#recorder?.row().name ?? 'file', size: file.size },
      extent,
      secret: { key, iv },
    };
  }
}

/** @throws SealedError when another file or other bytes were granted than were asked for; JetError */
function fits(
  { file, extent }: { file: NamedFile; extent: Extent },
  { file: asked }: Request,
  most: number,
): void {
  const from = asked.range?.offset ?? 0;
  const wanted = Math.max(0, Math.min(asked.range?.length ?? Infinity, file.size - from));
  const contradicts = (hash: Hash) =>
    file.hashes.some((other) => other.algorithm === hash.algorithm && !sameHash(other, hash));
  const { offset, length } = extent;
  if (offset !== from || length !== Math.min(wanted, most) || asked.hashes.some(contradicts))
    throw new SealedError('malformed', 'the sealed accept is about something else than was asked');
  // What follows of a file comes in further sessions; of a part of one that would be no part any more.
  if (asked.range !== undefined && length < wanted)
    throw new JetError(
      Exit.remoteFile,
      'file-too-large',
      `a range has at most ${most} bytes. Ask for less`,
    );
}

/** @throws SealedError when it is something else than what is missing of a file that is gone on with */
function isWhatWasMissing(
  { file, extent: { offset, length } }: { file: NamedFile; extent: Extent },
  { size, extent }: Opening,
): void {
  if (file.size !== size || offset !== extent.offset || length !== extent.length)
    throw new SealedError(
      'malformed',
      'the sealed accept is about other bytes than were asked for',
    );
}
