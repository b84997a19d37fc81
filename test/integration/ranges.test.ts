/** Files larger than one encrypted message, which is 1 MiB here: real processes over a real server. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { durable, written } from '../support/interrupting.ts';
import type { JetHome } from '../support/jet.ts';
import { freshPairs } from '../support/fresh-pairs.ts';
import { ended, linesOf, noise, type Ended, type Pair } from '../support/pair.ts';
import { terminate } from '../support/people.ts';
import { hasProsody } from '../support/prosody.ts';

const MIB = 1024 * 1024;
/** Five messages, the last one shorter. */
const SIZE = 4 * MIB + 123_457;
const INITIATES = /action="session-initiate"/g;
const env = { JET_TEST_MESSAGE_BYTES: String(MIB) };

describe.skipIf(!(await hasProsody()))('a file larger than one message', () => {
  let pair: Pair;
  let content: Buffer;
  let file: string;

  freshPairs(async (made) => {
    pair = made;
    content = noise(SIZE);
    file = await pair.file('big.bin', content);
  });

  const start = (home: JetHome, ...args: string[]) => home.start([...args, '--json'], { env });
  const receive = async (...args: string[]) => {
    const process = start(pair.bob, 'receive', '--yes', '--out', pair.out, ...args);
    await process.said(/"event":"waiting"/);
    return process;
  };
  const landed = async (name = 'big.bin') => {
    expect(await pair.landed()).toEqual([name]);
    expect((await readFile(join(pair.out, name))).equals(content)).toBe(true);
  };
  const rows = async (home: JetHome) => linesOf((await home.run(['transfers', '--json'])).stdout);
  /** One bar, from the first byte to the last. */
  const isOne = ({ events }: Ended, status: string) => {
    const of = (kind: string) => events.filter(({ event }) => event === kind);
    expect(of('start')).toMatchObject([{ resumed_from: 0, size: SIZE }]);
    const bytes = of('progress').map((event) => Number(event['bytes']));
    expect(bytes).toEqual(bytes.toSorted((a, b) => a - b));
    expect(bytes.at(-1)).toBe(SIZE);
    expect(of('end')).toMatchObject([{ status, bytes: SIZE }]);
  };

  test('is sent in ranges, as one transfer with one receipt', async () => {
    const receiver = await receive('--once');
    const sent = await ended(start(pair.alice, 'send', '-v', file, pair.bob.jid));
    const received = await ended(receiver);
    expect(sent, sent.stderr).toMatchObject({ status: 0 });
    expect(received, received.stderr).toMatchObject({ status: 0 });
    expect(sent.stderr.match(INITIATES)).toHaveLength(5);
    isOne(sent, 'verified');
    isOne(received, 'verified');
    await landed();
    const [out, in_] = [await rows(pair.alice), await rows(pair.bob)];
    const all = { written: SIZE, verified: SIZE };
    expect(out).toMatchObject([{ state: 'done', size: SIZE, status: 'verified', ...all }]);
    expect(in_).toMatchObject([{ state: 'done', size: SIZE, id: out[0]?.['id'], ...all }]);
    expect(in_[0]?.['sha256']).toBe(out[0]?.['sha256']);
  });

  test('is fetched in ranges, as one transfer, which counts as one', async () => {
    const holder = start(pair.alice, 'share', '--to', pair.bob.jid, '--count', '1', file);
    await holder.said(/"what":"requests to/);
    const hash = createHash('sha256').update(content).digest('hex');
    const got = await ended(start(pair.bob, 'fetch', hash, pair.alice.jid, '--out', pair.out));
    const served = await ended(holder);
    expect(got, got.stderr).toMatchObject({ status: 0 });
    expect(served, served.stderr).toMatchObject({ status: 0 });
    isOne(got, 'verified');
    isOne(served, 'verified');
    await landed();
  });

  test('is fetched in ranges, too, of a holder that allows plain requests to a jet', async () => {
    const holder = start(pair.alice, 'share', '--allow-plain', pair.bob.jid, '--count', '1', file);
    await holder.said(/"what":"requests to/);
    const hash = createHash('sha256').update(content).digest('hex');
    const got = await ended(start(pair.bob, 'fetch', hash, pair.alice.jid, '--out', pair.out));
    expect(got, got.stderr + holder.stderr).toMatchObject({ status: 0 });
    expect(await holder.ended).toMatchObject({ status: 0 });
    isOne(got, 'verified');
    await landed();
  });

  test.each([
    ['sender', 'alice'],
    ['receiver', 'bob'],
  ] as const)('whose %s is killed between two ranges goes on behind the first', async (_, who) => {
    const receiver = await receive();
    const slow = ['--limit-rate', '300k'];
    const sender = start(pair.alice, 'send', '-v', ...slow, file, pair.bob.jid);
    await sender.until(() => (sender.stderr.match(INITIATES) ?? []).length === 2, 'the next range');
    // The sender may be that far before the receiver has written down what it has.
    await durable(pair.bob, sender, MIB - 1);
    const [victim, left] = who === 'alice' ? [sender, receiver] : [receiver, sender];
    for (const process of [victim, left]) {
      process.child.kill('SIGKILL');
      await process.ended;
    }
    // What is durable ends with the first range: of the second one nothing was written down.
    expect(await rows(pair.bob)).toMatchObject([{ written: MIB, verified: MIB }]);
    await goesOn('bob', MIB);
  });

  test.each([
    ['sender', 'by the receiver', 'alice', 'bob'],
    ['receiver', 'by the sender', 'bob', 'alice'],
  ] as const)('whose %s is killed within a range goes on %s', async (_, __, victim, resumer) => {
    const receiver = await receive();
    const sender = start(pair.alice, 'send', '--limit-rate', '600k', file, pair.bob.jid);
    // Within the second range: its first half is what is written down next.
    await durable(pair.bob, sender, MIB + 1);
    const [killed, left] = victim === 'alice' ? [sender, receiver] : [receiver, sender];
    killed.child.kill('SIGKILL');
    await killed.ended;
    await left.said(/"code":"(broke|resumable)"/);
    left.child.kill('SIGTERM');
    await left.ended;
    const reached = written(pair.bob);
    expect(reached % MIB).toBeGreaterThan(0);
    // What had come of the range that broke off is not proven.
    expect(await rows(pair.bob)).toMatchObject([{ verified: MIB }]);
    await goesOn(resumer, reached);
  });

  /** Goes on from one side while the other waits; the bytes that were there do not come again. */
  async function goesOn(resumer: 'alice' | 'bob', reached: number): Promise<void> {
    const waits = resumer === 'bob' ? pair.alice : pair.bob;
    const other = start(waits, 'receive', '--yes', '--out', pair.out);
    await other.said(/"event":"waiting"/);
    const rest = await ended(start(pair[resumer], 'resume'));
    expect(rest, rest.stdout + rest.stderr).toMatchObject({ status: 0 });
    const starts = rest.events.filter(({ event }) => event === 'start');
    expect(starts).toHaveLength(1);
    // A direct write has whole blocks: the last one is written again.
    expect(Number(starts[0]?.['resumed_from'])).toBeGreaterThan(reached - 4096);
    expect(rest.event('end')).toMatchObject({ status: 'verified', bytes: SIZE });
    await landed();
    expect(await terminate(other)).toBe(0);
  }

  describe('to standard output', () => {
    /** Its data goes to a file by the shell, so that no byte of it is taken for text. */
    const piped = (home: JetHome, ...args: string[]) =>
      home.start([...args, '--stdout', '--json'], {
        env,
        prefix: ['sh', '-c', 'exec "$@" > "$0"', join(pair.out, 'piped')],
      });
    const came = () => readFile(join(pair.out, 'piped'));
    const eventsOf = (stderr: string) => {
      const events = linesOf(stderr);
      return (kind: string) => events.filter(({ event }) => event === kind);
    };
    const isWhole = async (stderr: string) => {
      const of = eventsOf(stderr);
      expect(of('start')).toMatchObject([{ resumed_from: 0, size: SIZE }]);
      const sha256 = createHash('sha256').update(content).digest('hex');
      expect(of('end')).toMatchObject([{ status: 'verified', as: 'stdout', bytes: SIZE, sha256 }]);
      expect((await came()).equals(content)).toBe(true);
      expect(await pair.landed()).toEqual(['piped']);
    };

    test('comes in ranges, one after the other, and is told as that', async () => {
      const receiver = piped(pair.bob, 'receive', '--yes');
      await receiver.said(/"event":"waiting"/);
      const sent = await ended(start(pair.alice, 'send', '-v', file, pair.bob.jid));
      const received = await receiver.ended;
      expect(received, received.stderr).toMatchObject({ status: 0 });
      expect(sent, sent.stderr).toMatchObject({ status: 0 });
      expect(sent.stderr.match(INITIATES)).toHaveLength(5);
      expect(sent.event('end')).toMatchObject({ status: 'delivered', as: 'stdout', bytes: SIZE });
      await isWhole(received.stderr);
    });

    test('is fetched in ranges, one after the other, and is told as that', async () => {
      const holder = start(pair.alice, 'share', '--to', pair.bob.jid, '--count', '1', file);
      await holder.said(/"what":"requests to/);
      const hash = createHash('sha256').update(content).digest('hex');
      const got = await piped(pair.bob, 'fetch', hash, pair.alice.jid).ended;
      const served = await ended(holder);
      expect(got, got.stderr).toMatchObject({ status: 0 });
      expect(served, served.stderr).toMatchObject({ status: 0 });
      expect(served.event('end')).toMatchObject({ status: 'delivered', as: 'stdout', bytes: SIZE });
      await isWhole(got.stderr);
    });

    test.each([
      ['receive', 'send'],
      ['fetch', 'share'],
    ] as const)('fails loudly in %s when the %s is killed in a range', async (gets, gives) => {
      const slow = ['--limit-rate', '600k'];
      const hash = createHash('sha256').update(content).digest('hex');
      const giver =
        gives === 'share'
          ? start(pair.alice, 'share', '--to', pair.bob.jid, ...slow, file)
          : undefined;
      await giver?.said(/"what":"requests to/);
      const getter = piped(
        pair.bob,
        ...(gets === 'fetch' ? ['fetch', hash, pair.alice.jid] : ['receive', '--yes']),
      );
      if (gives === 'send') await getter.said(/"event":"waiting"/);
      const victim = giver ?? start(pair.alice, 'send', ...slow, file, pair.bob.jid);
      const beyond = () =>
        eventsOf(getter.stderr)('progress').some((event) => Number(event['bytes']) > MIB + 50_000);
      await getter.until(beyond, 'bytes of the second range');
      victim.child.kill('SIGKILL');
      await victim.ended;
      const got = await getter.ended;
      expect(got, got.stderr).toMatchObject({ status: 7 });
      expect(got.stderr).toMatch(/NOT the verified file: do not use it/);
      expect(got.stderr).not.toMatch(/"code":"resumable"/);
      // What was handed on is the beginning of the file, once and in order.
      const bytes = await came();
      expect(bytes.length).toBeGreaterThan(MIB);
      expect(content.subarray(0, bytes.length).equals(bytes)).toBe(true);
      expect(await rows(pair.bob)).toMatchObject([{ state: 'failed' }]);
      expect(await pair.bob.run(['resume', '--list'])).toMatchObject({ status: 0, stdout: '' });
    });
  });
});
