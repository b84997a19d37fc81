/** What stands in the way of a target of the data phase, in figures of the same run. */
import { figure, type Figure, type Limit, type Series } from './results.ts';

/** The run that the figures are of. */
export interface Ground {
  readonly cores: number;
  readonly limits: readonly Limit[];
  /** jet at the size that is looked at, and with the smallest file. */
  readonly jet: Series;
  readonly small: Series | undefined;
}

/** Seconds of CPU that both sides of a run take together. */
function cpuOf({ runs }: Series): number {
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

/** Of the rate alone. */
export function boundOfRate({ cores, limits, jet, small }: Ground): string {
  const cpu = cpuPerGigabyte(jet, small);
  const disk = limitOf(limits, 'disk');
  const gcm = limitOf(limits, 'gcm');
  const sha = limitOf(limits, 'sha256');
  const least = gcm && sha ? 2 * (1000 / gcm + 1000 / sha) : undefined;
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

/**
 * Beside another.
 *
 * @param other - at the same size
 * @param start - the other with the smallest file
 * @param reference - how the reference stands to it
 */
export function boundBeside(
  { jet, small }: Ground,
  other: Series,
  start: Series | undefined,
  reference: Figure,
): string {
  const mine = cpuPerGigabyte(jet, small);
  const theirs = cpuPerGigabyte(other, start);
  const cpu = `jet needs ${mine.toFixed(2)} s of CPU for a GB, ${other.title} ${theirs.toFixed(2)} s, the starts not counted.`;
  if (other.contestant === 'reference') return cpu;
  return `${cpu} The reference pipeline, which does nothing but this, reaches ${reference.median.toFixed(2)} ×. ${other.title} is done when its last byte is in the page cache; jet waits until the file is durable.`;
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
