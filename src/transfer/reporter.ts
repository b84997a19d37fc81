/** Turns one transfer's course into events, few enough to show. */
import type { Clock } from '../core/clock.ts';
import { Exit, type ExitStatus, type JetError } from '../core/errors.ts';
import type { Route } from '../jingle/transport.ts';
import type { Direction, TransferEvent } from './events.ts';
import type { Outcome } from './machine.ts';
import { missingBeside, type MissingPaths } from './tree/missing.ts';
import { errorOf, statusOf } from './outcome.ts';
import type { LandedAs } from './sealed.ts';

/** Milliseconds between two progress events. */
const EVERY_MS = 100;

/** The file and the peer that events are about. */
export interface Reported {
  readonly id: string;
  readonly direction: Direction;
  readonly peer: string;
  readonly file: string;
  readonly size: number;
  /** Of the whole, where only a part of `size` bytes is meant. */
  readonly partOf?: { readonly offset: number; readonly size: number };
}

type Unstamped<T> = T extends unknown ? Omit<T, 'id' | 'time'> : never;

/** The events of one transfer. */
export class Reporter {
  #about: Reported;
  readonly #clock: Clock;
  readonly #on: (event: TransferEvent) => void;
  #bytes = 0;
  #lastShown = -EVERY_MS;
  #began: number | undefined;
  #ended: number | undefined;
  #files: readonly string[] | undefined;
  #missing: MissingPaths | undefined;
  #unread: ReadonlySet<string> = new Set();

  constructor(about: Reported, clock: Clock, on: (event: TransferEvent) => void) {
    this.#about = about;
    this.#clock = clock;
    this.#on = on;
  }

  /** Bytes of the last `progress`. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The peer has named what was asked for. */
  names(what: Pick<Reported, 'file' | 'size' | 'partOf'>): void {
    this.#about = { ...this.#about, ...what };
  }

  offer(fingerprint: string): void {
    const { direction, peer, file, size } = this.#about;
    this.#emit({ event: 'offer', direction, peer, file, size, fingerprint });
  }

  waiting(what: string): void {
    this.#emit({ event: 'waiting', what, peer: this.#about.peer });
  }

  /**
   * The first stream of it begins; what follows belongs to it.
   *
   * @param from - where the stream begins in the file, in bytes
   */
  start(route: Route, from = 0): void {
    if (this.#began !== undefined) return;
    this.#began = this.#clock.monotonic();
    const { direction, peer, file, size } = this.#about;
    this.#emit({ event: 'start', direction, peer, file, size, route, resumed_from: from });
  }

  /** All of it comes again. */
  restart(): void {
    this.#bytes = 0;
    this.#began = undefined;
  }

  /** @param bytes - of the file; what comes again is none */
  progress(bytes: number): void {
    if (bytes < this.#bytes) return;
    this.#bytes = bytes;
    const now = this.#clock.monotonic();
    if (now - this.#lastShown < EVERY_MS && bytes < this.#about.size) return;
    this.#lastShown = now;
    this.#emit({ event: 'progress', bytes, size: this.#about.size });
  }

  finishing(what: string): void {
    this.#ended = this.#clock.monotonic();
    this.#emit({ event: 'finishing', what });
  }

  /**
   * The file is in its place.
   *
   * @param files - of a batch: the paths of all
   */
  landed(files?: readonly string[]): void {
    this.#files = files;
    this.#emit({ event: 'finishing', what: `${this.#about.peer} to hear of it` });
  }

  /**
   * Of a folder, or a batch, some has not landed.
   *
   * @param unread - which of the files could not be read here, and are told of elsewhere
   */
  lacks(missing: MissingPaths, unread: ReadonlySet<string> = new Set()): void {
    this.#missing = missing;
    this.#unread = unread;
  }

  /** The exit status that an end means. */
  exitOf(outcome: Outcome): ExitStatus {
    return this.#errorOf(outcome)?.exit ?? (outcome.kind === 'partly' ? Exit.partial : Exit.done);
  }

  /** The end. */
  end(
    outcome: Outcome,
    landed: string | undefined,
    sha256: string | undefined,
    as: LandedAs = 'file',
  ): void {
    const { direction, peer, file, partOf } = this.#about;
    const error = this.#errorOf(outcome);
    const exit = this.exitOf(outcome);
    const ended = this.#ended ?? this.#clock.monotonic();
    this.#emit({
      event: 'end',
      direction,
      status: statusOf(outcome),
      peer,
      file: landed ?? file,
      ...(this.#files && { files: this.#files }),
      bytes: this.#bytes,
      ...(partOf && { part_of: partOf }),
      ...((as === 'range' || as === 'stdout') && error === undefined && { as }),
      ...(outcome.kind === 'partly' && this.#missing && { missing: this.#missing }),
      ...(sha256 !== undefined && exit === Exit.done && { sha256 }),
      elapsed: Math.max(0, Math.round(ended - (this.#began ?? ended))),
      exit,
    });
    if (error !== undefined) this.error(error);
  }

  /** It was interrupted, and can be gone on with. */
  interrupted(id: string): void {
    const { direction, file } = this.#about;
    const kept = direction === 'receive' ? ': what has come is kept' : '';
    const message = `${file} was interrupted${kept}. Go on with jet resume ${id.slice(0, 8)}.`;
    this.#emit({ event: 'notice', code: 'resumable', message });
  }

  error(error: JetError): void {
    const { code, message, exit } = error;
    this.#emit({ event: 'error', code, message, exit });
  }

  #errorOf(outcome: Outcome): JetError | undefined {
    const { direction, peer, file } = this.#about;
    const missing = this.#missing && missingBeside(this.#missing, this.#unread);
    return errorOf(outcome, {
      peer,
      file,
      sends: direction === 'send',
      ...(missing && { missing }),
    });
  }

  #emit(event: Unstamped<TransferEvent>): void {
    this.#on({ ...event, id: this.#about.id, time: this.#clock.now() });
  }
}
