/** docs/benchmarks.md and its plots, drawn from what a run has left. The page belongs to this script. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { format } from 'prettier';
import { pictures } from './pictures.ts';
import { ROOT } from './program.ts';
import type { Results } from './results.ts';
import { bounded, checkTable, limitTable, processTable, rateTable, ratioTable } from './tables.ts';
import { triedFor, triedSection } from './tried.ts';

const FOLDER = join(ROOT, 'docs/benchmarks');
const RESULTS = join(FOLDER, 'results.json');

/** Keeps what a run has measured. */
export async function saveResults(results: Results): Promise<void> {
  await mkdir(FOLDER, { recursive: true });
  await writeFile(RESULTS, await format(JSON.stringify(results), { ...style(), parser: 'json' }));
}

/** How the project formats its files. */
export function style(): object {
  return JSON.parse(readFileSync(join(ROOT, 'scripts/config/prettier.json'), 'utf8')) as object;
}

/** Draws the page and the plots from the last results. */
export async function writePage(): Promise<void> {
  if (!existsSync(RESULTS)) throw new Error('there are no results yet: npm run bench');
  const results = JSON.parse(readFileSync(RESULTS, 'utf8')) as Results;
  const drawn = pictures(results);
  for (const { name, svg } of drawn) await writeFile(join(FOLDER, `${name}.svg`), svg);
  const text = await format(page(results, drawn), { ...style(), parser: 'markdown' });
  await writeFile(join(ROOT, 'docs/benchmarks.md'), text);
}

/** The page, as Markdown that is still to be formatted. */
export function page(
  results: Results,
  drawn: readonly { readonly name: string; readonly title: string }[],
): string {
  const { machine, date, load, limits, quick, missing, checks } = results;
  const picture = (name: string) => {
    const one = drawn.find((other) => other.name === name);
    return one === undefined ? '' : `![${one.title}](benchmarks/${name}.svg)`;
  };
  return `# Benchmarks

Written by \`npm run bench\`; nothing here is typed by hand. \`npm run bench -- quick\` does less of it in under three
minutes, \`npm run bench -- profile\` says where the time goes. Everything runs on one machine over loopback. The
contestants take turns, run by run, there and back, and each result is compared with the source byte by byte. MB are 10⁶ bytes.
Each figure is the median; in brackets stand the lowest and the highest.${quick ? ' **This page is of a quick run.**' : ''}

The *data phase* is from the first byte to the file in its place, by the clock of the receiver (jet and the
reference), or the whole time less that of a file of 1 KiB (the others). The *whole* is from the start of the sender to
the end of both sides; the receiver waits already.

## The machine

${machine.map(([what, value]) => `- ${what}: ${value}`).join('\n')}
- Date: ${date}; load before and after: ${load.map((value) => value.toFixed(1)).join(', ')}

${limitTable(limits)}

## Files beside others

${picture('rate')}

${rateTable(results)}

### As ratios, run beside run

${ratioTable(results)}

### Memory and processor

${picture('memory')}

${processTable(results)}

## With a delay

${picture('delay')}

The delay is added by a relay of ours between the ends: TCP ends on both sides of it and at most 6 MB are on their
way, so what shows is what the protocols wait for, not how TCP finds its rate.

${rateTable(results, true)}

## Before the first byte

${picture('start')}

${tripList(results)}

## Targets

${checkTable(checks)}

${boundSection(results)}
${triedSection()}
${missing.length === 0 ? '' : `\n## Not measured\n\n${missing.map((line) => `- ${line}`).join('\n')}\n`}`;
}

function boundSection({ checks }: Results): string {
  const missed = bounded(checks);
  if (missed.length === 0) return '';
  const list = missed.map(({ title, bound = '' }) => `- **${title}.** ${bound}`);
  const measures = new Set(missed.flatMap(({ measure }) => measure ?? []));
  const tried = [...measures].map(triedFor).filter((text) => text !== '');
  return `### What stands in the way\n\n${list.join('\n')}\n\n${tried.join('\n\n')}\n`;
}

function tripList({ trips }: Results): string {
  if (trips.length === 0) return '';
  const lines = trips.map(
    ({ at, asks }, i) => `${i + 1}. (${at.toFixed(0)} ms) ${asks.join('; ')}`,
  );
  return `The sender's round trips at 100 ms each way, from its start to the first byte:\n\n${lines.join('\n')}`;
}
