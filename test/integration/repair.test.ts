/** A part that was damaged while its transfer was interrupted: real processes over a real server. */
import { open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { interruptMidway, waitsForAny, written } from '../support/interrupting.ts';
import { ended, makePair, noise, type Pair } from '../support/pair.ts';
import { terminate } from '../support/people.ts';
import { hasProsody, startProsody, type Prosody } from '../support/prosody.ts';
import { startRelay, type Relay } from '../support/relay.ts';

const SIZE = 9 * 1024 * 1024 + 4_321;
/** What is compared, and sent again when it differs. */
const BLOCK = 64 * 1024;
/** Bytes a second, and bytes that are durable when it is broken off. */
const FIRST = { rate: '3M', least: 5_000_000 };

describe.skipIf(!(await hasProsody()))('a damaged part', () => {
  let server: Prosody;
  let relay: Relay;
  let pair: Pair;
  let content: Buffer;
  let file: string;

  beforeAll(async () => {
    server = await startProsody();
    const { address: host, port } = server;
    relay = await startRelay({ host, port: 0 }, { host, port });
  });
  afterAll(async () => {
    await relay.stop();
    await server.stop();
  });
  beforeEach(async () => {
    pair = await makePair(server, `${server.address}:${relay.port}`);
    content = noise(SIZE);
    file = await pair.file('from/big.bin', content);
    await interruptMidway(pair, file, 'receiver', FIRST);
  });
  afterEach(() => pair.remove());

  /** Changes one bit of what has come, so that it does not show at the part's size, times or end. */
  async function flip(at: number): Promise<void> {
    const part = await open(join(pair.out, 'big.bin.jet-part'), 'r+');
    const byte = Buffer.alloc(1);
    await part.read(byte, 0, 1, at);
    await part.write(Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, at);
    await part.close();
  }
  const landed = async () => {
    expect(await pair.landed()).toEqual(['big.bin']);
    expect((await readFile(join(pair.out, 'big.bin'))).equals(content)).toBe(true);
  };
  /** Bytes that have left for the server, from both sides. */
  const sent = () => relay.connections().reduce((sum, { up }) => sum + up.length, 0);

  test.each([
    ['receiver', 'bob', 'alice'],
    ['sender', 'alice', 'bob'],
  ] as const)('is put right by the block when the %s goes on', async (_, who, other) => {
    const reached = written(pair.bob);
    await flip(1000);
    await flip(1_000_000);
    const waiting = await waitsForAny(pair[other], pair.out);
    const before = sent();
    // In-band all passes the relay.
    const got = await ended(pair[who].start(['resume', '--json', '--route', 'ibb']));
    expect(got, got.stdout + got.stderr).toMatchObject({ status: 0 });
    expect(got.event('end')).toMatchObject({ status: 'verified', bytes: SIZE });
    await landed();
    const told = who === 'bob' ? got.stderr : waiting.stderr;
    expect(told).toContain(`${2 * BLOCK} bytes of what had come of big.bin are wrong`);
    expect(await terminate(waiting)).toBe(0);
    // Base64 adds a third, the stanzas about it less than a tenth.
    const again = sent() - before - ((SIZE - reached) * 4) / 3;
    expect(again).toBeGreaterThan(2 * BLOCK);
    expect(again).toBeLessThan((SIZE - reached) * 0.1 + 2 * BLOCK * 1.5 + 300_000);
  });

  test('is put right by a later run when the one that repairs it is killed', async () => {
    await flip(1000);
    await flip(1_000_000);
    const holder = await waitsForAny(pair.alice, pair.out);
    const killed = pair.bob.start(['resume', '--json']);
    await killed.said(/"code":"part-wrong"/);
    killed.child.kill('SIGKILL');
    await killed.ended;
    expect(await pair.landed()).toEqual(['big.bin.jet-part']);
    const got = await ended(pair.bob.start(['resume', '--json']));
    expect(got, got.stdout + got.stderr).toMatchObject({ status: 0 });
    // All that was right stays: what is wrong is known still, and comes alone.
    expect(got.stdout).not.toMatch(/"code":"(starts-anew|part-wrong)"/);
    expect(got.event('end')).toMatchObject({ status: 'verified' });
    await landed();
    expect(await terminate(holder)).toBe(0);
  });

  test('is taken from zero when the other side cannot say what is wrong, and that is said', async () => {
    await flip(1000);
    const holder = await waitsForAny(pair.alice, pair.out);
    const resume = pair.bob.start(['resume', '--json', '--limit-rate', '2M']);
    await resume.said(/"event":"start"/);
    // Who has it open reads on; it cannot be opened again.
    const moved = `${dirname(file)}-moved`;
    await rename(dirname(file), moved);
    const got = await ended(resume);
    expect(got, got.stderr).toMatchObject({ status: 9 });
    expect(got.stderr).toMatch(
      /What is wrong in big\.bin cannot be found out\. It starts from zero\./,
    );
    await holder.said(/Refused a request of bob.*big\.bin does not exist/);
    expect(await pair.landed()).toEqual([]);
    await rename(moved, dirname(file));
    const again = await ended(pair.bob.start(['resume', '--json']));
    expect(again, again.stdout + again.stderr).toMatchObject({ status: 0 });
    expect(again.event('start')).toMatchObject({ resumed_from: 0 });
    await landed();
    expect(await terminate(holder)).toBe(0);
  });
});
