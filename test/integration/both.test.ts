/** `jet resume` on both sides, where nobody waits: real processes over a real server. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { interruptMidway } from '../support/interrupting.ts';
import type { JetHome } from '../support/jet.ts';
import { freshPairs } from '../support/fresh-pairs.ts';
import { ended, linesOf, noise, type Ended, type Pair } from '../support/pair.ts';
import { hasProsody } from '../support/prosody.ts';

const SIZE = 6_000_000;
/** A session that a side begins, in its log. */
const BEGINS = /^> <iq[^>]*><jingle[^>]*action="session-initiate"/gm;
const FIRST = { rate: '2M', least: 1_500_000 };

describe.skipIf(!(await hasProsody()))('jet resume on both sides', () => {
  let pair: Pair;
  let content: Buffer;
  let file: string;

  freshPairs(async (made) => {
    pair = made;
    content = noise(SIZE);
    file = await pair.file('big.bin', content);
  });

  const resume = (home: JetHome, ...args: string[]) =>
    home.start(['resume', '-v', '--json', ...args]);
  /** It says that it waits for the other side. */
  const searches = /to be online/;
  const initiates = (...sides: Ended[]) =>
    sides.reduce((sum, { stderr }) => sum + (stderr.match(BEGINS) ?? []).length, 0);

  async function landedOnce(got: Ended, sent: Ended): Promise<void> {
    expect(got, got.stdout + got.stderr).toMatchObject({ status: 0 });
    expect(sent, sent.stdout + sent.stderr).toMatchObject({ status: 0 });
    for (const { events } of [got, sent]) {
      const of = (kind: string) => events.filter(({ event }) => event === kind);
      expect(of('start')).toHaveLength(1);
      expect(of('start')[0]?.['resumed_from']).toBeGreaterThan(1_000_000);
      expect(of('end')).toMatchObject([{ status: 'verified', bytes: SIZE }]);
      expect(of('error')).toEqual([]);
    }
    expect(await pair.landed()).toEqual(['big.bin']);
    expect((await readFile(join(pair.out, 'big.bin'))).equals(content)).toBe(true);
    for (const home of [pair.alice, pair.bob])
      expect(linesOf((await home.run(['transfers', '--json'])).stdout)).toMatchObject([
        { state: 'done', status: 'verified' },
      ]);
  }

  test('meets in one session when both begin at once', async () => {
    await interruptMidway(pair, file, 'sender', FIRST);
    const [got, sent] = await Promise.all([ended(resume(pair.bob)), ended(resume(pair.alice))]);
    await landedOnce(got, sent);
    expect(initiates(got, sent)).toBe(1);
  });

  test.each(['receiver', 'sender'] as const)(
    'meets in one session when the %s is first',
    async (who) => {
      await interruptMidway(pair, file, who, FIRST);
      const [one, other] = who === 'receiver' ? [pair.bob, pair.alice] : [pair.alice, pair.bob];
      const first = resume(one);
      await first.said(searches);
      const ends = await Promise.all([ended(first), ended(resume(other))]);
      const [got, sent] = who === 'receiver' ? ends : ends.toReversed();
      if (got === undefined || sent === undefined) throw new Error('two sides');
      await landedOnce(got, sent);
      expect(initiates(got, sent)).toBe(1);
    },
  );

  test('lands once though the receiver hangs until it is offered the file', async () => {
    await interruptMidway(pair, file, 'sender', FIRST);
    const sending = resume(pair.alice);
    await sending.said(searches);
    const receiving = resume(pair.bob);
    await sending.said(/ was chosen/);
    receiving.child.kill('SIGSTOP');
    await sending.until(() => sending.stderr.match(BEGINS) !== null, 'an offer');
    receiving.child.kill('SIGCONT');
    const [got, sent] = await Promise.all([ended(receiving), ended(sending)]);
    await landedOnce(got, sent);
  });
});
