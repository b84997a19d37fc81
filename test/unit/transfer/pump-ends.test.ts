/** How the pump ends: slow, silent and talkative peers, aborts, limits, crashes. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { open, readFile, readdir, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import type { Sink } from '../../../src/files/landing.ts';
import { FileSource } from '../../../src/files/source.ts';
import { StreamSink } from '../../../src/files/stream-sink.ts';
import { aes128gcm, aes256gcm, aesGcm } from '../../../src/jet/ciphers.ts';
import { Encryptor } from '../../../src/jet/gcm.ts';
import { freshSecret } from '../../../src/jet/secret.ts';
import { receiveStream, sendStream } from '../../../src/transfer/pump.ts';
import { runChild, startChild } from '../../support/children.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { testFolder } from '../../support/folder.ts';
import { byteStream, socketPair } from '../../support/sockets.ts';

const MIB = 1024 * 1024;
const cipher = aes128gcm;

async function pair(): Promise<[Socket, Socket]> {
  const sockets = await socketPair();
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  return sockets;
}

function source(bytes: Buffer, block = MIB) {
  return {
    read: () =>
      (async function* () {
        for (let at = 0; at < bytes.length; at += block)
          yield await Promise.resolve(bytes.subarray(at, at + block));
      })(),
  };
}

function collecting(): Sink & { readonly bytes: () => Buffer } {
  const blocks: Buffer[] = [];
  return {
    write(block) {
      blocks.push(block);
      return Promise.resolve();
    },
    bytes: () => Buffer.concat(blocks),
  };
}

function encrypted(plain: Buffer) {
  const secret = freshSecret(cipher);
  const gcm = new Encryptor(cipher, secret);
  return { secret, wire: Buffer.concat([gcm.update(plain), gcm.final()]) };
}

test('a sink that keeps its buffers gets them whole', async () => {
  const plain = randomBytes(3 * MIB);
  const secret = freshSecret(cipher);
  const [a, b] = await pair();
  const output = new PassThrough({ highWaterMark: 10 * MIB });
  await Promise.all([
    sendStream({ cipher, secret, source: source(plain), bytestream: byteStream(a) }),
    receiveStream({
      cipher,
      secret,
      sink: new StreamSink(output),
      size: plain.length,
      bytestream: byteStream(b),
    }),
  ]);
  output.end();
  expect(Buffer.concat((await output.toArray()) as Buffer[]).equals(plain)).toBe(true);
});

test('a connection that is gone once all has come does not hurry the sink', async () => {
  const plain = randomBytes(1000);
  const { secret, wire } = encrypted(plain);
  const [a, b] = await pair();
  let taken = false;
  const sink: Sink = {
    write: async () => {
      b.destroy();
      await once(b, 'close');
      await settle();
      taken = true;
    },
  };
  const receiving = receiveStream({
    ...{ cipher, secret, sink, size: plain.length, bytestream: byteStream(b) },
  });
  a.end(wire);
  await receiving;
  expect(taken).toBe(true);
});

test('a peer that never closes is not waited for', async () => {
  const plain = randomBytes(1000);
  const { secret, wire } = encrypted(plain);
  const [a, b] = await pair();
  a.write(wire);
  const sink = collecting();
  const got = await receiveStream({ cipher, secret, sink, size: 1000, bytestream: byteStream(b) });
  expect(got).toMatchObject({ bytes: 1000, verified: true });
  expect(sink.bytes().equals(plain)).toBe(true);
  // Our own end is closed, theirs still open.
  a.resume();
  await once(a, 'end');
  expect(a.writable).toBe(true);
});

test('bytes behind the tag: an error in its chunk, dropped after it', async () => {
  const plain = randomBytes(1000);
  const { secret, wire } = encrypted(plain);
  const common = { cipher, secret, size: 1000 };
  const together = new PassThrough();
  together.write(Buffer.concat([wire, Buffer.alloc(16)]));
  const none = collecting();
  await expect(
    receiveStream({ ...common, sink: none, bytestream: byteStream(together) }),
  ).rejects.toMatchObject({ code: 'too-many-bytes', exit: 9 });
  expect(none.bytes()).toHaveLength(0);

  const [a, b] = await pair();
  const sink = collecting();
  const receiving = receiveStream({ ...common, sink, bytestream: byteStream(b) });
  a.write(wire);
  await receiving;
  // More than any buffer holds: it is read, or the write would never end.
  await new Promise((resolve) => a.end(Buffer.alloc(20 * MIB), () => resolve(undefined)));
  expect(sink.bytes().equals(plain)).toBe(true);
  if (!b.readableEnded) await once(b, 'end');
});

test('a receiver that writes back does not hold up the sender', async () => {
  const secret = freshSecret(cipher);
  const [a, b] = await pair();
  b.resume();
  const talking = new Promise((resolve) => b.write(Buffer.alloc(20 * MIB), resolve));
  const plain = randomBytes(5 * MIB);
  const sent = sendStream({ cipher, secret, source: source(plain), bytestream: byteStream(a) });
  expect((await sent).bytes).toBe(plain.length);
  await talking;
});

test('a slow reader holds back the source', async () => {
  const secret = freshSecret(cipher);
  const [a, b] = await pair();
  const plain = Buffer.alloc(60 * MIB);
  let read = 0;
  const counted = {
    async *read() {
      for await (const block of source(plain).read()) {
        read += block.length;
        yield block;
      }
    },
  };
  let shown = 0;
  const sending = sendStream({
    cipher,
    secret,
    source: counted,
    bytestream: byteStream(a),
    onProgress: (bytes) => {
      expect(bytes).toBeGreaterThanOrEqual(shown);
      shown = bytes;
    },
  });
  // Nobody reads: the sender comes to rest when the kernel's buffers are full.
  for (let before = -1; before !== a.bytesWritten || !a.writableNeedDrain;) {
    before = a.bytesWritten;
    await settle(50);
  }
  expect(read).toBeLessThan(plain.length);
  expect(shown).toBeLessThanOrEqual(read);
  b.resume();
  expect((await sending).bytes).toBe(plain.length);
  expect(shown).toBe(plain.length);
});

test('an abort ends a sender whose peer does not read', async () => {
  const [a] = await pair();
  const abort = new AbortController();
  const sending = sendStream({
    cipher,
    secret: freshSecret(cipher),
    source: source(Buffer.alloc(60 * MIB)),
    bytestream: byteStream(a),
    signal: abort.signal,
  });
  const reason = new Error('cancelled');
  setImmediate(() => abort.abort(reason));
  await expect(sending).rejects.toBe(reason);
  expect(a.destroyed).toBe(true);
});

test('an abort ends a receiver whose peer is silent, and the peer sees no whole message', async () => {
  const [a, b] = await pair();
  const abort = new AbortController();
  const receiving = receiveStream({
    cipher,
    secret: freshSecret(cipher),
    sink: collecting(),
    size: 10,
    bytestream: byteStream(b),
    signal: abort.signal,
  });
  const reason = new Error('cancelled');
  setImmediate(() => abort.abort(reason));
  await expect(receiving).rejects.toBe(reason);
  a.on('error', () => undefined).resume();
  if (!a.closed && !a.readableEnded) await Promise.race([once(a, 'end'), once(a, 'close')]);
});

test('an abort ends a receiver whose sink is stuck', async () => {
  const { secret, wire } = encrypted(randomBytes(1000));
  const stream = new PassThrough();
  stream.write(wire);
  const abort = new AbortController();
  const reason = new Error('cancelled');
  const sink = {
    write: () => {
      abort.abort(reason);
      return new Promise<void>(() => undefined);
    },
  };
  const { signal } = abort;
  await expect(
    receiveStream({ cipher, secret, sink, size: 1000, bytestream: byteStream(stream), signal }),
  ).rejects.toBe(reason);
});

test('a signal that was aborted before is heeded', async () => {
  const signal = AbortSignal.abort(new Error('before'));
  const common = { cipher, secret: freshSecret(cipher), signal };
  for (const run of [
    () =>
      sendStream({
        ...common,
        source: source(Buffer.alloc(1)),
        bytestream: byteStream(new PassThrough()),
      }),
    () =>
      receiveStream({
        ...common,
        sink: collecting(),
        size: 1,
        bytestream: byteStream(new PassThrough()),
      }),
  ])
    await expect(run()).rejects.toThrow('before');
});

test('an error of the sink is told as it is, and a lost connection as one', async () => {
  const { secret, wire } = encrypted(randomBytes(1000));
  const stream = new PassThrough();
  stream.write(wire);
  const full = new Error('sink');
  const sink = { write: () => Promise.reject(full) };
  const common = { cipher, secret, size: 1000 };
  await expect(receiveStream({ ...common, sink, bytestream: byteStream(stream) })).rejects.toBe(
    full,
  );
  const [a, b] = await pair();
  const receiving = receiveStream({ ...common, sink: collecting(), bytestream: byteStream(b) });
  a.write(wire.subarray(0, 100), () => a.resetAndDestroy());
  await expect(receiving).rejects.toMatchObject({ code: 'stream-ended', exit: 7 });
  const [c, d] = await pair();
  const sending = sendStream({
    ...common,
    source: source(Buffer.alloc(60 * MIB)),
    bytestream: byteStream(c),
  });
  d.once('data', () => d.resetAndDestroy());
  await expect(sending).rejects.toMatchObject({ code: 'stream-ended', exit: 7 });
});

test('a source that fails cuts the stream: the peer gets no whole message', async () => {
  const folder = await testFolder();
  await writeFile(join(folder, 'a'), randomBytes(3 * MIB));
  const file = await FileSource.open(join(folder, 'a'));
  onTestFinished(() => file.close());
  await writeFile(join(folder, 'a'), 'short');
  const secret = freshSecret(cipher);
  const [a, b] = await pair();
  const sending = sendStream({ cipher, secret, source: file, bytestream: byteStream(a) });
  const receiving = receiveStream({
    cipher,
    secret,
    sink: collecting(),
    size: file.size,
    bytestream: byteStream(b),
  });
  const [sent, received] = await Promise.allSettled([sending, receiving]);
  expect(sent).toMatchObject({ reason: { code: 'source-changed', exit: 8 } });
  expect(received).toMatchObject({ reason: { code: 'stream-ended', exit: 7 } });
});

test('what the cipher refuses is the user’s error', async () => {
  const wrong = freshSecret(aes256gcm);
  const small = aesGcm(128, 64);
  const secret = freshSecret(small);
  const streamed = () => byteStream(new PassThrough().resume());
  const sink = collecting();
  const send = (plain: Buffer, key = secret) =>
    sendStream({ cipher: small, secret: key, source: source(plain), bytestream: streamed() });
  const receive = (size: number, key = secret) =>
    receiveStream({ cipher: small, secret: key, sink, size, bytestream: streamed() });
  const bad = { code: 'bad-secret', exit: 6 };
  await expect(send(Buffer.alloc(1), wrong)).rejects.toMatchObject(bad);
  await expect(receive(1, wrong)).rejects.toMatchObject(bad);
  await expect(send(Buffer.alloc(65))).rejects.toMatchObject({ code: 'file-too-large', exit: 8 });
  await expect(receive(65)).rejects.toMatchObject({ code: 'file-too-large', exit: 9 });
});

test('every error reads on after a prefix and says what to do', async () => {
  const failures = await Promise.allSettled([
    receiveStream({
      cipher,
      secret: freshSecret(cipher),
      sink: collecting(),
      size: 4,
      bytestream: byteStream(new PassThrough().end(Buffer.alloc(20))),
    }),
    receiveStream({
      cipher,
      secret: freshSecret(cipher),
      sink: collecting(),
      size: 4,
      bytestream: byteStream(new PassThrough().end()),
    }),
  ]);
  for (const failure of failures) {
    const { message } = (failure as PromiseRejectedResult).reason as Error;
    expect(message).toMatch(/^[a-z].+[.:] .*(?:Try|Ask).+\.$/);
  }
});

test('a limited sender keeps its rate, and an abort does not wait for it', async () => {
  const clock = new FakeClock();
  const plain = randomBytes(40_000);
  const secret = freshSecret(cipher);
  const [a, b] = await pair();
  let arrived = 0;
  const common = { cipher, secret, limitRate: 10_000, clock };
  b.on('data', (data: Buffer) => (arrived += data.length));
  let done = false;
  const sending = sendStream({
    ...common,
    source: source(plain),
    bytestream: byteStream(a),
  }).then(() => {
    done = true;
  });
  // A quarter of a second's worth is free, the rest takes 3.75 s.
  await clock.advance(1000);
  expect(arrived).toBeLessThanOrEqual(15_000);
  await clock.advance(2700);
  expect(done).toBe(false);
  await clock.advance(100);
  await sending;
  expect(clock.monotonic()).toBe(3800);

  const abort = new AbortController();
  const [c, d] = await pair();
  d.resume();
  const { signal } = abort;
  const aborted = sendStream({
    ...common,
    source: source(plain),
    bytestream: byteStream(c),
    signal,
  });
  await settle();
  abort.abort(new Error('cancelled'));
  await expect(aborted).rejects.toThrow('cancelled');
  expect(clock.pending).toBe(0);
});

test('a receiver that is killed leaves the target as it was', async () => {
  const folder = await testFolder();
  const target = join(folder, 'a');
  await writeFile(target, 'old');
  const size = 40 * MIB;
  const { secret, wire } = encrypted(randomBytes(size));
  const server = createServer((socket) => {
    // All but the end, so that it waits when it is killed.
    socket.on('error', () => undefined).write(wire.subarray(0, size - MIB));
  });
  onTestFinished(() => {
    server.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const hex = [secret.key.toString('hex'), secret.iv.toString('hex')];
  const child = startChild(['receive', String(port), target, String(size), ...hex]);
  await child.said('some');
  child.process.kill('SIGKILL');
  expect((await child.ended).signal).toBe('SIGKILL');
  expect(await readFile(target, 'utf8')).toBe('old');
  expect((await readdir(folder)).sort()).toEqual(['a', 'a.jet-part']);
});

// What a process of Node takes by itself differs by some 40 MB between 20 and 24: it is measured, and set apart.
test('512 MB go through a process that takes 100 MB for it at the most, both ends in it', async () => {
  const folder = await testFolder();
  const size = 512 * MIB;
  const file = await open(join(folder, 'in'), 'w');
  // Holes cost no disk; some data, so that it is not all zeros.
  await file.truncate(size);
  await file.write(randomBytes(MIB), 0, MIB, 100 * MIB);
  await file.close();
  const said = await runChild(['pump', join(folder, 'in'), join(folder, 'out')]);
  const result = JSON.parse(said) as Record<'before' | 'most' | 'bytes', number> & {
    same: boolean;
  };
  expect(result).toMatchObject({ same: true, bytes: size });
  expect(result.most - result.before).toBeLessThan(100e6);
});
