/** What a line about a running transfer says. Pure: time comes in with the events. */
import type { Route } from '../jingle/transport.ts';
import { escapeText } from './escape.ts';
import { formatDuration, formatRate, formatSize } from './format.ts';

/** A running transfer as it is shown. */
export interface Progress {
  readonly file: string;
  readonly size: number;
  readonly route: Route;
  readonly bytes: number;
  /** Bytes a second, smoothed. */
  readonly rate: number;
  /** Milliseconds of the last sample. */
  readonly time: number;
  /** What it waits for after the last byte. */
  readonly finishing?: string;
}

/** Takes a sample; the rate follows with a half-life of about two seconds. */
export function advance(progress: Progress, bytes: number, time: number): Progress {
  const seconds = (time - progress.time) / 1000;
  if (seconds <= 0) return { ...progress, bytes };
  const now = Math.max(0, bytes - progress.bytes) / seconds;
  const weight = progress.rate === 0 ? 1 : 1 - 0.5 ** (seconds / 2);
  return { ...progress, bytes, time, rate: progress.rate + (now - progress.rate) * weight };
}

/** `direct 192.0.2.7`, `proxy proxy.example.org`, `ibb`. */
export function routeText(route: Route): string {
  return escapeText(route.kind === 'ibb' ? 'ibb' : `${route.kind} ${route.via}`);
}

/** The line with its bar, no wider than the columns. */
export function progressLine(progress: Progress, columns: number): string {
  const { bytes, size, rate, finishing } = progress;
  const share = size === 0 ? 1 : Math.min(1, bytes / size);
  const tail =
    finishing !== undefined
      ? `waiting for ${escapeText(finishing)}`
      : `${formatSize(bytes)} of ${formatSize(size)}  ${formatRate(rate)}  ${formatDuration((size - bytes) / rate)} left`;
  const facts = `${String(Math.floor(share * 100)).padStart(3)}%  ${tail}  ${routeText(progress.route)}`;
  const name = shorten(escapeText(progress.file), Math.max(8, Math.floor(columns / 4)));
  const width = Math.min(30, columns - name.length - facts.length - 5);
  if (width < 4)
    return Array.from(`${name} ${facts}`)
      .slice(0, Math.max(1, columns - 1))
      .join('');
  const filled = Math.floor(share * width);
  return `${name} [${'#'.repeat(filled)}${'-'.repeat(width - filled)}] ${facts}`;
}

function shorten(text: string, width: number): string {
  const characters = Array.from(text);
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join('')}…`;
}
