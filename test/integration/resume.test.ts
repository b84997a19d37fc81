/** What was interrupted is gone on with, from either side: real processes over a real server. */
import { createHash } from 'node:crypto';
import { open, readFile, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openJournal } from '../../src/app.ts';
import {
  durable,
  interruptMidway,
  killUnheard,
  RATE,
  waitsForAny,
  written,
} from '../support/interrupting.ts';
import type { JetHome } from '../support/jet.ts';
import { freshPairs } from '../support/fresh-pairs.ts';
import { ended, linesOf, noise, type Pair } from '../support/pair.ts';
import { terminate } from '../support/people.ts';
import { hasProsody } from '../support/prosody.ts';

const SIZE = 12_000_000;

/** How many transfers have not come to an end. */
function openRows(home: JetHome): number {
  const journal = openJournal({ config: home.home, data: home.home });
  try {
    return journal.list().filter(({ state }) => state === 'interrupted').length;
  } finally {
    journal.close();
  }
}

describe.skipIf(!(await hasProsody()))('a transfer that was interrupted', () => {
  let pair: Pair;
  let content: Buffer;
  let file: string;

  freshPairs(async (made) => {
    pair = made;
    content = noise(SIZE);
    file = await pair.file('big.bin', content);
  });

  const interrupt = (victim: 'sender' | 'receiver') => interruptMidway(pair, file, victim);
  const waits = (home: JetHome) => waitsForAny(home, pair.out);

  const resume = (home: JetHome, ...ids: string[]) =>
    ended(home.start(['resume', '--json', ...ids]));
  const landed = async () => {
    expect(await readdir(pair.out)).toEqual(['big.bin']);
    expect((await readFile(join(pair.out, 'big.bin'))).equals(content)).toBe(true);
  };

  test.each(['sender', 'receiver'] as const)(
    'by a kill of the %s goes on from where it was, by the receiver',
    async (victim) => {
      await interrupt(victim);
      expect(written(pair.bob)).toBeGreaterThan(1_000_000);
      const holder = await waits(pair.alice);
      const got = await resume(pair.bob);
      expect(got, got.stdout).toMatchObject({ status: 0 });
      expect(got.event('start')?.['resumed_from']).toBeGreaterThan(1_000_000);
      await landed();
      await holder.said(/"status":"verified"/);
      expect(await terminate(holder)).toBe(0);
      const again = await pair.bob.run(['resume', '--list']);
      expect(again).toMatchObject({ status: 0, stdout: '' });
    },
  );

  test('by a kill of the receiver that had it in its place is over there, and gets its sender a receipt', async () => {
    const receiver = await killUnheard(pair, file);
    await receiver.said(/to hear of it/);
    receiver.child.kill('SIGKILL');
    await receiver.ended;
    expect(openRows(pair.bob)).toBe(0);
    expect(openRows(pair.alice)).toBe(1);
    const next = await waits(pair.bob);
    const sent = await resume(pair.alice);
    expect(sent, sent.stdout).toMatchObject({ status: 0 });
    expect(sent.event('end')).toMatchObject({ status: 'verified' });
    await landed();
    expect(await terminate(next)).toBe(0);
    expect(openRows(pair.alice)).toBe(0);
  });

  test.each(['sender', 'receiver'] as const)(
    'by a kill of the %s goes on from where it was, by the sender',
    async (victim) => {
      await interrupt(victim);
      const receiver = await waits(pair.bob);
      const sent = await resume(pair.alice);
      expect(sent, sent.stdout).toMatchObject({ status: 0 });
      expect(sent.event('start')?.['resumed_from']).toBeGreaterThan(1_000_000);
      expect(sent.event('end')).toMatchObject({ status: 'verified' });
      await landed();
      expect(await terminate(receiver)).toBe(0);
    },
  );

  test('is repaired by the command that sends, when the receiver comes back', async () => {
    const receiver = pair.receive();
    await receiver.said(/"event":"waiting"/);
    const sender = pair.send(file, RATE);
    await durable(pair.bob, sender, 1_500_000);
    receiver.child.kill('SIGKILL');
    await receiver.ended;
    const next = await waits(pair.bob);
    const sent = await ended(sender);
    expect(sent, sent.stdout).toMatchObject({ status: 0 });
    expect(sent.stderr).toMatch(/The connection broke at \d+ % of big\.bin\. Trying to go on/);
    expect(sent.stderr).toMatch(/big\.bin resumed at \d+ %\./);
    const starts = sent.events.filter(({ event }) => event === 'start');
    expect(starts).toHaveLength(2);
    expect(starts[1]?.['id']).toBe(starts[0]?.['id']);
    expect(starts[1]?.['resumed_from']).toBeGreaterThan(1_000_000);
    expect(sent.events.filter(({ event }) => event === 'end')).toHaveLength(1);
    await landed();
    expect(await terminate(next)).toBe(0);
  });

  test('never keeps a bit that was flipped in what had come', async () => {
    await interrupt('receiver');
    const part = await open(join(pair.out, 'big.bin.jet-part'), 'r+');
    const byte = Buffer.alloc(1);
    await part.read(byte, 0, 1, 1000);
    await part.write(Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, 1000);
    await part.close();
    const holder = await waits(pair.alice);
    const got = await resume(pair.bob);
    expect(got, got.stdout).toMatchObject({ status: 0 });
    expect(got.stdout).toMatch(/"code":"part-wrong"|"code":"starts-anew"/);
    await landed();
    expect(await terminate(holder)).toBe(0);
  });

  test('never goes on with a source that was replaced, though by one of its size and times', async () => {
    await interrupt('sender');
    const { atime, mtime } = await stat(file);
    await writeFile(`${file}.new`, noise(SIZE));
    await utimes(`${file}.new`, atime, mtime);
    await rename(`${file}.new`, file);
    const sent = await resume(pair.alice);
    expect(sent).toMatchObject({ status: 8 });
    expect(sent.stderr).toMatch(/big\.bin is not the file any more that it was/);
    const holder = await waits(pair.alice);
    const got = await resume(pair.bob);
    expect(got).toMatchObject({ status: 9 });
    await holder.said(/Refused a request of bob.*is not the file any more/);
    expect(await readdir(pair.out)).toEqual(['big.bin.jet-part']);
    expect(await terminate(holder)).toBe(0);
  });

  test('of a shared file goes on as long as it is shared, by a key that is trusted', async () => {
    const { alice, bob, out } = pair;
    const old = new Date(Date.now() - 60_000);
    const other = await pair.file('other.bin', noise(10));
    for (const path of [file, other]) await utimes(path, old, old);
    const shares = async (path: string, to = bob.jid) => {
      const rate = ['--limit-rate', '600k'];
      const process = alice.start(['share', path, '--json', ...rate, '--to', to]);
      await process.said(/"sha256":/);
      return process;
    };
    const hash = createHash('sha256').update(content).digest('hex');
    const holder = await shares(file);
    const fetching = bob.start(['fetch', '--json', '--out', out, hash, alice.jid]);
    await durable(bob, fetching, 1_500_000);
    fetching.child.kill('SIGKILL');
    await fetching.ended;
    await holder.said(/"event":"end"/);
    expect(await terminate(holder)).toBe(0);

    // It is shared with somebody else now.
    const elsewhere = await shares(file, 'carol@jet.test');
    expect(await resume(bob, '--wait', '3')).toMatchObject({ status: 4 });
    expect(await terminate(elsewhere)).toBe(0);

    // Something else is shared with bob now, not this file.
    const without = await shares(other);
    expect(await resume(bob)).toMatchObject({ status: 9 });
    await without.said(/Refused a request of bob.*not allowed any more/);
    expect(await terminate(without)).toBe(0);

    const [pin] = linesOf((await alice.run(['devices', '--json', bob.jid])).stdout);
    const key = String(pin?.['fingerprint']);
    expect(await alice.run(['distrust', bob.jid, key])).toMatchObject({ status: 0 });
    const untrusting = await shares(file);
    expect(await resume(bob)).toMatchObject({ status: 9 });
    await untrusting.said(/Refused a request of bob.*is not trusted/);
    expect(await terminate(untrusting)).toBe(0);
    expect(await readdir(out)).toEqual(['big.bin.jet-part']);

    expect(await alice.run(['trust', bob.jid, key])).toMatchObject({ status: 0 });
    const again = await shares(file);
    const got = await resume(bob);
    expect(got, got.stdout).toMatchObject({ status: 0 });
    expect(got.event('start')?.['resumed_from']).toBeGreaterThan(1_000_000);
    await landed();
    expect(await terminate(again)).toBe(0);
  });

  test('begins anew, and says so, when the part is gone', async () => {
    await interrupt('sender');
    const [row] = linesOf((await pair.bob.run(['transfers', '--json'])).stdout);
    const id = String(row?.['id']);
    await rm(join(pair.out, 'big.bin.jet-part'));
    const holder = await waits(pair.alice);
    const got = await resume(pair.bob, id.slice(0, 8));
    expect(got, got.stdout).toMatchObject({ status: 0 });
    expect(got.stderr).toMatch(/is gone\. big\.bin starts from zero\./);
    await landed();
    expect(await terminate(holder)).toBe(0);
  });

  test('is forgotten with its part', async () => {
    await interrupt('sender');
    const [row] = linesOf((await pair.bob.run(['transfers', '--json'])).stdout);
    expect(row).toMatchObject({ state: 'interrupted', direction: 'receive', name: 'big.bin' });
    const gone = await pair.bob.run(['transfers', 'forget', String(row?.['id'])]);
    expect(gone).toMatchObject({ status: 0 });
    expect(await readdir(pair.out)).toEqual([]);
    expect((await pair.bob.run(['transfers'])).stdout).toBe('');
    const none = await pair.bob.run(['resume', String(row?.['id'])]);
    expect(none).toMatchObject({ status: 2 });
  });
});
