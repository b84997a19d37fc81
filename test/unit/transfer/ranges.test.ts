/** A file in several sessions, both sides in this process: secrets, claims, and what finds out what is wrong. */
import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeDoubt, encodeDoubt, joined, total } from '../../../src/transfer/journal/doubt.ts';
import { Landing } from '../../../src/files/landing.ts';
import { blockOf, hashList, listSize, readHashList } from '../../../src/transfer/hash-list.ts';
import { memoryBytes } from '../../../src/transfer/listing.ts';
import { fileTarget, keptTarget } from '../../../src/transfer/targets.ts';
import { cheat } from '../../support/cheat.ts';
import { FakeClock } from '../../support/clock.ts';
import { createExchange } from '../../support/exchange.ts';
import { testFolder } from '../../support/folder.ts';
import { testRecords } from '../../support/records.ts';

const MOST = 16_384;
const BYTES = randomBytes(3 * MOST + 1);

describe('a file larger than one message', () => {
  test('has a key and an IV of its own for each range, and lands whole', async () => {
    const { send, alice, bob, folder } = await createExchange({ sealed: true, most: MOST });
    expect(await send(BYTES)).toBe(0);
    await bob.told('end');
    expect((await readFile(join(folder, 'source (1).bin'))).equals(BYTES)).toBe(true);
    for (const at of [0, 1])
      expect(new Set(alice.drawn.map((secret) => secret.split(' ')[at])).size).toBe(4);
    for (const { events } of [alice, bob]) {
      expect(events.filter(({ event }) => event === 'start')).toHaveLength(1);
      expect(events.filter(({ event }) => event === 'end')).toMatchObject([
        { status: 'verified', bytes: BYTES.length },
      ]);
    }
  });

  test('is refused to a program that is no jet before anything is offered', async () => {
    const { send, network, folder } = await createExchange({ most: MOST });
    const stanzas: string[] = [];
    network.tap((stanza) => {
      stanzas.push(stanza.toString());
      return undefined;
    });
    await expect(send(BYTES)).rejects.toMatchObject({ exit: 8, code: 'file-too-large' });
    expect(stanzas).toEqual([]);
    expect(await readdir(folder)).toEqual(['source.bin']);
  });

  test('whose receiver takes other bytes than were offered is not begun', async () => {
    cheat('accept', (said) => [{ ...said, extent: { offset: 0, length: 10 } }]);
    const { send, alice } = await createExchange({ sealed: true, most: MOST });
    expect(await send(BYTES)).toBe(6);
    expect(alice.events.filter(({ event }) => event === 'start')).toEqual([]);
  });

  test('whose receiver says that a range is the file is not verified', async () => {
    cheat('landed', (said) => [{ ...said, as: 'file' }]);
    const { send, alice } = await createExchange({ sealed: true, most: MOST });
    expect(await send(BYTES)).toBe(6);
    expect(alice.events.at(-1)).toMatchObject({ event: 'error', code: 'wrong-receipt' });
  });

  test('begins from zero once where its whole is not right again, and then the other side is wrong', async () => {
    let streams = 0;
    cheat('checksum', (extent, { range, file }) => {
      if (extent.offset === 0) streams += 1;
      // Of the file, not of the list.
      const lie = file && { file: extent.offset === 0 ? file : randomBytes(32) };
      return [extent, { range, ...lie }];
    });
    const { send, bob, said } = await createExchange({ sealed: true, most: MOST });
    expect(await send(BYTES)).not.toBe(0);
    expect(await bob.told('error')).toMatchObject({ code: 'hash-mismatch', exit: 6 });
    expect(said).toEqual(['starts-anew']);
    // The file, the hashes of its blocks, and the file once more.
    expect(streams).toBe(3);
  });

  test('whose ranges are right and whose whole is not what was said does not land', async () => {
    const lie = (file: Buffer | undefined) => file && { file: randomBytes(32) };
    cheat('checksum', (extent, { range, file }) => [extent, { range, ...lie(file) }]);
    const { send, bob, folder } = await createExchange({ sealed: true, most: MOST });
    expect(await send(BYTES)).not.toBe(0);
    expect(await bob.told('error')).toMatchObject({ code: 'hash-mismatch', exit: 6 });
    expect(await readdir(folder)).toEqual(['source.bin']);
  });
});

describe('a file larger than one message that is handed on as it comes', () => {
  const handedOn = async () => {
    const parts: Buffer[] = [];
    const flow = new Writable({
      write(bytes: Buffer, _encoding, done) {
        parts.push(Buffer.from(bytes));
        done();
      },
    });
    const exchange = await createExchange({ sealed: true, most: MOST, flow });
    return { ...exchange, came: () => Buffer.concat(parts) };
  };

  test('comes in order, once, and is told as what it is', async () => {
    const { send, alice, bob, came, folder } = await handedOn();
    expect(await send(BYTES)).toBe(0);
    await bob.told('end');
    expect(came().equals(BYTES)).toBe(true);
    expect(await readdir(folder)).toEqual(['source.bin']);
    const sha256 = createHash('sha256').update(BYTES).digest('hex');
    for (const [{ events }, status] of [
      [alice, 'delivered'],
      [bob, 'verified'],
    ] as const) {
      expect(events.filter(({ event }) => event === 'start')).toHaveLength(1);
      expect(events.filter(({ event }) => event === 'end')).toMatchObject([
        { status, as: 'stdout', bytes: BYTES.length, sha256 },
      ]);
    }
  });

  test.each([
    ['a range', (n: number) => n === 2, 2 * MOST],
    ['the whole', () => false, BYTES.length],
  ] as const)(
    'fails where the hash of %s is not right, and no more comes',
    async (_, at, length) => {
      let n = 0;
      cheat('checksum', (extent, { range, file }) => [
        extent,
        { range: at(++n) ? randomBytes(32) : range, ...(file && { file: randomBytes(32) }) },
      ]);
      const { send, bob, came } = await handedOn();
      expect(await send(BYTES)).not.toBe(0);
      expect(await bob.told('error')).toMatchObject({ code: 'hash-mismatch', exit: 6 });
      expect(came().equals(BYTES.subarray(0, length))).toBe(true);
    },
  );

  test('of which a range is granted that is not the next one is not sent', async () => {
    let n = 0;
    cheat('accept', (said) => [
      n++ === 1 ? { ...said, extent: { offset: 0, length: 2 * MOST } } : said,
    ]);
    const { send, alice } = await handedOn();
    expect(await send(BYTES)).toBe(6);
    expect(alice.events.at(-1)).toMatchObject({ event: 'error', exit: 6 });
  });

  test('is not gone on with once it has ended', async () => {
    const { send, bob, came, theirs, refused } = await handedOn();
    await send(BYTES);
    await bob.told('end');
    // Nothing of its id is in the journal by which anybody could come back to it.
    expect(theirs.records.journal.list()).toMatchObject([{ state: 'done', adopted: false }]);
    expect(came().length).toBe(BYTES.length);
    expect(refused).toEqual([]);
  });
});

describe('hashes of blocks', () => {
  test('are those of the bytes, whichever part of the list is read', async () => {
    const bytes = randomBytes(300_000);
    const list = hashList(memoryBytes(bytes), 65_536);
    const read = async (from: number, to: number) => {
      const parts: Buffer[] = [];
      for await (const part of list.read(from, to)) parts.push(part);
      return Buffer.concat(parts);
    };
    const all = await read(0, list.size);
    expect(readHashList(all)).toEqual(
      [0, 1, 2, 3, 4].map((n) =>
        createHash('sha256')
          .update(bytes.subarray(n * 65_536, (n + 1) * 65_536))
          .digest(),
      ),
    );
    expect((await read(40, 70)).equals(all.subarray(40, 70))).toBe(true);
  });

  test('are never more than 65,536, and those of smaller blocks are not served', () => {
    for (const size of [0, 1, 2 ** 32, 2 ** 32 + 1, 2 ** 40, Number.MAX_SAFE_INTEGER])
      expect(listSize(size, blockOf(size))).toBeLessThanOrEqual(65_536 * 32);
    for (const [size, block] of [
      [10, 65_535],
      [10, 1],
      [2 ** 33, 65_536],
    ] as const)
      expect(() => listSize(size, block)).toThrow('nobody serves');
  });
});

describe('what is wrong in a part', () => {
  test('is nothing that the part is known by while it comes again', async () => {
    const size = 100_000;
    const wrong = { offset: 70_000, length: 20_000 };
    const recorder = testRecords(new FakeClock()).begin({
      ...{ account: 'bob@b.test', peer: 'alice@a.test', direction: 'receive', jet: true },
      ...{ name: 'a.bin', size },
    });
    const plan = { target: join(await testFolder(), 'a.bin'), size, onConflict: 'rename' } as const;
    const target = await fileTarget(plan, 'file', recorder);
    await target?.write(randomBytes(size));
    const kept = await target?.abort(true);
    if (kept === undefined) throw new Error('nothing was kept');
    recorder.checkpoint(kept);
    recorder.note({ doubt: [wrong] });
    const never = () => expect.unreachable();
    const keeping = { recorder, size, most: size, say: never, skipped: never };
    const opened = await keptTarget(keeping);
    expect(opened?.extent).toEqual(wrong);
    await opened?.target.write(randomBytes(wrong.length));
    // What a process has that comes after one which was killed here: what the row says now.
    const { part = '', partIdentity: expected, written: offset } = recorder.row();
    if (expected === undefined) throw new Error('no identity');
    await opened?.target.abort(true);
    const again = await Landing.resume({ ...plan, part, offset, expected });
    await again?.landing.abort('remove');
  });

  const extents = fc
    .array(fc.tuple(fc.nat(1000), fc.integer({ min: 1, max: 1000 })), {
      minLength: 1,
      maxLength: 40,
    })
    .map((steps) => {
      let at = 0;
      return steps.map(([gap, length]) => {
        const offset = at + gap + 1;
        at = offset + length;
        return { offset, length };
      });
    });

  test('comes again in a few ranges, which leave out nothing', () => {
    fc.assert(
      fc.property(extents, (ranges) => {
        const few = joined(ranges);
        expect(few.length).toBeLessThanOrEqual(8);
        for (const { offset, length } of ranges)
          expect(
            few.some((one) => one.offset <= offset && offset + length <= one.offset + one.length),
          ).toBe(true);
        expect(total(few)).toBeGreaterThanOrEqual(total(ranges));
        if (ranges.length <= 8) expect(few).toEqual(ranges);
      }),
    );
  });

  test('is read from the journal as it was written', () => {
    fc.assert(
      fc.property(extents, (ranges) => {
        expect(decodeDoubt(encodeDoubt(ranges))).toEqual(ranges);
      }),
    );
    for (const word of ['unknown', 'repaired', 'anew'] as const)
      expect(decodeDoubt(encodeDoubt(word))).toBe(word);
    for (const text of ['', 'x', '1+', '+1', '1+2,3+4', '1e3+2', '-1+2'])
      expect(decodeDoubt(text)).toBe(undefined);
  });
});
