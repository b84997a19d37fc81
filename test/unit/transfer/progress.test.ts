/** Progress is never ahead of what the transport says has been taken, also when nobody reads at the other end. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { systemClock, type Clock } from '../../../src/core/clock.ts';
import { aes128gcm } from '../../../src/jet/ciphers.ts';
import { freshSecret } from '../../../src/jet/secret.ts';
import type { Bytestream, TransportMethod } from '../../../src/jingle/transport.ts';
import type { TransferEvent } from '../../../src/transfer/events.ts';
import { sendStream } from '../../../src/transfer/pump.ts';
import { Reporter } from '../../../src/transfer/reporter.ts';
import { ibb } from '../../../src/transport/ibb/index.ts';
import { s5b } from '../../../src/transport/s5b/index.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { connectBoth, pair } from '../../support/negotiations.ts';
import { createNetwork } from '../../support/network.ts';

const BLOCK = 256 * 1024;

async function ends(method: () => TransportMethod, clock: Clock) {
  const network = createNetwork({ clock });
  const [alice, bob] = [network.connect('a@a.test/a'), network.connect('b@b.test/b')];
  for (const end of [alice, bob]) end.audience = () => true;
  const { initiator, responder } = await pair(method, [alice, bob], clock);
  const streams = await connectBoth(initiator, responder);
  for (const { duplex } of streams) duplex.on('error', () => undefined);
  return { streams, close: () => Promise.all([initiator.close(), responder.close()]) };
}

/** Sends `blocks` of 256 KiB; each event of progress is noted with what had been taken when it was said. */
function sends(bytestream: Bytestream, blocks: number) {
  const size = blocks * BLOCK;
  const said: { readonly shown: number; readonly taken: number }[] = [];
  const about = { id: 'x', direction: 'send', peer: 'b@b.test', file: 'f', size } as const;
  // Every 100 ms of this clock one is said: at each look another 100 have passed.
  let now = 0;
  const clock: Clock = { ...systemClock, monotonic: () => (now += 100), now: () => now };
  const reporter = new Reporter(about, clock, (event: TransferEvent) => {
    if (event.event === 'progress') said.push({ shown: event.bytes, taken: bytestream.taken() });
  });
  let read = 0;
  async function* blocksOf() {
    for (; read < blocks; read++) {
      await Promise.resolve();
      yield randomBytes(BLOCK);
    }
  }
  const done = sendStream({
    source: { read: blocksOf },
    bytestream,
    cipher: aes128gcm,
    secret: freshSecret(aes128gcm),
    onProgress: (bytes) => reporter.progress(bytes),
  });
  return { said, done, size, read: () => read * BLOCK };
}

test.each([
  ['SOCKS5', s5b, systemClock, 256],
  ['in-band', ibb, new FakeClock(), 24],
] as const)('%s', async (_, method, clock, blocks) => {
  const { streams, close } = await ends(method, clock);
  const [ours, theirs] = streams;
  const { said, done, size, read } = sends(ours, blocks);
  // The other side does not read: until nothing is taken any more.
  for (let before = -1; before < ours.taken() || before === 0;) {
    before = ours.taken();
    for (let turn = 0; turn < 20; turn++) await settle(20);
  }
  expect(said.length).toBeGreaterThan(0);
  expect(ours.taken()).toBeLessThan(size);
  expect(said.at(-1)?.shown).toBeLessThanOrEqual(ours.taken());
  // What was read of the file and waits in our own buffers counts for nothing.
  expect(ours.taken()).toBeLessThan(read() + BLOCK);
  let arrived = 0;
  theirs.duplex.on('data', (data: Buffer) => (arrived += data.length));
  await done;
  for (const { shown, taken } of said) expect(shown).toBeLessThanOrEqual(taken);
  expect(said.at(-1)?.shown).toBe(size);
  theirs.duplex.end();
  await close();
  expect(arrived).toBeGreaterThan(0);
});
