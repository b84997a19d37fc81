import { randomBytes } from 'node:crypto';
import { PassThrough, Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { StreamSink } from '../../../src/files/stream-sink.ts';
import { settle } from '../../support/clock.ts';

test('a stream that keeps the buffers gets them whole', async () => {
  const stream = new PassThrough({ highWaterMark: 10_000_000 });
  const sink = new StreamSink(stream);
  const blocks = [randomBytes(300_000), randomBytes(1), randomBytes(70_000)];
  for (const block of blocks) await sink.write(Buffer.from(block));
  stream.end();
  const got = (await stream.toArray()) as Buffer[];
  expect(Buffer.concat(got).equals(Buffer.concat(blocks))).toBe(true);
});

test('it holds back until the stream has passed the bytes on', async () => {
  const waiting: (() => void)[] = [];
  const stream = new Writable({
    write: (_chunk, _encoding, done) => {
      waiting.push(done);
    },
  });
  let written = false;
  const writing = new StreamSink(stream).write(Buffer.alloc(10)).then(() => {
    written = true;
  });
  await settle();
  expect(written).toBe(false);
  waiting[0]?.();
  await writing;
});

test('an error of the stream is the user’s, once, and ends nothing else', async () => {
  const stream = new Writable({
    write: (_chunk, _encoding, done) => {
      done(Object.assign(new Error('broken pipe'), { code: 'EPIPE' }));
    },
  });
  const sink = new StreamSink(stream);
  const refusal = { code: 'output-closed', exit: 8, cause: { code: 'EPIPE' } };
  await expect(sink.write(Buffer.alloc(1))).rejects.toMatchObject(refusal);
  await expect(sink.write(Buffer.alloc(1))).rejects.toMatchObject(refusal);
  await settle();
});

test('a stream that goes while bytes wait in it is an error', async () => {
  const stream = new Writable({ write: () => undefined });
  const writing = new StreamSink(stream).write(Buffer.alloc(1));
  stream.destroy();
  await expect(writing).rejects.toMatchObject({ code: 'output-closed' });
});

test('what is freed has been passed on before', async () => {
  const seen: string[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      seen.push(chunk.toString());
      setImmediate(done);
    },
  });
  const sink = new StreamSink(stream, true);
  const block = Buffer.allocUnsafeSlow(5).fill('a');
  const writing = sink.write(block);
  expect(block.toString()).toBe('aaaaa');
  await writing;
  expect([block.length, seen]).toEqual([0, ['aaaaa']]);
});
