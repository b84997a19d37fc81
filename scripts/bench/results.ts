/** What a run leaves: plain data, from which the page and the plots are drawn. */

/** One measured figure of several runs. */
export interface Figure {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly runs: number;
}

/** What one process of a run used. */
export interface Role {
  readonly role: 'sender' | 'receiver' | 'relay';
  /** Seconds of CPU. */
  readonly cpu: number;
  /** Bytes. */
  readonly peak: number;
}

/** One file by one contestant. */
export interface Run {
  /** Milliseconds from the sender's start until both sides have ended. */
  readonly wall: number;
  /** Milliseconds from the first byte until the file is in its place; undefined: not to be seen from outside. */
  readonly data?: number;
  /** Milliseconds from the sender's start to the file's first byte. */
  readonly first?: number;
  readonly roles: readonly Role[];
}

/** One contestant at one size and delay; runs with the same number stood beside one another. */
export interface Series {
  readonly contestant: string;
  readonly title: string;
  readonly note?: string;
  readonly bytes: number;
  /** Milliseconds, both ways together. */
  readonly rtt: number;
  readonly runs: readonly Run[];
}

/** A limit of the machine, in MB/s. */
export interface Limit {
  readonly name: string;
  readonly title: string;
  readonly rate: Figure;
}

/** A figure beside its target. */
export interface Check {
  readonly title: string;
  readonly figure: Figure;
  readonly unit: string;
  /** The bound, and on which side the figure should be. */
  readonly target?: { readonly at: 'least' | 'most'; readonly value: number };
  /** What the figure is made of, in a few words. */
  readonly note?: string;
  /** What stands in the way of the target, in figures of the same run. */
  readonly bound?: string;
  /** What was tried for it is measured so. */
  readonly measure?: Measure;
}

/** What `npm run bench -- compare` measures of two checkouts. */
export type Measure = 'data' | 'small' | 'peak' | 'version' | 'fetches';

/** One round trip before the first byte. */
export interface Trip {
  /** Milliseconds from the start. */
  readonly at: number;
  /** What was asked in it. */
  readonly asks: readonly string[];
}

/** All of a run. */
export interface Results {
  readonly machine: readonly (readonly [string, string])[];
  readonly quick: boolean;
  /** ISO date of the run. */
  readonly date: string;
  /** Load of one minute before and after. */
  readonly load: readonly [number, number];
  readonly limits: readonly Limit[];
  readonly series: readonly Series[];
  readonly checks: readonly Check[];
  readonly trips: readonly Trip[];
  /** What could not be measured, and why. */
  readonly missing: readonly string[];
}

/** Median and extremes. */
export function figure(values: readonly number[]): Figure {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? NaN;
  const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
  return { median, low: sorted[0] ?? NaN, high: sorted.at(-1) ?? NaN, runs: sorted.length };
}

/**
 * Milliseconds that bytes flowed in each run. What shows no start of them: the whole less a small file's; nothing
 * where that is less than the small file's own spread.
 */
export function dataTimes(series: Series, small: Series | undefined): number[] {
  const overhead = figure((small?.runs ?? []).map(({ wall }) => wall));
  const walls = figure(series.runs.map(({ wall }) => wall));
  const lost = walls.median - overhead.median < overhead.high - overhead.low;
  return series.runs.flatMap(({ wall, data }) => {
    if (data !== undefined) return [data];
    return lost ? [] : [Math.max(1, wall - overhead.median)];
  });
}

/** MB/s from bytes and milliseconds. */
export function rateOf(bytes: number, ms: number): number {
  return bytes / 1e3 / ms;
}

/** The quotients of runs that stood beside one another. */
export function ratio(above: readonly number[], below: readonly number[]): Figure {
  return figure(above.map((value, i) => value / (below[i] ?? NaN)).filter(Number.isFinite));
}
