/** What the journal is told of a transfer while it goes on, and who is told when another session takes over. */
import type { Clock } from '../../core/clock.ts';
import { asError, Exit, JetError, type ExitStatus } from '../../core/errors.ts';
import { thisBoot } from '../../store/owner.ts';
import { LandedFiles } from '../../files/landed-files.ts';
import type { Checkpoint } from '../../files/landing.ts';
import type { Journal, NewTransfer } from './journal.ts';
import {
  canGoOn,
  pathsIn,
  type EndState,
  type TransferDetails,
  type TransferRow,
} from './journal-row.ts';
import type { JournalWriter } from './journal-writer.ts';
import type { Outcome } from '../machine.ts';
import { isBroken, lacks, mayGoOn, statusOf, unreadError, wordOf } from '../outcome.ts';
import type { Reporter } from '../reporter.ts';
import type { Extent, LandedAs } from '../sealed.ts';

/** Milliseconds after which bytes that have moved are written down, and durably at that. */
const EVERY_MS = 3_000;
/** So are a 128th of the file, but no fewer bytes than LEAST and no more than MOST; a power cut may undo that. */
const PARTS = 128;
const LEAST = 512 * 1024;
const MOST = 64 * 1024 * 1024;
/** Before the first time, and from each to the next, are so many milliseconds: what a kill makes come again, or what people see. */
const APART_MS = { receive: 50, send: 250 } as const;
/**
 * After a checkpoint there is none for so many times as long as it took, but no longer than REST_MS: a disk that is
 * made to sync all the time writes more slowly.
 */
const REST = 8;
const REST_MS = 100;

/** What is to be written down: what outlives this process, or what outlives a power cut, too. */
export type Due = 'reached' | 'durable';

/** A transfer of this process, as another session that wants its row sees it. */
interface Live {
  /** It is our own request: whoever offers the same file at that moment has to stand back. */
  readonly asks: boolean;
  /** Ends it and waits until its last write is done. */
  readonly stop: () => Promise<void>;
}

/** The journal as the transfers of this process use it. */
export class Records {
  readonly journal: Journal;
  readonly #clock: Clock;
  readonly #live = new Map<number, Live>();
  /** Rows that the other side goes on with by its own session: each until nobody writes it any more. */
  readonly #answered = new Map<number, Promise<void>>();
  readonly #listeners = new Set<(key: number) => void>();

  constructor(journal: Journal, clock: Clock) {
    this.journal = journal;
    this.#clock = clock;
  }

  /** A transfer begins. */
  begin(what: NewTransfer): Recorder {
    return new Recorder(this.journal.begin(what), this.#clock, this.#live);
  }

  /**
   * This side goes on with a transfer.
   *
   * @throws as `Journal.claim`, also while the other side goes on with it here
   */
  resume(key: number): Recorder {
    return new Recorder(this.journal.claim(key, 'user'), this.#clock, this.#live);
  }

  /**
   * The other side goes on with a transfer. One of this process that has the row is ended first, unless it is
   * our own request: the other side has begun anew, so it is not alive any more, or is an offer of ours that
   * crosses its request.
   *
   * @param by - who wants that: see `Journal.claim`
   * @throws as `Journal.claim`
   */
  async answer(key: number, by: 'user' | 'peer'): Promise<Recorder> {
    let over: () => void = () => undefined;
    const answered = new Promise<void>((resolve) => (over = resolve));
    // Said before the one that is ended has ended: who waits for that is to see why.
    this.#answered.set(key, answered);
    const free = () => {
      if (this.#answered.get(key) === answered) this.#answered.delete(key);
      over();
    };
    try {
      const live = this.#live.get(key);
      if (live !== undefined && !live.asks) await live.stop();
      const recorder = new Recorder(this.journal.claim(key, by), this.#clock, this.#live);
      void recorder.released.then(free);
      for (const listener of [...this.#listeners]) listener(key);
      return recorder;
    } catch (error) {
      free();
      throw error;
    }
  }

  /** Resolves when the other side's sessions of a row have ended; undefined where there is none. */
  answered(key: number): Promise<void> | undefined {
    return this.#answered.get(key);
  }

  /** Hears of each row that the other side goes on with here. Returns the removal. */
  onAnswer(listener: (key: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** How a transfer ended, for its row. */
export interface Ending {
  readonly outcome: Outcome;
  readonly exit: ExitStatus;
  /** Where it landed. */
  readonly path?: string;
  /** SHA-256 of the whole file. */
  readonly sha256?: Buffer;
  /** What is kept of the part. */
  readonly kept?: Checkpoint;
  /** What the receiver made of it; a file, where nothing is said. */
  readonly as?: LandedAs;
}

/** What was sent, and what of it could not be read. */
export interface Source {
  readonly name: string;
  readonly unread?: readonly string[];
}

/**
 * Writes the end of a transfer down, then tells it.
 *
 * @param came - SHA-256 of what came or went
 * @returns `broke`: the connection failed, and either side may go on with it by itself
 */
export function conclude(
  reporter: Reporter,
  recorder: Recorder | undefined,
  ending: Omit<Ending, 'exit'>,
  came: Buffer | undefined,
  { name, unread = [] }: Source = { name: '' },
): { readonly exit: ExitStatus; readonly broke: boolean } {
  const { outcome, path, as } = ending;
  const missed = unread.length > 0 && lacks(outcome) ? unreadError(name, unread) : undefined;
  const exit = missed?.exit ?? reporter.exitOf(outcome);
  const id = recorder?.end({ ...ending, exit });
  if (id !== undefined) reporter.interrupted(id);
  reporter.end(outcome, path, came?.toString('hex'), as);
  if (missed !== undefined) reporter.error(missed);
  return { exit, broke: id !== undefined && isBroken(wordOf(outcome)) };
}

/** Writes the row of one transfer. */
export class Recorder {
  readonly key: number;
  readonly #writer: JournalWriter;
  readonly #clock: Clock;
  readonly #live: Map<number, Live>;
  /** Resolves when it writes no more. */
  readonly released: Promise<void>;
  #release: () => void = () => undefined;
  #written = 0;
  #time: number;
  #synced: number;
  /** Nothing is written down before; not known while nothing has moved. */
  #rested: number | undefined;
  #step: number;
  readonly #apart: number;

  constructor(writer: JournalWriter, clock: Clock, live: Map<number, Live>) {
    this.key = writer.key;
    this.#writer = writer;
    this.#clock = clock;
    this.#live = live;
    this.#time = this.#synced = clock.monotonic();
    const { size, direction } = writer.row();
    this.#step = stepOf(size ?? 0);
    this.#apart = APART_MS[direction];
    this.released = new Promise((resolve) => (this.#release = resolve));
  }

  /** @throws JetError (exit 8) `transfer-taken`, here and in all below but `end` */
  row(): TransferRow {
    return this.#writer.row();
  }

  /** @param fail - ends the transfer with this error */
  follow(fail: (error: Error) => void, asks = false): void {
    const stop = () => {
      fail(superseded());
      return this.released;
    };
    this.#live.set(this.key, { asks, stop });
  }

  note(details: Partial<TransferDetails>): void {
    this.#writer.note(details);
    if (details.size !== undefined) this.#step = stepOf(details.size);
  }

  /**
   * Both sides know the transfer id. Of one that is gone on with the first id stays.
   *
   * @param identityKey - of the peer's device
   */
  agreed(id: () => string, identityKey: Buffer, device: number): void {
    if (this.row().adopted) return;
    this.#writer.adopt(id(), { identity: identityKey.toString('hex'), device });
  }

  /** What is to be written down, when so much has moved, or so long. */
  due(bytes: number): Due | undefined {
    const now = this.#clock.monotonic();
    this.#rested ??= now + this.#apart;
    if (now < this.#rested) return undefined;
    if (bytes - this.#written < this.#step && now - this.#time < EVERY_MS) return undefined;
    this.#written = bytes;
    this.#time = now;
    this.#rested = now + this.#apart;
    // Where nobody can tell whether the power was cut, all that counts is what that leaves.
    if (now - this.#synced < EVERY_MS && thisBoot() !== '') return 'reached';
    this.#synced = now;
    return 'durable';
  }

  /** Bytes that the other side took, where it is time to write that down; what goes again is none. */
  progress(bytes: number): void {
    if (bytes > this.#written && this.due(bytes) !== undefined) this.#writer.progress(bytes);
  }

  checkpoint(checkpoint: Checkpoint): void {
    this.#writer.checkpoint(checkpoint);
  }

  /**
   * A checkpoint among many, which was begun when it was due: the one before is still right when a power cut undoes
   * it.
   */
  advance(checkpoint: Checkpoint): void {
    const now = this.#clock.monotonic();
    const rested = now + Math.min(REST_MS, REST * (now - this.#time));
    this.#rested = Math.max(this.#rested ?? rested, rested);
    this.#writer.advance(checkpoint);
  }

  /** How far the part is, as long as the system runs. */
  reach(reached: Checkpoint): void {
    this.#writer.reach(reached);
  }

  /** What a session leaves for the next one, and which bytes of it are proven. */
  keep(kept: Checkpoint, proven: Extent | undefined): void {
    this.#writer.keep(kept, proven);
  }

  /** What the other side's identity key has landed of a folder before; undefined where that is unknown. */
  landedFiles(folder: string): LandedFiles | undefined {
    const files = this.#writer.landedFiles(folder);
    return files && new LandedFiles(files);
  }

  /** As `landedFiles`, of batches, and of what came into the folder alone; undefined where nothing did. */
  landedInto(out: string): LandedFiles | undefined {
    const files = this.#writer.landedFiles(pathsIn(out));
    if (files === undefined && !this.#writer.hasLandedAlone(out)) return undefined;
    return new LandedFiles(files ?? Buffer.alloc(0), (name, size) =>
      this.#writer.landedAlone(out, name, size),
    );
  }

  /** Remembers what of a folder has landed. */
  rememberLanded(folder: string, files: Buffer): void {
    this.#writer.rememberLanded(folder, files);
  }

  /**
   * It is in its place, and proven. Also of a process that is killed now nothing is missing any more: who
   * has sent it gets the receipt when it is offered again.
   */
  landed(path: string, file: TransferDetails['file']): void {
    this.#writer.land({ path, file }, { exit: Exit.done, status: 'verified' });
  }

  /** The same of a folder, or a batch, of which some has not landed. */
  landedPartly(path: string): void {
    this.#writer.land({ path }, { exit: Exit.partial, status: 'partial' });
  }

  /** What had come is of no use. */
  restart(): void {
    this.#writer.restart();
  }

  /**
   * The last line of it, after everything else is done.
   *
   * @returns the id by which it can be gone on with, if it can
   */
  end({ outcome, exit, path, sha256, kept, as }: Ending): string | undefined {
    this.#live.delete(this.key);
    try {
      const row = this.row();
      const error = wordOf(outcome);
      const goesOn = canGoOn(row) && mayGoOn(outcome);
      // Where nothing is kept nothing is left.
      const there = outcome.kind === 'landed' || outcome.kind === 'partly';
      const last = () => {
        if (!goesOn && !there && row.direction === 'receive') this.restart();
        if (path !== undefined) this.note({ path });
        if (sha256 !== undefined) this.note({ sha256: sha256.toString('hex') });
        // A receipt, or the file in its place, is for all of it; a word without a receipt is no proof.
        const proven = there || outcome.kind === 'verified';
        if (proven && as !== 'range') this.#writer.prove(0, row.size ?? 0);
      };
      const end = {
        ...{ state: stateOf(outcome, goesOn), exit, status: statusOf(outcome) },
        ...(kept !== undefined && { kept }),
        ...(error !== undefined && { error }),
      };
      this.#writer.end(end, last);
      return goesOn ? row.id : undefined;
    } catch (error) {
      // Another process has the row: what it says is right, and this end is not its end.
      if (asError(error) instanceof JetError) return undefined;
      throw error;
    } finally {
      this.#writer.release();
      this.#release();
    }
  }

  /** It has not even begun: gives the row up and leaves it as it was. */
  release(): void {
    this.#live.delete(this.key);
    this.#writer.release();
    this.#release();
  }
}

function stepOf(size: number): number {
  return Math.min(MOST, Math.max(LEAST, Math.ceil(size / PARTS)));
}

function stateOf(outcome: Outcome, goesOn: boolean): EndState {
  switch (outcome.kind) {
    case 'landed':
    case 'partly':
    case 'verified':
    case 'delivered':
      return 'done';
    case 'declined':
      return 'declined';
    case 'cancelled':
      return 'cancelled';
    case 'failed':
      return goesOn ? 'interrupted' : 'failed';
  }
}

function superseded(): JetError {
  const message = 'the other side goes on with it in a new session';
  return new JetError(Exit.transport, 'superseded', message);
}
