/** The store under load: a long journal, many processes of one account. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import Database from 'libsql';
import { makeCouple, startJet, transfer } from '../contestants/jet.ts';
import type { Stage } from '../contestant.ts';
import { makeFile } from '../files.ts';
import { Path } from '../path.ts';
import { Running, runs, succeeded } from '../processes.ts';
import { figure, ratio, type Check } from '../results.ts';
import { fileURLToPath } from 'node:url';
import { SMALL } from '../tables.ts';

const OPENING = fileURLToPath(new URL('./open-store.ts', import.meta.url));
const PROBE = fileURLToPath(new URL('./probe-lock.mjs', import.meta.url));

/** A journal with very many rows. */
export async function longJournal(stage: Stage, rows: number, times: number): Promise<Check[]> {
  const couple = await makeCouple(stage);
  const other = await makeCouple(stage);
  const file = join(stage.folder, 'journal.bin');
  await makeFile(file, SMALL);
  let count = 0;
  const send = async (one: typeof couple) => {
    const out = join(stage.folder, `journal-${count++}`);
    await mkdir(out);
    const path = new Path({ rtt: 0 });
    return (await transfer(stage, one, [file], out, { path })).run.wall;
  };
  await send(couple);
  await send(other);
  for (const { home } of [couple.alice, couple.bob]) fill(databaseOf(home), rows);
  const [long, short]: [number[], number[]] = [[], []];
  for (let i = 0; i < times; i++) {
    long.push(await send(couple));
    short.push(await send(other));
  }
  const opened = [];
  for (let i = 0; i < times; i++) {
    const command = [
      process.execPath,
      ...['--import', 'tsx', OPENING],
      databaseOf(couple.alice.home),
    ];
    opened.push(Number((await runs(command)).stdout));
  }
  for (const { alice, bob } of [couple, other]) {
    await alice.remove();
    await bob.remove();
  }
  return [
    {
      title: `A small file with ${rows} rows in the journals : with none`,
      figure: ratio(long, short),
      unit: '×',
      note: 'wall time',
    },
    {
      title: `Opening the store with ${rows} rows`,
      figure: figure(opened),
      unit: 'ms',
      target: { at: 'most', value: 30 },
    },
  ];
}

function databaseOf(home: string): string {
  return join(home, 'jet.db');
}

/** Copies the one row that is there again and again, under new ids. */
function fill(file: string, rows: number): void {
  const db = new Database(file);
  const columns = (db.prepare('PRAGMA table_info(transfer)').all() as { name: string }[])
    .map(({ name }) => name)
    .filter((name) => name !== 'key');
  const values = columns.map((name) => {
    if (name === 'id') return "printf('%032x', n)";
    if (name === 'state') return "'done'";
    return name === 'adopted' ? '0' : name;
  });
  db.exec(
    `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ${rows})
     INSERT INTO transfer (${columns.join()})
     SELECT ${values.join()} FROM c, (SELECT * FROM transfer LIMIT 1)`,
  );
  db.close();
}

/** Many processes of one account at once. */
export async function processes(stage: Stage, count: number): Promise<Check[]> {
  const couple = await makeCouple(stage);
  const file = join(stage.folder, 'processes.bin');
  await makeFile(file, SMALL);
  const out = join(stage.folder, 'processes-out');
  await mkdir(out);
  const { alice, bob } = couple;
  const receiver = startJet(stage, bob, ['receive', '--yes', '--json', '--out', out]);
  await receiver.said(/"event":"waiting".*offers/);
  const send = () =>
    startJet(stage, alice, ['send', '--json', '--wait', '600', file, bob.jid]).ended;
  succeeded('jet send', await send());
  const probe = new Running([
    process.execPath,
    PROBE,
    stage.program.folder,
    databaseOf(alice.home),
  ]);
  await probe.said(/ready/);
  const began = performance.now();
  const all = await Promise.all(Array.from({ length: count }, send));
  const wall = performance.now() - began;
  const [, longest, late = '?', sync = '?'] =
    /longest (\S+) late (\S+) sync (\S+)/.exec((await probe.stop('SIGTERM')).stdout) ?? [];
  for (const one of all) succeeded('jet send', one);
  succeeded('jet send', await send());
  await receiver.stop();
  await alice.remove();
  await bob.remove();
  return [
    {
      title: `${count} processes of one account at once, each a file of 1 KiB`,
      figure: figure([(count * 1000) / wall]),
      unit: 'files/s',
      note: 'all arrived, and one more after them: the ratchet is right',
    },
    {
      title: 'The longest time that the store was locked meanwhile',
      figure: figure([Number(longest)]),
      unit: 'ms',
      target: { at: 'most', value: 50 },
      note: 'as a process sees it that tries to write each millisecond; waits for the processor are in it',
      bound: `Nobody waits for the disk while it keeps the store locked, but who is taken off the processor then keeps it so until its next turn, and who looks is late as well. Meanwhile, and with no lock at all, a sync of 4 KiB to the same disk took up to ${sync} ms, and a timer of a millisecond was up to ${late} ms late.`,
    },
  ];
}
