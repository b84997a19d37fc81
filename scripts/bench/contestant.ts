/** What takes part: one interface for jet, its yardstick and the programs of others. */
import type { Prosody } from '../prosody.ts';
import type { Path } from './path.ts';
import type { Program } from './program.ts';
import type { Run } from './results.ts';

/** What the contestants share. */
export interface Stage {
  readonly server: Prosody;
  /** A folder on the disk that is measured. */
  readonly folder: string;
  readonly program: Program;
}

/** A file that has arrived. */
export interface Arrival {
  readonly run: Run;
  /** Where it lies. */
  readonly landed: string;
}

/** One way for a file to go from one process to another on this machine. */
export interface Contestant {
  readonly name: string;
  readonly title: string;
  /** What a reader must know about its figures. */
  readonly note?: string;
  /** Whether it can be sent through a path with a delay. */
  readonly delayed: boolean;
  /** The largest file that it is worth waiting for, in bytes. */
  readonly most?: number;
  /** Sends a file into an empty folder. @throws Error */
  run(file: string, out: string, path: Path): Promise<Arrival>;
  close(): Promise<void>;
}

/** Makes one; undefined, with the reason, when the machine lacks what it needs. */
export type Entrant = (stage: Stage) => Promise<Contestant | string>;
