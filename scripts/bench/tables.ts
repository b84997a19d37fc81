/** The tables of docs/benchmarks.md. */
import {
  dataTimes,
  figure,
  rateOf,
  ratio,
  type Check,
  type Figure,
  type Limit,
  type Results,
  type Series,
} from './results.ts';

/** Bytes of the file that only its overhead is measured with. */
export const SMALL = 1024;

/** A figure with its spread. */
export function shown({ median, low, high, runs }: Figure, digits?: number): string {
  if (!Number.isFinite(median)) return '–';
  const places = digits ?? (median >= 100 ? 0 : median >= 10 ? 1 : 2);
  const spread = runs > 1 ? ` (${low.toFixed(places)}–${high.toFixed(places)})` : '';
  return `${median.toFixed(places)}${spread}`;
}

/** Bytes as people write them. */
export function sizeName(bytes: number): string {
  if (bytes === SMALL) return '1 KiB';
  if (bytes >= 1e9) return `${bytes / 1e9} GB`;
  return bytes >= 1e6 ? `${bytes / 1e6} MB` : `${bytes / 1e3} kB`;
}

/** A Markdown table, the columns after the first `left` ones to the right. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  left = 1,
): string {
  if (rows.length === 0) return '';
  const rule = head.map((_, i) => (i < left ? '---' : '---:'));
  return [head, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** The series of the same contestant and delay with the small file. */
export function smallOf({ series }: Results, of: Series): Series | undefined {
  return series.find(
    ({ contestant, bytes, rtt }) =>
      contestant === of.contestant && bytes === SMALL && rtt === of.rtt,
  );
}

/** MB/s while bytes flow, of each run. */
export function dataRates(results: Results, of: Series): number[] {
  return dataTimes(of, smallOf(results, of)).map((ms) => rateOf(of.bytes, ms));
}

/** MB/s of the whole, of each run. */
export function wholeRates({ bytes, runs }: Series): number[] {
  return runs.map(({ wall }) => rateOf(bytes, wall));
}

/** The limits of the machine. */
export function limitTable(limits: readonly Limit[]): string {
  return table(
    ['Limit', 'MB/s'],
    limits.map(({ title, rate }) => [title, shown(rate)]),
  );
}

/** Every contestant at every size. */
export function rateTable(results: Results, delayed = false): string {
  const rows = results.series
    .filter(({ rtt }) => rtt > 0 === delayed)
    .map((series) => {
      const { title, bytes, rtt, runs } = series;
      const wall = figure(runs.map((run) => run.wall));
      const small = bytes === SMALL;
      return [
        title,
        ...(delayed ? [`${rtt} ms`] : []),
        sizeName(bytes),
        small ? '' : shown(figure(dataRates(results, series))),
        small ? '' : shown(figure(wholeRates(series))),
        shown({ ...wall, median: wall.median, low: wall.low, high: wall.high }, 0),
      ];
    });
  const head = [...(delayed ? ['Round trip'] : []), 'File', 'Data phase, MB/s', 'Whole, MB/s'];
  return table(['Contestant', ...head, 'Whole, ms'], rows, delayed ? 3 : 2);
}

/** jet against each of the others at the largest common size. */
export function ratioTable(results: Results): string {
  const plain = results.series.filter(({ rtt, bytes }) => rtt === 0 && bytes !== SMALL);
  const rows: string[][] = [];
  for (const name of new Set(plain.map(({ contestant }) => contestant))) {
    if (name === 'jet') continue;
    for (const other of plain.filter(({ contestant }) => contestant === name)) {
      const mine = plain.find((one) => one.contestant === 'jet' && one.bytes === other.bytes);
      if (mine === undefined) continue;
      rows.push([
        `jet : ${other.title}`,
        sizeName(other.bytes),
        shown(ratio(dataRates(results, mine), dataRates(results, other)), 2),
        shown(ratio(wholeRates(mine), wholeRates(other)), 2),
      ]);
    }
  }
  return table(['', 'File', 'Data phase', 'Whole'], rows, 2);
}

/** Peak memory and CPU seconds a GB. */
export function processTable(results: Results): string {
  const rows = results.series
    .filter(({ rtt, bytes }) => rtt === 0 && bytes >= 1e8)
    .map((series) => {
      const of = (role: string, what: 'cpu' | 'peak', scale: number) =>
        figure(
          series.runs.map(
            (run) => (run.roles.find((one) => one.role === role)?.[what] ?? NaN) / scale,
          ),
        );
      const gigabytes = series.bytes / 1e9;
      return [
        series.title,
        sizeName(series.bytes),
        ...['sender', 'receiver'].map((role) => shown(of(role, 'peak', 1e6), 0)),
        ...['sender', 'receiver'].map((role) => shown(of(role, 'cpu', gigabytes), 2)),
      ];
    });
  const head = [
    'sender, peak MB',
    'receiver, peak MB',
    'sender, CPU s a GB',
    'receiver, CPU s a GB',
  ];
  return table(['Contestant', 'File', ...head], rows, 2);
}

/** Whether the median is on the right side of the target; undefined where there is none. */
function meets({ figure: { median }, target }: Check): boolean | undefined {
  if (target === undefined) return undefined;
  return target.at === 'least' ? median >= target.value : median <= target.value;
}

/** Those whose target is missed, or does not hold here, and of which is known what stands in the way. */
export function bounded(checks: readonly Check[]): Check[] {
  return checks.filter((check) => meets(check) !== true && check.bound !== undefined);
}

/** Figures beside their targets; what is missed stands out. */
export function checkTable(checks: readonly Check[]): string {
  const rows = checks.map((check) => {
    const { title, figure: of, unit, target, note } = check;
    const least = target?.at === 'least';
    const met = { true: 'met', false: '**missed**', undefined: '' }[`${meets(check)}`];
    const wanted = target === undefined ? '' : `${least ? '≥' : '≤'} ${target.value} ${unit}`;
    return [title, `${shown(of)} ${unit}`.trim(), wanted.trim(), met, note ?? ''];
  });
  return table(['What', 'Figure', 'Target', '', 'How'], rows, 5);
}
