/** What was tried: the results of `npm run bench -- compare`, which measures two checkouts run by run. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './program.ts';
import type { Check, Figure } from './results.ts';
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
  /** A target that the ratio should reach, and what stands in its way. */
  readonly least?: number;
  readonly bound?: string;
}

/** All that was tried so far. */
export function readTried(): Tried[] {
  return existsSync(TRIED) ? (JSON.parse(readFileSync(TRIED, 'utf8')) as Tried[]) : [];
}

/** What of it stands among the targets. */
export function triedChecks(): Check[] {
  return readTried().flatMap(({ title, what, ratio, least, bound }) => {
    if (least === undefined) return [];
    const check = {
      title,
      figure: ratio,
      unit: '×',
      target: { at: 'least', value: least },
    } as const;
    return [{ ...check, note: `${what}, the two in turns`, ...(bound !== undefined && { bound }) }];
  });
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
