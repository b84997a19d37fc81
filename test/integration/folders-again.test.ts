/** `jet send` of a folder that was sent before: only what is missing travels. Real processes over a real server. */
import {
  appendFile,
  lstat,
  open,
  readdir,
  readFile,
  rm,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { waitsForAny } from '../support/interrupting.ts';
import type { JetProcess } from '../support/jet.ts';
import { makePair, noise, type Pair } from '../support/pair.ts';
import { terminate } from '../support/people.ts';
import { hasProsody } from '../support/prosody.ts';
import { tappedProxy } from '../support/tapped-proxy.ts';

/** More than the list, what became of the files, tags and handshakes have together. */
const FRAME = 8_000;

describe.skipIf(!(await hasProsody()) || process.platform !== 'linux')(
  'a folder that was sent before',
  () => {
    const tapped = tappedProxy();
    let pair: Pair;
    let receiver: JetProcess;
    let root: string;
    let contents: Map<string, Buffer>;

    beforeEach(async () => {
      pair = await makePair(tapped.server());
      receiver = await waitsForAny(pair.bob, pair.out);
      contents = new Map([
        ...Array.from({ length: 12 }, (_, n) => [`many/small ${n}`, noise(20_000 + n)] as const),
        ['in/large', noise(1_500_000)],
        ['in/none', Buffer.alloc(0)],
        ['other', noise(900_000)],
      ]);
      for (const [name, bytes] of contents) await pair.file(`from/photos/${name}`, bytes);
      root = dirname(await pair.file('from/photos/other', contents.get('other') ?? noise(1)));
      await send();
    });
    afterEach(async () => {
      await terminate(receiver);
      await pair.remove();
    });

    const send = () => tapped.send(pair, root);
    const there = (name: string) => join(pair.out, 'photos', name);
    const put = async (name: string, bytes: Buffer) => {
      await writeFile(join(root, name), bytes);
      contents.set(name, bytes);
    };
    /** What the sender has lies there, and beside it these. */
    const lies = async (...beside: readonly string[]) => {
      expect(await pair.landed()).toEqual(['photos']);
      const found = await readdir(join(pair.out, 'photos'), { recursive: true });
      expect(found.sort()).toEqual([...contents.keys(), ...beside, 'in', 'many'].sort());
    };
    const holds = async (name: string, bytes = contents.get(name)) => {
      expect(bytes?.equals(await readFile(there(name))), name).toBe(true);
    };

    test('sends no byte of the files where nothing has changed, however often', async () => {
      const { ino } = await lstat(there('in/large'));
      for (let run = 0; run < 2; run++) expect((await send()).passed).toBeLessThan(FRAME);
      await lies();
      for (const name of contents.keys()) await holds(name);
      expect((await lstat(there('in/large'))).ino).toBe(ino);
    });

    test('sends what is new, what was changed, and what is gone there', async () => {
      await put('in/new', noise(300_000));
      const before = contents.get('many/small 3');
      await put('many/small 3', noise(50_000));
      await rm(there('other'));
      const { passed } = await send();
      expect(passed).toBeGreaterThan(1_250_000);
      expect(passed).toBeLessThan(1_250_000 + 12 * 21_000 + FRAME);
      await lies('many/small 3 (1)');
      await holds('many/small 3', before);
      await holds('many/small 3 (1)', contents.get('many/small 3'));
      for (const name of ['in/new', 'other', 'in/large', 'many/small 11']) await holds(name);
    });

    test('sends what was changed there again, beside what it was changed to', async () => {
      await appendFile(there('other'), 'x');
      const { passed } = await send();
      expect(passed).toBeGreaterThan(900_000);
      expect(passed).toBeLessThan(900_000 + FRAME);
      await lies('other (1)');
      await holds('other (1)', contents.get('other'));
      // What landed by another name is known by that.
      expect((await send()).passed).toBeLessThan(FRAME);
      await lies('other (1)');
    });

    test('does not learn of a file that came from elsewhere', async () => {
      await put('in/new', noise(300_000));
      await writeFile(there('in/new'), contents.get('in/new') ?? '');
      const { mtime } = await lstat(join(root, 'in/new'));
      await utimes(there('in/new'), mtime, mtime);
      expect((await send()).passed).toBeGreaterThan(300_000);
      await lies('in/new (1)');
    });

    test('is put right where a file is another one, though by its size and time it is not', async () => {
      const path = join(root, 'in/large');
      await utimes(path, 1_700_000_000, 1_700_000_000);
      // Of another time it comes again, and lies there already.
      expect((await send()).passed).toBeGreaterThan(1_500_000);
      await lies();
      const large = Buffer.from(contents.get('in/large') ?? '');
      large[1] = (large[1] ?? 0) ^ 1;
      const file = await open(path, 'r+');
      await file.write(large, 0, 2, 0);
      await file.utimes(1_700_000_000, 1_700_000_000);
      await file.close();
      const { passed, sent } = await send();
      expect(passed).toBeLessThan(64 * 1024 + 2 * FRAME);
      expect(sent.event('end')).toMatchObject({ status: 'verified' });
      await lies('in/large (1)');
      await holds('in/large (1)', large);
    });

    test('is sent again where the journal knows nothing of it any more', async () => {
      await terminate(receiver);
      expect((await pair.bob.run(['transfers', 'clean'])).status).toBe(0);
      receiver = await waitsForAny(pair.bob, pair.out);
      expect((await send()).passed).toBeGreaterThan(2_600_000);
    });
  },
);
