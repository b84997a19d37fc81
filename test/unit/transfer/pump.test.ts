import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Landing } from '../../../src/files/landing.ts';
import { FileSource } from '../../../src/files/source.ts';
import { aes128gcm } from '../../../src/jet/ciphers.ts';
import { freshSecret } from '../../../src/jet/secret.ts';
import { receiveStream, sendStream } from '../../../src/transfer/pump.ts';
import { byteStream as stream, socketPair } from '../../support/sockets.ts';

async function pair(): Promise<[Socket, Socket]> {
  const [ours, theirs] = await socketPair();
  onTestFinished(() => {
    ours.destroy();
    theirs.destroy();
  });
  return [ours, theirs];
}

test.each([0, 1, 4097, 5_000_001, 100_000_000])('%i bytes land over TCP', async (size) => {
  const folder = await mkdtemp(join(tmpdir(), 'pump-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const bytes = randomBytes(size);
  await writeFile(join(folder, 'in'), bytes);
  await symlink('/nonexistent', join(folder, 'out.jet-part'));
  await writeFile(join(folder, 'out'), 'old');
  const [a, b] = await pair();
  const secret = freshSecret(aes128gcm);
  const source = await FileSource.open(join(folder, 'in'));
  const landing = await Landing.open({ target: join(folder, 'out'), size, onConflict: 'rename' });
  if (landing === undefined) throw new Error('skipped');
  const common = { cipher: aes128gcm, secret };
  const [sent, got] = await Promise.all([
    sendStream({ ...common, source, bytestream: stream(a) }),
    receiveStream({ ...common, sink: landing, size, bytestream: stream(b) }),
  ]);
  await source.close();
  expect(await landing.finish()).toBe(join(folder, 'out (1)'));
  expect(got.sha256).toEqual(createHash('sha256').update(bytes).digest());
  expect(sent.sha256).toEqual(got.sha256);
  expect((await readFile(join(folder, 'out (1)'))).equals(bytes)).toBe(true);
  expect(await readFile(join(folder, 'out'), 'utf8')).toBe('old');
  expect((await readdir(folder)).sort()).toEqual(['in', 'out', 'out (1)', 'out.jet-part']);
});

test('a hash that is known is told as it is; the other side has its own', async () => {
  const bytes = randomBytes(300_000);
  const known = createHash('sha256').update('of something else').digest();
  const [a, b] = await pair();
  const common = { cipher: aes128gcm, secret: freshSecret(aes128gcm) };
  const sink = { write: () => undefined };
  const source = { read: () => Readable.from([bytes]) };
  const [sent, got] = await Promise.all([
    sendStream({ ...common, source, sha256: known, bytestream: stream(a) }),
    receiveStream({ ...common, sink, size: bytes.length, bytestream: stream(b) }),
  ]);
  expect(sent).toEqual({ bytes: bytes.length, sha256: known });
  expect(got.sha256).toEqual(createHash('sha256').update(bytes).digest());
});

test.each([
  ['tag-mismatch', 6, Buffer.alloc(116)],
  ['stream-ended', 7, Buffer.alloc(50)],
  ['too-many-bytes', 9, Buffer.alloc(117)],
])('%s ends with status %i', async (code, exit, wire) => {
  const [a, b] = await pair();
  a.on('error', () => undefined).end(wire);
  const sink = { write: () => Promise.resolve() };
  const options = { cipher: aes128gcm, secret: freshSecret(aes128gcm), sink, size: 100 };
  await expect(receiveStream({ ...options, bytestream: stream(b) })).rejects.toMatchObject({
    code,
    exit,
  });
});
