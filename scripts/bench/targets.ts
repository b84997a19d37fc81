/** The targets of the data phase, from the rounds. */
import { cpus } from 'node:os';
import { boundBeside, boundOfFlatness, boundOfProxy, boundOfRate, type Times } from './bounds.ts';
import {
  figure,
  rateOf,
  ratio,
  dataTimes,
  type Check,
  type Limit,
  type Series,
} from './results.ts';
import { SMALL, sizeName } from './tables.ts';

/** MB/s of the data phase on a machine that can. */
const AIM = 600;
/** Files from this size on are held against the others, in bytes. */
const LARGE = 1e9;
/** From this size on, in bytes, the rate should be the same. */
const FLAT_FROM = 1e6;

/** What the series say about the targets; nothing where nothing was measured. */
export function targets(series: readonly Series[], limits: readonly Limit[]): Check[] {
  const plain = series.filter(({ rtt }) => rtt === 0);
  const sizes = plain.map(({ bytes }) => bytes);
  const main = sizes.includes(LARGE) ? LARGE : Math.max(0, ...sizes);
  if (main <= SMALL) return [];
  const at = (name: string, bytes: number) =>
    plain.find((one) => one.contestant === name && one.bytes === bytes);
  const rates = (name: string, bytes: number) => {
    const of = at(name, bytes);
    return of && dataTimes(of, at(name, SMALL)).map((ms) => rateOf(bytes, ms));
  };
  const checks: Check[] = [];
  const jet = rates('jet', main);
  const own = at('jet', main);
  if (jet === undefined || own === undefined) return [];
  const ground = { cores: cpus().length, limits, jet: own, small: at('jet', SMALL) };
  const reference = figure(rates('reference', main) ?? []).median;
  checks.push({
    title: `The data phase of ${sizeName(main)}`,
    figure: figure(jet),
    unit: 'MB/s',
    ...(reference >= AIM && { target: { at: 'least', value: AIM } }),
    note: `${AIM} MB/s are asked for where the reference reaches them: here it reaches ${reference.toFixed(0)}`,
    bound: boundOfRate(ground),
    measure: 'data',
  });
  checks.push(...flatness(plain));
  for (const [name, value] of [
    ['reference', 0.9],
    ['scp', 1.5],
    ['wormhole', 4],
    ['libervia', 2],
  ] as const) {
    const other = rates(name, main);
    const beside = at(name, main);
    if (other !== undefined && other.length > 0 && beside !== undefined)
      checks.push({
        title: `jet : ${beside.title}`,
        figure: ratio(jet, other),
        unit: '×',
        target: { at: 'least', value },
        note: `data phase, ${sizeName(main)}, run beside run`,
        bound: boundBeside(
          ground,
          beside,
          at(name, SMALL),
          ratio(rates('reference', main) ?? [], other),
        ),
        measure: 'data',
      });
  }
  const proxied = plain.filter(({ contestant }) => contestant === 'jet-proxy').at(-1);
  const relay = limits.find(({ name }) => name === 'proxy');
  if (proxied !== undefined && relay !== undefined)
    checks.push({
      title: 'jet by proxy65 : TCP through the same proxy65',
      figure: figure(
        dataTimes(proxied, undefined).map((ms) => rateOf(proxied.bytes, ms) / relay.rate.median),
      ),
      unit: '×',
      target: { at: 'least', value: 0.8 },
      note: `data phase, ${sizeName(proxied.bytes)}`,
      bound: boundOfProxy(ground, proxied, at('jet-proxy', SMALL)),
      measure: 'data',
    });
  const peaks = plain.filter(({ contestant }) => contestant === 'jet');
  for (const role of ['sender', 'receiver'] as const)
    checks.push({
      title: `Peak memory of the ${role}, any size`,
      figure: figure(
        peaks.map(({ runs }) =>
          Math.max(
            ...runs.map((run) => (run.roles.find((one) => one.role === role)?.peak ?? NaN) / 1e6),
          ),
        ),
      ),
      unit: 'MB',
      target: { at: 'most', value: 120 },
      note: 'the largest of the runs of each size',
    });
  const gigabytes = main / 1e9;
  for (const role of ['sender', 'receiver'] as const)
    checks.push({
      title: `CPU time of the ${role}`,
      figure: figure(
        own.runs.map((run) => (run.roles.find((one) => one.role === role)?.cpu ?? NaN) / gigabytes),
      ),
      unit: 's/GB',
      note: `${sizeName(main)}, the whole process`,
    });
  return checks;
}

/** Whether the rate is the same at every size. */
function flatness(plain: readonly Series[]): Check[] {
  const timesOf = (name: string): Times[] =>
    plain
      .filter(({ contestant, bytes }) => contestant === name && bytes >= FLAT_FROM)
      .map((one) => ({ bytes: one.bytes, ms: figure(dataTimes(one, undefined)).median }));
  const own = timesOf('jet');
  const rates = own.map(({ bytes, ms }) => rateOf(bytes, ms));
  if (rates.length < 2) return [];
  const [slowest, fastest] = [Math.min(...rates), Math.max(...rates)];
  const named = own.map(({ bytes }, i) => `${sizeName(bytes)} ${(rates[i] ?? NaN).toFixed(0)}`);
  return [
    {
      title: `The slowest size from ${sizeName(FLAT_FROM)} on : the fastest`,
      figure: figure([slowest / fastest]),
      unit: '×',
      target: { at: 'least', value: 0.9 },
      note: `data phase, medians, MB/s: ${named.join(', ')}`,
      bound: boundOfFlatness(own, timesOf('reference')),
      measure: 'data',
    },
  ];
}
