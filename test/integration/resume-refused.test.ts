/** What stands in the way of `jet resume`: one sentence each, the documented status, and nothing is lost. */
import { readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openStore } from '../../src/store/store.ts';
import { interruptMidway, waitsForAny } from '../support/interrupting.ts';
import type { JetHome } from '../support/jet.ts';
import { ended, linesOf, makePair, noise, type Pair } from '../support/pair.ts';
import { terminate } from '../support/people.ts';
import { hasProsody, startProsody, type Prosody } from '../support/prosody.ts';
import { edit } from '../support/stored.ts';

describe.skipIf(!(await hasProsody()))('a transfer that was interrupted', () => {
  const content = noise(4_000_000);
  let server: Prosody;
  let pair: Pair;
  let file: string;
  let id: string;

  beforeAll(async () => {
    server = await startProsody();
    pair = await makePair(server);
    file = await pair.file('from/big.bin', content);
    await interruptMidway(pair, file, 'receiver', { rate: '600k', least: 1_000_000 });
    id = String(linesOf((await pair.bob.run(['transfers', '--json'])).stdout)[0]?.['id']);
  });
  afterAll(async () => {
    await pair.remove();
    await server.stop();
  });

  test('is not gone on with while its source is elsewhere', async () => {
    const moved = `${dirname(file)}-moved`;
    await rename(dirname(file), moved);
    const got = await pair.alice.run(['resume']);
    await rename(moved, dirname(file));
    expect(got).toMatchObject({ status: 8, stdout: '' });
    expect(got.stderr).toBe(`jet: ${file} does not exist. Check the name.\n`);
  });

  test('is left alone when its journal is of a newer version', async () => {
    const set = (step: number) => {
      const store = openStore(join(pair.bob.home, 'jet.db'), []);
      try {
        const before = store.get(`SELECT step FROM schema_version WHERE name = 'journal'`);
        store.run(`UPDATE schema_version SET step = ? WHERE name = 'journal'`, step);
        return Number(before?.['step']);
      } finally {
        store.close();
      }
    };
    const step = set(99);
    const got = await pair.bob.run(['resume']);
    expect(set(step)).toBe(99);
    expect(got).toMatchObject({ status: 8, stdout: '' });
    expect(got.stderr).toMatch(
      /^jet: The database .* was written by a newer version of jet\. .*\n$/,
    );
    expect(await pair.landed()).toEqual(['big.bin.jet-part']);
  });

  test('is not gone on with after 30 days, whoever asks', async () => {
    const age = (home: JetHome, days: number) =>
      edit(home, `UPDATE transfer SET updated = updated - ${days * 86_400_000}`);
    age(pair.bob, 31);
    const here = await pair.bob.run(['resume', id]);
    expect(here).toMatchObject({ status: 2, stdout: '' });
    expect(here.stderr).toMatch(
      /^jet: Nobody has gone on with transfer \w{8} since \d{4}-\d\d-\d\d, and it has expired\. .*\n$/,
    );
    expect(await pair.bob.run(['resume', '--list'])).toMatchObject({ status: 0, stdout: '' });
    expect((await pair.bob.run(['transfers'])).stdout).toMatch(/: expired at \d+ %\n$/);
    age(pair.bob, -31);

    age(pair.alice, 31);
    const holder = await waitsForAny(pair.alice, pair.out);
    expect(await pair.bob.run(['resume', id])).toMatchObject({ status: 9, stdout: '' });
    await holder.said(/has expired/);
    expect(await terminate(holder)).toBe(0);
    age(pair.alice, -31);
    expect(await pair.landed()).toEqual(['big.bin.jet-part']);
  });

  test('is gone on with by one of two that want to, and the other says why not', async () => {
    // So slow that the first is under way still when the second has started, on a busy machine, too.
    const args = ['receive', '--yes', '--json', '--limit-rate', '200k', '--out', pair.out];
    const holder = pair.alice.start(args);
    await holder.said(/"event":"waiting"/);
    const first = pair.bob.start(['resume', '--json', id]);
    await first.said(/"event":"start"/);
    const second = await pair.bob.run(['resume', id]);
    expect(second).toMatchObject({ status: 8, stdout: '' });
    expect(second.stderr).toMatch(
      new RegExp(
        `jet: Transfer ${id} is under way already\\. Let it end, or end the jet process that runs it\\.\n$`,
      ),
    );
    const got = await ended(first);
    expect(got, got.stderr).toMatchObject({ status: 0 });
    expect(await pair.landed()).toEqual(['big.bin']);
    expect((await readFile(join(pair.out, 'big.bin'))).equals(content)).toBe(true);
    expect(await terminate(holder)).toBe(0);
  });
});
