/** The documentation that is written from the code is what the code says now. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { diagram, page } from '../../scripts/diagrams.ts';
import { Exit } from '../../src/core/errors.ts';
import { transitions } from '../../src/transfer/edges.ts';

describe('docs/state-machines.md', () => {
  it('is what `npx tsx scripts/diagrams.ts` writes', async () => {
    const file = new URL('../../docs/state-machines.md', import.meta.url);
    expect(readFileSync(file, 'utf8')).toBe(await page());
  });

  it('joins the events of one arrow', () => {
    const text = diagram([
      { from: 'a b', event: 'one', to: 'c' },
      { from: 'a b', event: 'two: more', to: 'c' },
    ]);
    expect(text).toContain('state "a b" as a_b');
    expect(text).toContain('a_b --> c: one<br/>two, more');
  });
});

describe('docs/exit-codes.md', () => {
  it('has a row for each status that there is, in order, and no other', () => {
    const text = readFileSync(new URL('../../docs/exit-codes.md', import.meta.url), 'utf8');
    const rows = [...text.matchAll(/^\| (\d+) +\|/gm)].map(([, status]) => Number(status));
    expect(rows).toEqual(Object.values(Exit));
  });
});

describe('docs/security.md', () => {
  const page = readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8');
  const table = /\n## Attacks and what stops them\n(.*?)\n## /s.exec(page)?.[1] ?? '';
  const rows = table
    .split('\n')
    .filter((line) => /^\| (?!Attack |---)/.test(line))
    .map((line) =>
      line
        .slice(2, -2)
        .split(' | ')
        .map((cell) => cell.trim()),
    );

  it('has a row for every attack, with the tests of it', () => {
    expect(rows.length).toBeGreaterThan(60);
    for (const row of rows) expect(row, row[0]).toHaveLength(3);
    expect(new Set(rows.map(([attack]) => attack)).size).toBe(rows.length);
  });

  it.each(rows.map(([attack = '', , tests = '']) => [attack, tests] as const))(
    '%s: names tests that there are',
    (_, tests) => {
      const named = [...tests.matchAll(/`([\w/-]+)`: ((?:“[^”]+”(?:; )?)+)/g)];
      expect(named.map(([all]) => all).join('. ')).toBe(tests);
      for (const [, file = '', titles = ''] of named) {
        const source = readFileSync(new URL(`../${file}.test.ts`, import.meta.url), 'utf8');
        for (const [, title = ''] of titles.matchAll(/“([^”]+)”/g))
          // A whole title, not a part of one.
          expect(['"', "'", '`'].some((mark) => source.includes(mark + title + mark))).toBe(true);
      }
    },
  );
});

describe('the edges of a transfer', () => {
  const ends = [
    'delivered',
    'verified',
    'landed',
    'partly',
    'continues',
    'declined',
    'cancelled',
    'failed',
  ];

  it('lead from every state to an end', () => {
    const states = new Set(transitions.flatMap(({ from, to }) => [from, to]));
    const leads = (state: string, seen = new Set<string>()): boolean => {
      if (ends.includes(state)) return true;
      if (seen.has(state)) return false;
      seen.add(state);
      return transitions.some(({ from, to }) => from === state && leads(to, seen));
    };
    expect([...states].filter((state) => !leads(state))).toEqual([]);
  });

  it('leave no end', () => {
    expect(transitions.filter(({ from }) => ends.includes(from))).toEqual([]);
  });

  it('let no sender land and no receiver hear of delivery', () => {
    const into = (end: string) => transitions.filter(({ to }) => to === end);
    expect(into('delivered').every(({ from }) => from.startsWith('sender'))).toBe(true);
    expect(into('verified').every(({ from }) => from.startsWith('sender'))).toBe(true);
    expect(into('landed').every(({ from }) => from.startsWith('receiver'))).toBe(true);
    expect(into('delivered').length * into('landed').length).toBeGreaterThan(0);
  });
});
