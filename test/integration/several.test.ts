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

  const fed = (input: string) => ({ prefix: ['sh', '-c', `${input} | "$0" "$@"`] });

  test('from standard input have the name that was given, and are verified', async () => {
    const { alice, bob } = town;
    await files('a');
    const receiving = await receive(bob, '--yes', '--once', '--out', out);
    const send = ['send', '--name', 'note.txt', '-', bob.jid];
    const sent = await alice.run(send, fed('printf hello'));
    expect(sent, sent.stderr).toMatchObject({ status: 0 });
    expect(sent.stderr).toMatch(
      /Standard input \(5 B\) is kept in a temporary file until it is sent/,
    );
    expect(sent.stderr).toMatch(/^note\.txt to bob@jet\.test: verified/m);
    expect((await receiving.ended).status).toBe(0);
    expect(await readFile(join(out, 'note.txt'), 'utf8')).toBe('hello');
  });

  test('go with standard input among them', async () => {
    const { alice, bob } = town;
    await files('a');
    const receiving = await receive(bob, '--yes', '--once', '--out', out);
    const sent = await alice.run(['send', join(from, 'a'), '-', bob.jid], fed('printf hello'));
    expect(sent, sent.stderr).toMatchObject({ status: 0 });
    expect((await receiving.ended).status).toBe(0);
    expect(await readdir(out)).toEqual(['a', 'stdin']);
  });

  test('go with a text, which is a file of the name that was given or text.txt', async () => {
    const { alice, bob } = town;
    const text = 'Größe: 3 €\nno line end';
    for (const [words, name, others] of [
      [[], 'text.txt', []],
      [['--name', 'note.md'], 'note.md', []],
      [[join(from, 'a')], 'text.txt', ['a']],
    ] as const) {
      await files('a');
      const receiving = await receive(bob, '--yes', '--once', '--out', out);
      const sent = await alice.run(['send', '--text', text, ...words, bob.jid]);
      expect(sent, sent.stderr).toMatchObject({ status: 0 });
      expect(sent.stderr).toContain(`${name} to bob@jet.test: verified`);
      expect((await receiving.ended).status).toBe(0);
      expect(await readdir(out)).toEqual([...others, name]);
      expect(await readFile(join(out, name), 'utf8')).toBe(text);
      await rm(out, { recursive: true });
      await mkdir(out);
    }
  });

  test.each([
    [['-', '-'], /Standard input can be sent once/],
    [['--name', 'x', '-', 'b'], /--name goes with one file/],
  ])('%j is refused', async (args, message) => {
    const got = await town.alice.run(['send', ...args, town.bob.jid], fed('printf hello'));
    expect(got).toMatchObject({ status: 2 });
    expect(got.stderr).toMatch(message);
  });

  test('one goes to standard output, and the sender says where it went', async () => {
    const { alice, bob } = town;
    const receiving = bob.start(['receive', '--json', '--yes', '--stdout', alice.jid]);
    await receiving.said(/"event":"waiting"/);
    const send = ['send', '--json', '-', bob.jid];
    const sent = await alice.run(send, fed('printf hello'));
    expect(sent, sent.stderr).toMatchObject({ status: 0 });
    expect(linesOf(sent.stdout).at(-1)).toMatchObject({
      ...{ event: 'end', status: 'delivered', as: 'stdout', exit: 0 },
    });
    expect(sent.stderr).toMatch(/stdin to bob@jet\.test: delivered to standard output/);
    const received = await receiving.ended;
    expect(received, received.stderr).toMatchObject({ status: 0, stdout: 'hello' });
    expect(linesOf(received.stderr).at(-1)).toMatchObject({ event: 'end', status: 'verified' });
    expect(await readdir(out)).toEqual([]);
  });

  test('several do not go to standard output', async () => {
    const { alice, bob } = town;
    const made = await files('a', 'b');
    const receiving = bob.start(['receive', '--yes', '--stdout', alice.jid]);
    const paths = [...made.keys()].map((name) => join(from, name));
    const sent = await alice.run(['send', ...paths, bob.jid]);
    expect(sent, sent.stderr).toMatchObject({ status: 10 });
    await receiving.said(/Declined a of alice@jet\.test: --stdout takes one file alone/);
    const one = await alice.run(['send', '-', bob.jid], fed('printf hello'));
    expect(one, one.stderr).toMatchObject({ status: 0 });
    expect(await receiving.ended).toMatchObject({ status: 0, stdout: 'hello' });
  });

  test('one that breaks off after bytes were written is loud', async () => {
    const { alice, bob } = town;
    await writeFile(join(from, 'slow'), noise(3_000_000));
    const receiving = bob.start(['receive', '--json', '--yes', '--stdout', alice.jid]);
    await receiving.said(/"event":"waiting"/);
    const sending = alice.start(['send', '--limit-rate', '300k', join(from, 'slow'), bob.jid]);
    await receiving.said(/"event":"progress".*"bytes":[1-9]/);
    sending.child.kill('SIGINT');
    const received = await receiving.ended;
    expect(received.status, received.stderr).not.toBe(0);
    expect(received.stderr).toMatch(/written to standard output is NOT the verified file/);
  });

  test('go with folders, which are built again', async () => {
    const { alice, bob } = town;
    await files('a');
    const tree = join(from, 'tree');
    await mkdir(join(tree, 'in', 'empty'), { recursive: true });
    for (let n = 0; n < 50; n++) await writeFile(join(tree, 'in', `file-${n}`), `content ${n}`);
    await writeFile(join(tree, 'in', 'x.tmp'), 'no');
    const receiving = await receive(bob, '--yes', '--once', '--out', out);
    const paths = [tree, join(from, 'a')];
    const sent = await alice.run(['send', '--exclude', '*.tmp', ...paths, bob.jid]);
    const received = await receiving.ended;
    expect(sent, sent.stderr + received.stderr).toMatchObject({ status: 0 });
    expect(sent.stderr).toMatch(/^tree\/ to bob@jet\.test: verified/m);
    expect(received, received.stderr).toMatchObject({ status: 0 });
    expect((await readdir(out)).sort()).toEqual(['a', 'tree']);
    const there = await readdir(join(out, 'tree', 'in'));
    expect(there).toHaveLength(51);
    expect(there).not.toContain('x.tmp');
    expect(await readFile(join(out, 'tree', 'in', 'file-7'), 'utf8')).toBe('content 7');
    const end = linesOf(received.stdout).filter(({ event }) => event === 'end');
    expect(end.map(({ file }) => file)).toContain(join(out, 'tree'));
  });

  test('of a folder are declined by --stdout', async () => {
    const { alice, bob } = town;
    await mkdir(join(from, 'small'), { recursive: true });
    const receiving = bob.start(['receive', '--json', '--yes', '--stdout', alice.jid]);
    await receiving.said(/"event":"waiting"/);
    const sent = await alice.run(['send', join(from, 'small'), bob.jid]);
    expect(sent, sent.stderr).toMatchObject({ status: 5 });
    expect(await terminate(receiving)).toBe(0);
    expect(receiving.stdout).toBe('');
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
