/** `jet send` of more than one thing: real processes over a real server. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Outcome } from '../support/jet.ts';
import { linesOf, noise } from '../support/pair.ts';
import { makeTown, receive, terminate, type Town } from '../support/people.ts';
import { hasProsody } from '../support/prosody.ts';

const present = await hasProsody();

describe.skipIf(!present)('several files', () => {
  let town: Town;
  let out: string;
  let from: string;

  beforeAll(async () => {
    town = await makeTown({}, true);
    out = join(town.bob.home, 'out');
    from = join(town.alice.home, 'from');
    await mkdir(from);
    await mkdir(out);
  });
  afterEach(async () => {
    await rm(out, { recursive: true });
    await mkdir(out);
  });
  afterAll(() => town.remove());

  async function files(...names: string[]): Promise<Map<string, Buffer>> {
    const made = new Map<string, Buffer>();
    for (const name of names) {
      const bytes = noise(50_000 + made.size);
      await writeFile(join(from, name), bytes);
      made.set(name, bytes);
    }
    return made;
  }

  async function exchange(
    names: readonly string[],
    more: { send?: readonly string[]; receive?: readonly string[] } = {},
  ): Promise<{ sent: Outcome; received: Outcome }> {
    const { alice, bob } = town;
    const waits = ['--yes', '--once', '--out', out, ...(more.receive ?? [])];
    const receiving = await receive(bob, ...waits);
    const args = ['send', ...(more.send ?? []), ...names.map((name) => join(from, name)), bob.jid];
    const sent = await alice.run(args);
    return { sent, received: await receiving.ended };
  }

  test('land, and are one transfer for --once', async () => {
    const made = await files('a', 'b', 'c', 'd', 'e', 'f', 'g');
    const { sent, received } = await exchange([...made.keys()]);
    expect(sent, sent.stderr + received.stderr).toMatchObject({ status: 0 });
    expect(received, received.stderr).toMatchObject({ status: 0 });
    expect(await readdir(out)).toEqual([...made.keys()]);
    for (const [name, bytes] of made)
      expect((await readFile(join(out, name))).equals(bytes), name).toBe(true);
    expect(linesOf(received.stdout).filter(({ event }) => event === 'end')).toHaveLength(7);
  });

  test('arrive one by one where the rate is limited', async () => {
    const made = await files('a', 'b');
    const { sent, received } = await exchange([...made.keys()], {
      send: ['--limit-rate', '1M', '--json'],
    });
    expect(received, received.stderr).toMatchObject({ status: 0 });
    const order = linesOf(sent.stdout).map(({ event }) => event);
    expect(order.indexOf('end')).toBeLessThan(order.lastIndexOf('start'));
  });

  test('one that is not there does not keep the others away, and is named at the end', async () => {
    const made = await files('a', 'b');
    const { sent, received } = await exchange(['none', ...made.keys()]);
    expect(sent, sent.stderr).toMatchObject({ status: 10 });
    expect(sent.stderr.trimEnd().split('\n').at(-1)).toMatch(
      /^jet: 1 of 3 did not reach bob@jet\.test: .*none\.$/,
    );
    // What was never offered is no matter of the receiver's.
    expect(received, received.stderr).toMatchObject({ status: 0 });
    expect(await readdir(out)).toEqual(['a', 'b']);
  });

  test('one that the receiver does not take fails alone, on both sides', async () => {
    const made = await files('a', 'b');
    await writeFile(join(from, 'huge'), noise(200_000));
    const { sent, received } = await exchange(['huge', ...made.keys()], {
      receive: ['--max-size', '100k'],
    });
    expect(sent, sent.stderr).toMatchObject({ status: 10 });
    expect(sent.stderr).toMatch(/1 of 3 did not reach bob@jet\.test: huge\.$/m);
    expect(received, received.stderr).toMatchObject({ status: 10 });
    expect(await readdir(out)).toEqual(['a', 'b']);
  });

  test('that never come after the sender was stopped end the receiver', async () => {
    const { alice, bob } = town;
    await files('a');
    await writeFile(join(from, 'slow'), noise(3_000_000));
    const receiving = await receive(bob, '--yes', '--once', '--out', out);
    const paths = ['a', 'slow', 'a'].map((name) => join(from, name));
    const sending = alice.start(['send', '--json', '--limit-rate', '300k', ...paths, bob.jid]);
    await sending.said(/"event":"progress","[^\n]*"size":3000000/);
    sending.child.kill('SIGINT');
    const received = await receiving.ended;
    expect(received.status, received.stderr).toBe(10);
    expect(received.stderr).toMatch(/One of the files that were announced never came/);
    expect((await sending.ended).signal).toBe('SIGINT');
  });

  test('none of which is there are an error before anything else', async () => {
    const got = await town.alice.run(['send', 'none', 'nor-this', town.bob.jid]);
    expect(got).toMatchObject({ status: 8 });
    expect(got.stderr).toMatch(/^jet: none does not exist/);
  });

  test('are counted as they come by a receiver that waits on', async () => {
    const made = await files('a', 'b');
    const receiving = await receive(town.bob, '--yes', '--out', out);
    for (const name of made.keys()) {
      const { status, stderr } = await town.alice.run(['send', join(from, name), town.bob.jid]);
      expect(status, stderr).toBe(0);
    }
    expect(await terminate(receiving)).toBe(0);
    expect(await readdir(out)).toEqual(['a', 'b']);
  });
});
