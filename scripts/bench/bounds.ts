/** What stands in the way of a target of the data phase, in figures of the same run. */
import { figure, rateOf, type Figure, type Limit, type Series } from './results.ts';
import { sizeName } from './tables.ts';

/** The run that the figures are of. */
export interface Ground {
  readonly cores: number;
  readonly limits: readonly Limit[];
  /** jet at the size that is looked at, and with the smallest file. */
  readonly jet: Series;
  readonly small: Series | undefined;
}

/** Seconds of CPU that both sides of a run take together. */
export function cpuOf({ runs }: Series): number {
  return figure(runs.map(({ roles }) => roles.reduce((sum, { cpu }) => sum + cpu, 0))).median;
}

/** Seconds of CPU a GB, without what a file of 1 KiB takes, too. */
function cpuPerGigabyte(series: Series, small: Series | undefined): number {
  const start = small === undefined ? 0 : cpuOf(small);
  return ((cpuOf(series) - start) * 1e9) / series.bytes;
}

const limitOf = (limits: readonly Limit[], name: string) =>
  limits.find((limit) => limit.name === name)?.rate.median;

/** MB/s beyond which all cores would be busy. */
function atMost(cores: number, secondsPerGigabyte: number): string {
  return ((cores * 1000) / secondsPerGigabyte).toFixed(0);
}

/** Seconds of AES-128-GCM and SHA-256 that both sides together need for a GB. */
function cryptoOf(limits: readonly Limit[]): number | undefined {
  const [gcm, sha] = [limitOf(limits, 'gcm'), limitOf(limits, 'sha256')];
  return gcm && sha ? 2 * (1000 / gcm + 1000 / sha) : undefined;
}

/** Of the rate alone. */
export function boundOfRate({ cores, limits, jet, small }: Ground): string {
  const cpu = cpuPerGigabyte(jet, small);
  const disk = limitOf(limits, 'disk');
  const least = cryptoOf(limits);
  return [
    `Both sides share ${cores} cores and need ${cpu.toFixed(2)} s of CPU for a GB: no more than ${atMost(cores, cpu)} MB/s where neither ever waits.`,
    ...(least === undefined
      ? []
      : [
          `${least.toFixed(2)} s of them are AES-128-GCM and SHA-256 on both sides, the rest is mostly the kernel's: socket, page cache and disk.`,
        ]),
    ...(disk === undefined
      ? []
      : [
          `The file is durable before it counts; writing alone reaches ${disk.toFixed(0)} MB/s here.`,
        ]),
  ].join(' ');
}

/** The median of the data phase at a size. */
export interface Times {
  readonly bytes: number;
  readonly ms: number;
}

/** Of what each file takes beside its bytes: milliseconds at the smallest size over the rate of the largest. */
function fixedOf(times: readonly Times[]): number | undefined {
  const [first, last] = [times[0], times.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  return first.ms - (first.bytes * last.ms) / last.bytes;
}

/**
 * Of a rate that is not the same at every size.
 *
 * @param own - the sizes ascending, as of the reference
 */
export function boundOfFlatness(own: readonly Times[], reference: readonly Times[]): string {
  const [fixed = NaN, theirs] = [fixedOf(own), fixedOf(reference)];
  const [first] = own;
  if (first === undefined) return '';
  const warm = own.map(
    ({ bytes, ms }) => `${sizeName(bytes)} ${rateOf(bytes, ms - fixed).toFixed(0)}`,
  );
  return [
    `A file takes ${fixed.toFixed(0)} ms beside its bytes: the sender opens it after the receiver is ready, code runs for the first time and memory is touched for the first time, and at the end the file is made durable, gets its name, and so do folder and journal.`,
    ...(theirs === undefined
      ? []
      : [
          `The reference pipeline takes ${theirs.toFixed(0)} ms so, without a journal and without a sync of the folder.`,
        ]),
    `Without them, in MB/s: ${warm.slice(1).join(', ')}; all the bytes of ${sizeName(first.bytes)} take ${(first.ms - fixed).toFixed(1)} ms.`,
  ].join(' ');
}

/**
 * Beside another.
 *
 * @param other - at the same size
 * @param start - the other with the smallest file
 * @param reference - how the reference stands to it
 */
export function boundBeside(
  { cores, limits, jet, small }: Ground,
  other: Series,
  start: Series | undefined,
  reference: Figure,
): string {
  const mine = cpuPerGigabyte(jet, small);
  const theirs = cpuPerGigabyte(other, start);
  const cpu = `jet needs ${mine.toFixed(2)} s of CPU for a GB, ${other.title} ${theirs.toFixed(2)} s, the starts not counted.`;
  if (other.contestant === 'reference') return cpu;
  const least = cryptoOf(limits);
  const most =
    least === undefined
      ? ''
      : ` AES-128-GCM and SHA-256 on both sides alone take ${least.toFixed(2)} s: with nothing else at all, no more than ${atMost(cores, least)} MB/s on ${cores} cores.`;
  return `${cpu}${most} The reference pipeline, which does nothing but this, reaches ${reference.median.toFixed(2)} ×. ${other.title} is done when its last byte is in the page cache; jet waits until the file is durable.`;
}

/** By the proxy. */
export function boundOfProxy(
  { cores, limits }: Ground,
  proxied: Series,
  small: Series | undefined,
): string {
  const relay = limitOf(limits, 'proxy') ?? NaN;
  const cpu = cpuPerGigabyte(proxied, small) + 1000 / relay;
  return `The proxy is one thread that is busy all the time (${(1000 / relay).toFixed(1)} s for a GB when it is alone with a source and a sink that do nothing else). It shares ${cores} cores with both sides: no more than ${atMost(cores, cpu)} MB/s where nobody ever waits, and every time that it has to wait for a core is lost.`;
}
