/** What was tried: the results of `npm run bench -- compare`, which measures two checkouts run by run. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './program.ts';
import type { Figure, Measure } from './results.ts';
import { shown, table } from './tables.ts';

/** Where they are kept. */
export const TRIED = join(ROOT, 'docs/benchmarks/tried.json');

/** One change, before and after. */
export interface Tried {
  readonly title: string;
  /** What was measured, with its unit. */
  readonly what: string;
  readonly before: Figure;
  readonly after: Figure;
  /** After : before, run beside run. */
  readonly ratio: Figure;
  readonly kept: boolean;
  readonly measure: Measure;
}

const OF: Readonly<Record<Measure, string>> = {
  data: 'the data phase',
  small: 'the time before the first byte',
  peak: 'the memory',
  version: 'the start',
  fetches: 'many fetches at once',
};

/** All that was tried so far. */
export function readTried(): Tried[] {
  return existsSync(TRIED) ? (JSON.parse(readFileSync(TRIED, 'utf8')) as Tried[]) : [];
}

/** What was tried for the targets of a measure, in one sentence; empty where nothing was. */
export function triedFor(measure: Measure): string {
  const tried = readTried().filter((one) => one.measure === measure);
  const words = tried.map(({ title, ratio }) => `${title} (${ratio.median.toFixed(2)} ×)`);
  return words.length === 0 ? '' : `Tried for ${OF[measure]}: ${words.join('; ')}.`;
}

/** The section of the page; empty when nothing was tried. */
export function triedSection(): string {
  const tried = readTried();
  if (tried.length === 0) return '';
  const rows = tried.map(({ title, what, before, after, ratio, kept }) => [
    ...[title, what, kept ? 'kept' : 'not kept'],
    ...[shown(before), shown(after), shown(ratio, 2)],
  ]);
  const head = ['Change', 'Measure', '', 'Before', 'After', 'After : before'];
  return `## What was tried

Each change against the sources before it, the two in turns (\`npm run bench -- compare\`).

${table(head, rows, 3)}
`;
}
