/** What `npm run bench` is asked for. */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';

/** Kinds of measures that can be left out. */
export const PARTS = ['rate', 'delay', 'telling', 'start', 'many', 'scale'] as const;
export type Part = (typeof PARTS)[number];

/** How a run is made. */
export interface Options {
  readonly quick: boolean;
  readonly parts: ReadonlySet<Part>;
  /** Bytes of the files of the rate table, ascending; the last one is the main one. */
  readonly sizes: readonly number[];
  /** Runs of each contestant at the main size. */
  readonly runs: number;
  /** Round-trip times in milliseconds. */
  readonly delays: readonly number[];
  /** Bytes a second that the relay lets through; undefined: as many as it can. */
  readonly rate: number | undefined;
  /** Where files are made and land. */
  readonly folder: string | undefined;
  /** Names of contestants; empty: all that are there. */
  readonly only: readonly string[];
  /** Whether docs/ is written. */
  readonly write: boolean;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, M: 1e6, G: 1e9 };

/** Bytes of `10M`, `1G`, `1000`. @throws Error */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([kMG]?)$/.exec(text);
  const unit = UNITS[match?.[2] ?? ''];
  if (match === null || unit === undefined) throw new Error(`not a size: ${text}`);
  return Math.round(Number(match[1]) * unit);
}

/** Reads the command line. @throws Error */
export function readOptions(args: readonly string[]): {
  readonly task: string;
  readonly words: readonly string[];
  readonly options: Options;
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
} {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      sizes: { type: 'string' },
      runs: { type: 'string' },
      delays: { type: 'string' },
      rate: { type: 'string' },
      folder: { type: 'string' },
      only: { type: 'string' },
      parts: { type: 'string' },
      'no-docs': { type: 'boolean', default: false },
      before: { type: 'string' },
      after: { type: 'string' },
      title: { type: 'string' },
      what: { type: 'string' },
      measure: { type: 'string' },
    },
  });
  const [task = 'full', ...words] = positionals;
  const quick = task === 'quick';
  const list = (text: string | undefined) => text?.split(',').filter((word) => word !== '');
  const sizes = list(values.sizes)?.map(parseSize);
  const parts = list(values.parts) ?? [...PARTS];
  for (const part of parts)
    if (!PARTS.some((known) => known === part)) throw new Error(`no such part: ${part}`);
  return {
    task,
    words,
    flags: values,
    options: {
      quick,
      parts: new Set(PARTS.filter((part) => parts.includes(part))),
      sizes: (sizes ?? (quick ? [1e6, 1e8] : [1e6, 1e7, 1e8, 1e9, 1e10])).sort((a, b) => a - b),
      runs: Number(values.runs ?? (quick ? 2 : 5)),
      delays: (list(values.delays) ?? (quick ? ['0', '100'] : ['0', '20', '50', '100', '200'])).map(
        Number,
      ),
      rate: values.rate === undefined ? undefined : parseSize(values.rate),
      folder: values.folder,
      only: list(values.only) ?? [],
      write: !values['no-docs'],
    },
  };
}

/** One line about the machine. */
export function cpuName(): string {
  return `${cpus().length} × ${(cpus()[0]?.model ?? 'unknown').trim()}`;
}
