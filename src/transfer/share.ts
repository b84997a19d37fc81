/** Serving what is asked for (XEP-0391 §4.2 over XEP-0234): the side that holds the files. */
import { randomBytes } from 'node:crypto';
import type { Element } from '@xmpp/xml';
import { makeRoom } from '../core/bounded.ts';
import { randomId } from '../core/bytes.ts';
import { sleep, type Clock } from '../core/clock.ts';
import { asError, Exit, messageOf, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { FileSource } from '../files/source.ts';
import type { TransportSecret } from '../jet/envelope.ts';
import { wipeSecret } from '../jet/secret.ts';
import { encodeDescription, fileError } from '../jingle/file-description.ts';
import { REFUSED, type SessionHandler } from '../jingle/handler.ts';
import { isStrong } from '../jingle/hashes.ts';
import type { IncomingSession } from '../jingle/sessions.ts';
import type { Content } from '../jingle/stanza.ts';
import type { Protection } from './content.ts';
import { EncryptingSide, type Bytes, type Stream } from './encrypting.ts';
import type { TransferEvent } from './events.ts';
import { goOnSending, type GoesOn } from './going-on.ts';
import { hashList, HASHES_NAME } from './hash-list.ts';
import { openRequest, readIncoming, type Incoming, type OpenedRequest } from './incoming.ts';
import { LiveTransfers } from './live.ts';
import type { Outcome } from './machine.ts';
import { Pauses } from './pauses.ts';
import { conclude, type Recorder, type Source } from './journal/recorder.ts';
import { Reporter } from './reporter.ts';
import { endOf } from './rounds.ts';
import { RunningHash } from './running-hash.ts';
import { clearDescription, type Extent, type NamedFile, type Request } from './sealed.ts';
import { headOf, shownName } from './tree/tree-list.ts';
import { Transfer, type Side, type Surroundings } from './transfer.ts';

/** Bytes of the IV that the side that encrypts draws for a request between two jets. */
const IV_BYTES = 12;
/**
 * Refusals leave at multiples of this many ms after the request came: how long it took to find out that
 * there is nothing, or no right to it, is not to be read from the clock.
 */
const REFUSAL_MS = 500;
/** Requests of one account within a minute; what is beyond is refused like any other. */
const REQUESTS_A_MINUTE = 120;
const MOST_PEERS = 1000;

/** A file that may be had, or something made for the one who asks. */
export interface Held {
  readonly file: NamedFile;
  /** SHA-256 of the whole, where it is known. */
  readonly sha256?: Buffer;
  /** Where it lies and what it was when it was hashed; absent for what is made in memory. */
  readonly source?: Pick<FileSource, 'path' | 'identity'>;
  /** @throws JetError (exit 8) when it is no longer what it was */
  open(): Promise<Bytes>;
}

/** What is shared with whom. */
export interface Sharing {
  /** Whether this account may have anything at all. */
  readonly may: (peer: Jid) => boolean;
  /** Whether it may ask without sealed elements, by a SHA-2 hash. */
  readonly plain: (peer: Jid) => boolean;
  /** Whether a transfer of ours that was interrupted may be gone on with by the one who got it. */
  readonly goesOn: GoesOn;
  /** What a request names; undefined when there is no such thing. */
  readonly find: (request: Request) => Promise<Held | undefined>;
  /** Bytes a second for each. */
  readonly limitRate?: number;
  readonly on: (event: TransferEvent) => void;
  /** An envelope of this full address opened. */
  readonly opened?: (peer: Jid) => void;
  /** A transfer has ended; `taken` with a valid receipt, or with a plain peer's word for it. */
  readonly ended: (exit: ExitStatus, taken: boolean) => void;
  /** A request that was refused, and why: for the user of this side alone. */
  readonly refused: (peer: Jid, why: string) => void;
}

/** Answers requests; one content a session. */
export class Holder {
  readonly live: LiveTransfers;
  readonly #around: Surroundings & Protection;
  readonly #sharing: Sharing;
  readonly #asked: Asked;
  readonly #pauses: Pauses;
  #stopped = false;

  /** @param live - where its transfers are counted, with others of the same command */
  constructor(
    around: Surroundings & Protection,
    sharing: Sharing,
    live: LiveTransfers = new LiveTransfers(),
  ) {
    this.live = live;
    this.#around = around;
    this.#sharing = sharing;
    this.#asked = new Asked(around.clock);
    this.#pauses = new Pauses(live, around.clock);
  }

  /** The handler of a session-initiate that asks for something. */
  async handle({ session, contents }: IncomingSession): Promise<SessionHandler> {
    const { clock } = this.#around;
    const { peer } = session;
    const came = clock.monotonic();
    try {
      return await this.#serve(session, readIncoming(contents));
    } catch (error) {
      this.#sharing.refused(peer, messageOf(error));
      const past = (clock.monotonic() - came) % REFUSAL_MS;
      await sleep(clock, REFUSAL_MS - past);
      await session.terminate('failed-application', {
        application: fileError('file-not-available'),
      });
      return REFUSED;
    }
  }

  /** Ends everything that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.live.stop();
  }

  async #serve(session: IncomingSession['session'], incoming: Incoming): Promise<SessionHandler> {
    const { peer } = session;
    const { transports, connection } = this.#around;
    if (!this.#asked.may(peer)) throw new Error('it asks too often');
    if (transports.get(incoming.content.transport.getNS() ?? '') === undefined)
      throw new Error('its transport is unknown');
    const opened = await openRequest(incoming, connection.jid, session, this.#around);
    try {
      this.#sharing.opened?.(peer);
      const { request } = opened;
      const served = await this.#held(peer, opened);
      const { held } = served;
      const extent = extentOf(request, held.file.size, opened.cipher.maxBytes);
      if (extent === undefined) {
        served.recorder?.release();
        throw new Error('it asked for bytes beyond the end of the file');
      }
      return await this.#begin(session, incoming, opened, served, extent);
    } catch (error) {
      wipeSecret(opened.secret);
      throw error;
    }
  }

  /** What is asked for, with its row where it goes on with an earlier transfer. @throws what is refused */
  async #held(peer: Jid, { request, sealed, sender }: OpenedRequest): Promise<Served> {
    const { may, find, goesOn } = this.#sharing;
    const { resume, hashes } = request;
    if (resume !== undefined) {
      const { records, connection } = this.#around;
      const account = connection.jid.bare.toString();
      const identity = sender.identityKey.toString('hex');
      const pauses = this.#pauses;
      const going = await goOnSending(records, pauses, account, identity, peer, resume, goesOn);
      const { recorder, reporter, source, sha256 } = going;
      const { size, mtime: date } = source;
      const file = { name: recorder.row().name, size, date, hashes: [], hashUsed: [] };
      const held = { file, sha256, open: () => Promise.resolve(source) };
      const { unread = [] } = source;
      const row = { recorder, unread, ...(reporter && { reporter }) };
      if (hashes === undefined) return { held, ...row };
      try {
        const list = hashList(source, hashes);
        const about = { ...file, name: HASHES_NAME, size: list.size };
        return { held: { file: about, open: () => Promise.resolve(list) }, of: held, ...row };
      } catch (error) {
        recorder.release();
        await source.close();
        throw error;
      }
    }
    if (!may(peer)) throw new Error('nothing is shared with it');
    if (sealed === undefined) this.#allowPlain(peer, request);
    const held = await find(request);
    if (held === undefined) throw new Error('what it asked for is not shared');
    return { held };
  }

  /** The row of something that is asked for anew; none for what lies nowhere. */
  #record(peer: Jid, { sender, sealed }: OpenedRequest, held: Held): Recorder | undefined {
    const { source, sha256, file } = held;
    if (source === undefined) return undefined;
    const { records, connection } = this.#around;
    return records.begin({
      ...{ account: connection.jid.bare.toString(), peer: peer.bare.toString() },
      ...{ direction: 'send', jet: sealed !== undefined, device: sender.device },
      ...{ identity: sender.identityKey.toString('hex'), name: file.name, size: file.size },
      ...{ path: source.path, file: source.identity, options: { kind: 'share' } },
      ...(sha256 && { sha256: sha256.toString('hex') }),
    });
  }

  #allowPlain(peer: Jid, { file }: Request): void {
    if (!this.#sharing.plain(peer))
      throw new Error('it asked without sealed elements, which is not allowed to it');
    if (!file.hashes.some(({ algorithm }) => isStrong(algorithm)) || file.range !== undefined)
      throw new Error('it asked in the clear for something else than a file by its SHA-2 hash');
  }

  async #begin(
    session: IncomingSession['session'],
    { content }: Incoming,
    opened: OpenedRequest,
    { held, of, recorder: goneOn, reporter: going, unread = [] }: Served,
    extent: Extent,
  ): Promise<SessionHandler> {
    const { limitRate, on } = this.#sharing;
    const bytes = await held.open();
    const recorder = goneOn ?? this.#record(session.peer, opened, held);
    const peer = session.peer.bare.toString();
    const { file: what, sha256 } = of ?? held;
    const { size } = what;
    const head = goneOn === undefined || of !== undefined ? undefined : headOf(goneOn.row());
    const file = shownName(what.name, head);
    const { offset, length } = extent;
    // Of the whole, what does not go in this session follows in others.
    const part = goneOn === undefined && opened.request.file.range !== undefined;
    const partial = part && (offset > 0 || length < size);
    const about = {
      ...{ id: randomId(), direction: 'send' as const, peer, file },
      ...(partial ? { size: length, partOf: { offset, size } } : { size }),
    };
    const reporter = going ?? new Reporter(about, this.#around.clock, on);
    const whole = new RunningHash(size, sha256);
    const encrypting = new EncryptingSide(
      {
        ...{ content, peer, reporter, size, whole, files: head?.files },
        ...(recorder && { recorder }),
        ...(limitRate !== undefined && { limitRate }),
      },
      this.#around.clock,
    );
    const streamed = { bytes, extent, partial, aside: of !== undefined };
    const side = new Serving(content, opened, held, streamed, encrypting, recorder);
    const transfer = new Transfer(
      this.#around,
      { sends: true, initiates: false },
      { creator: content.creator, name: content.name },
      side,
    );
    if (!transfer.takeTransport(session, content.transport)) {
      await bytes.close();
      recorder?.end({ outcome: { kind: 'declined', by: 'self' }, exit: Exit.declined });
      throw new Error('its transport is not allowed here');
    }
    this.live.add(transfer);
    recorder?.follow((error) => transfer.fail(error));
    if (going === undefined) reporter.offer(opened.sender.identityKey.toString('hex'));
    transfer.decide(true);
    const seen = transfer.done
      .then((end) => {
        const over = (outcome: Outcome) =>
          this.#over(encrypting, reporter, recorder, outcome, { name: what.name, unread });
        const goes = end.kind === 'continues' && recorder !== undefined && !this.#stopped;
        if (goes) this.#pauses.add({ recorder, reporter }, over);
        this.live.delete(transfer);
        if (!goes) over(endOf(end));
      })
      .catch((error: unknown) => this.#around.log(asError(error).message));
    if (recorder !== undefined) this.#pauses.watch(recorder.key, transfer, seen);
    return transfer;
  }

  #over(
    { sha256, landed }: EncryptingSide,
    reporter: Reporter,
    recorder: Recorder | undefined,
    outcome: Outcome,
    source: Source,
  ): void {
    const ending = { outcome, ...(landed && { as: landed.as }) };
    const { exit } = conclude(reporter, recorder, ending, sha256, source);
    this.#sharing.ended(exit, outcome.kind === 'verified' || outcome.kind === 'delivered');
  }
}

/** What is served, with its row where that goes on with an earlier transfer. */
interface Served {
  readonly held: Held;
  /** What the list that is served has the hashes of. */
  readonly of?: Held;
  readonly recorder?: Recorder;
  readonly reporter?: Reporter;
  /** See `Sendable`. */
  readonly unread?: readonly string[];
}

/** The bytes that a request means; undefined for what is no part of the file. */
export function extentOf({ file }: Request, size: number, most: number): Extent | undefined {
  const offset = file.range?.offset ?? 0;
  if (offset > size) return undefined;
  return { offset, length: Math.min(file.range?.length ?? Infinity, size - offset, most) };
}

/** The side that was asked for a file, and has it. */
class Serving implements Side {
  readonly #content: Incoming['content'];
  readonly #opened: OpenedRequest;
  readonly #held: Held;
  readonly #streamed: Pick<Stream, 'bytes' | 'extent' | 'partial' | 'aside'>;
  readonly #encrypting: EncryptingSide;
  readonly #recorder: Recorder | undefined;
  /** Between two jets the IV is ours: who encrypts draws it. */
  readonly #secret: TransportSecret;

  constructor(
    content: Incoming['content'],
    opened: OpenedRequest,
    held: Held,
    streamed: Pick<Stream, 'bytes' | 'extent' | 'partial' | 'aside'>,
    encrypting: EncryptingSide,
    recorder: Recorder | undefined,
  ) {
    this.#recorder = recorder;
    this.#content = content;
    this.#opened = opened;
    this.#held = held;
    this.#streamed = streamed;
    this.#encrypting = encrypting;
    const { secret, sealed } = opened;
    this.#secret = sealed === undefined ? secret : { key: secret.key, iv: randomBytes(IV_BYTES) };
  }

  get moved(): number {
    return this.#encrypting.moved;
  }

  get patience(): number {
    return this.#encrypting.patience;
  }

  get asked(): boolean {
    return this.#encrypting.asked;
  }

  accepted(transport: Element): Content {
    const { creator, name, senders } = this.#content;
    const { sealed } = this.#opened;
    const base = { creator, name, senders, transport };
    const { sha256 } = this.#held;
    const known = sha256 && { algorithm: 'sha-256' as const, digest: sha256 };
    const file = { ...this.#held.file, hashes: known ? [known] : [], hashUsed: [] };
    if (sealed === undefined) return { ...base, description: encodeDescription(file) };
    const { iv } = this.#secret;
    const { extent, partial } = this.#streamed;
    const extensions = [sealed.grant({ file, extent, iv })];
    const { identityKey, device } = this.#opened.sender;
    if (!partial) this.#recorder?.agreed(() => sealed.transferId(), identityKey, device);
    return { ...base, description: clearDescription(), extensions };
  }

  stream: Side['stream'] = (bytestream, signal) => {
    const { cipher, sealed } = this.#opened;
    const stream = { ...this.#streamed, cipher, secret: this.#secret, ...(sealed && { sealed }) };
    return this.#encrypting.send(stream, bytestream, signal);
  };

  checksum: NonNullable<Side['checksum']> = () => this.#encrypting.checksum();

  info: Side['info'] = (payload) => this.#encrypting.info(payload);

  certainty: NonNullable<Side['certainty']> = (payloads) => this.#encrypting.certainty(payloads);

  async finish(): Promise<void> {
    wipeSecret(this.#opened.secret);
    wipeSecret(this.#secret);
    this.#opened.sealed?.wipe();
    await this.#streamed.bytes.close();
  }
}

/** How often each account has asked within the last minute. */
class Asked {
  readonly #clock: Clock;
  readonly #counts = new Map<string, { since: number; count: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts one; false when it is too many. */
  may(peer: Jid): boolean {
    const key = peer.bare.toString();
    const now = this.#clock.monotonic();
    const known = this.#counts.get(key);
    if (known === undefined || now - known.since >= 60_000) {
      this.#counts.delete(key);
      makeRoom(this.#counts, key, MOST_PEERS);
      this.#counts.set(key, { since: now, count: 1 });
      return true;
    }
    known.count += 1;
    return known.count <= REQUESTS_A_MINUTE;
  }
}
