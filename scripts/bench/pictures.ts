/** Which plots there are, and what is in them. */
import { draw, type Line } from './plots.ts';
import { figure, type Results, type Series } from './results.ts';
import { dataRates, SMALL } from './tables.ts';

/** A plot that was drawn. */
export interface Picture {
  readonly name: string;
  readonly title: string;
  readonly svg: string;
}

/** Draws all plots that the results have something for. */
export function pictures(results: Results): Picture[] {
  const plain = results.series.filter(({ rtt, bytes }) => rtt === 0 && bytes > SMALL);
  const large = Math.max(0, ...results.series.filter(({ rtt }) => rtt > 0).map((s) => s.bytes));
  const delayed = results.series.filter(
    ({ bytes, rtt, contestant }) =>
      bytes === large &&
      (rtt > 0 || results.series.some((s) => s.contestant === contestant && s.rtt > 0)),
  );
  const small = results.series.filter(({ bytes }) => bytes === SMALL);
  const rate = (series: Series) => figure(dataRates(results, series)).median;
  const all: Picture[] = [];
  const add = (name: string, plot: Parameters<typeof draw>[0]) => {
    if (plot.lines.length > 0) all.push({ name, title: plot.title, svg: draw(plot) });
  };
  add('rate', {
    title: 'Rate of the data phase against the size of the file',
    x: { title: 'bytes', log: true },
    y: { title: 'MB/s', log: true },
    lines: lines(plain, ({ bytes }) => bytes, rate),
    limits: results.limits.map(({ title, rate: { median } }) => ({ name: title, value: median })),
  });
  add('memory', {
    title: 'Peak memory of the hungrier side against the size of the file',
    x: { title: 'bytes', log: true },
    y: { title: 'MB', log: false },
    lines: lines(
      plain,
      ({ bytes }) => bytes,
      ({ runs }) =>
        figure(runs.map(({ roles }) => Math.max(...roles.map((r) => r.peak)) / 1e6)).median,
    ),
  });
  add('delay', {
    title: 'Rate of the data phase against the round-trip time',
    x: { title: 'round trip, ms', log: false },
    y: { title: 'MB/s', log: true },
    lines: lines(delayed, ({ rtt }) => rtt, rate),
  });
  add('start', {
    title: 'A file of 1 KiB, from the start of the sender to the end, against the round-trip time',
    x: { title: 'round trip, ms', log: false },
    y: { title: 'ms', log: true },
    lines: lines(
      small,
      ({ rtt }) => rtt,
      ({ runs }) => figure(runs.map(({ wall }) => wall)).median,
    ),
  });
  return all;
}

/** One line a contestant. */
function lines(
  series: readonly Series[],
  x: (of: Series) => number,
  y: (of: Series) => number,
): Line[] {
  const byName = new Map<string, [number, number][]>();
  for (const one of series) {
    const points = byName.get(one.title) ?? [];
    points.push([x(one), Number(y(one).toPrecision(4))]);
    byName.set(one.title, points);
  }
  return [...byName].map(([name, points]) => ({
    name,
    points: points.sort((a, b) => a[0] - b[0]),
  }));
}
