/**
 * What a peer that holds every key says of a file, and cheats: its sealed elements open, so only what they say
 * can show it. Both sides in this process; the one that cheats seals other words than it should.
 */
import { createCipheriv } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { describe, expect, test, vi } from 'vitest';
import { cheat, type Lie } from '../../support/cheat.ts';
import { createExchange } from '../../support/exchange.ts';
import { createHolding, HELD, sha256 } from '../../support/holding.ts';

const SIZE = HELD.length;
const OTHER = sha256(Buffer.from('another file'));
const WANTED = sha256(HELD);

describe('a receipt', () => {
  test.each<Lie<'landed'>>([
    ['another hash', (said) => [{ ...said, sha256: OTHER.digest }]],
    ['another size', (said) => [{ ...said, size: SIZE + 1 }]],
    ['fewer bytes', (said) => [{ ...said, length: SIZE - 1 }]],
    ['other bytes', (said) => [{ ...said, offset: 1, length: SIZE - 1 }]],
  ])('that names %s than were sent makes nothing verified', async (_what, change) => {
    cheat('landed', change);
    const { send, alice, bob } = await createExchange({ sealed: true });
    expect(await send(HELD)).toBe(6);
    await bob.told('end');
    expect(alice.events.at(-1)).toMatchObject({ event: 'error', code: 'wrong-receipt', exit: 6 });
    expect(alice.events.filter(({ event }) => event === 'end')).toMatchObject([
      { status: 'failed' },
    ]);
  });

  test.each(['stdout', 'range'] as const)('as %s is no file that lies there', async (as) => {
    cheat('landed', (said) => [{ ...said, as }]);
    const { send, alice } = await createExchange({ sealed: true });
    expect(await send(HELD)).toBe(0);
    expect(alice.events.at(-1)).toMatchObject({ event: 'end', status: 'delivered' });
  });

  test('as partly of a file is none', async () => {
    const missing = { count: 1, lines: [0] };
    cheat('landed', (said) => [{ ...said, as: 'partly', missing }]);
    const { send, alice, bob } = await createExchange({ sealed: true });
    expect(await send(HELD)).toBe(6);
    await bob.told('end');
    expect(alice.events.at(-1)).toMatchObject({
      event: 'error',
      code: 'sealed-malformed',
      exit: 6,
    });
    expect(alice.events.filter(({ event }) => event === 'end')).toMatchObject([
      { status: 'failed' },
    ]);
  });

  test('about other bytes than were served counts as taken by nobody', async () => {
    cheat('landed', (said) => [{ ...said, sha256: OTHER.digest }]);
    const { fetch, taken, served } = createHolding({}, true);
    await fetch(WANTED);
    await vi.waitFor(() => expect(taken).toEqual([false]));
    expect(served.at(-1)).toMatchObject({ event: 'error', code: 'wrong-receipt', exit: 6 });
  });
});

describe('an accept of an offer', () => {
  test.each<Lie<'accept'>>([
    ['of another size', ({ size, extent }) => [{ size: size + 1, extent }]],
    [
      'that wants more than there is',
      ({ size, extent: { length } }) => [{ size, extent: { offset: 1, length } }],
    ],
    ['that wants a part', ({ size }) => [{ size, extent: { offset: 0, length: size - 1 } }]],
    ['that wants hashes', ({ extent }) => [{ size: 32, extent, hashes: 65_536 }]],
  ])('%s has no byte leave', async (_what, change) => {
    cheat('accept', change);
    const { send, alice } = await createExchange({ sealed: true });
    expect(await send(HELD)).toBe(6);
    expect(alice.events.at(-1)).toMatchObject({ event: 'error', code: 'sealed-malformed' });
    expect(alice.events.filter(({ event }) => event === 'start')).toEqual([]);
  });
});

describe('a checksum', () => {
  test.each<Lie<'checksum'>>([
    ['of other bytes', (_, digests) => [{ offset: 1, length: SIZE - 1 }, digests]],
    ['with another hash', (extent) => [extent, { range: OTHER.digest }]],
    ['whose two hashes differ', (extent, { range }) => [extent, { range, file: OTHER.digest }]],
  ])('%s lets nothing land', async (_what, change) => {
    cheat('checksum', change);
    const { send, bob, folder } = await createExchange({ sealed: true });
    expect(await send(HELD)).toBe(6);
    expect(await bob.told('error')).toMatchObject({ exit: 6 });
    expect(await readdir(folder)).toEqual(['source.bin']);
  });
});

/** AES-GCM over what is shared, as it travels. */
function encrypted(key: Buffer, iv: Buffer): Buffer {
  const gcm = createCipheriv(key.length === 16 ? 'aes-128-gcm' : 'aes-256-gcm', key, iv, {
    authTagLength: 16,
  });
  return Buffer.concat([gcm.update(HELD), gcm.final(), gcm.getAuthTag()]);
}

describe('a request', () => {
  test('is answered under an IV of the one who encrypts, never under that of the one who asks', async () => {
    const ivs: Buffer[] = [];
    cheat('grant', (said) => {
      ivs.push(Buffer.from(said.iv));
      return [said];
    });
    const { fetch, blocks, secrets } = createHolding({}, true);
    const { exit, got } = await fetch(WANTED);
    const [secret] = secrets;
    const [iv] = ivs;
    if (secret === undefined || iv === undefined) throw new Error('nothing was asked or granted');
    const stream = Buffer.concat(blocks);
    expect(stream.equals(encrypted(secret.key, secret.iv))).toBe(false);
    expect(stream.equals(encrypted(secret.key, iv))).toBe(true);
    expect([exit, got.equals(HELD)]).toEqual([0, true]);
  });

  test.each<[...Lie<'grant'>, ranged: boolean]>([
    ['of other bytes', (said) => [{ ...said, extent: { offset: 1, length: SIZE - 1 } }], false],
    ['of other bytes', (said) => [{ ...said, extent: { offset: 0, length: 100 } }], true],
    ['of more bytes', (said) => [{ ...said, extent: { offset: 100, length: 101 } }], true],
    ['beyond the end', (said) => [{ ...said, file: { ...said.file, size: 150 } }], true],
    ['of another file', (said) => [{ ...said, file: { ...said.file, hashes: [OTHER] } }], false],
    ['of another file', (said) => [{ ...said, file: { ...said.file, hashes: [OTHER] } }], true],
    ['with an IV of another length', (said) => [{ ...said, iv: Buffer.alloc(16, 1) }], false],
  ])('is refused a grant %s (a part: %#)', async (_what, change, ranged) => {
    cheat('grant', change);
    const { fetch, blocks } = createHolding({}, true);
    const range = ranged ? { offset: 100, length: 100, hashes: [] } : undefined;
    const { exit, events, got } = await fetch(WANTED, range);
    expect(exit).toBe(6);
    expect(events.at(-1)).toMatchObject({ event: 'error', code: 'sealed-malformed' });
    expect(events.filter(({ event }) => event === 'start')).toEqual([]);
    expect([blocks, got.length]).toEqual([[], 0]);
  });

  test('is refused a grant under its own IV: the holder may have encrypted under it before', async () => {
    const { fetch, secrets, blocks } = createHolding({}, true);
    cheat('grant', (said) => [{ ...said, iv: secrets[0]?.iv ?? Buffer.alloc(12) }]);
    const { exit, events } = await fetch(WANTED);
    expect([exit, blocks]).toEqual([6, []]);
    expect(events.at(-1)).toMatchObject({ event: 'error', code: 'sealed-malformed' });
  });
});
