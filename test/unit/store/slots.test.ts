import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { admits, type Place, REMEMBER_MS, Slot, slotsSchema } from '../../../src/store/slots.ts';
import { openStore, type Store } from '../../../src/store/store.ts';
import { FakeClock } from '../../support/clock.ts';

const script = fileURLToPath(new URL('../../support/process-slot.ts', import.meta.url));

let folder: string;
let database: string;
let store: Store;
let clock: FakeClock;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'jet-slots-'));
  database = join(folder, 'state.db');
  store = openStore(database, [slotsSchema]);
  clock = new FakeClock();
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

const queue = (size: number, lasting = false, name = 'test') =>
  new Slot(store, clock, { name, size, lasting });

describe('admission', () => {
  const place = fc.record({ held: fc.boolean(), lasting: fc.boolean() });

  test('never lets more in than there are slots, nor lasting ones into the last of several', () => {
    fc.assert(
      fc.property(fc.array(place), fc.integer({ min: 1, max: 8 }), (list, size) => {
        const places: Place[] = list.map((one, ticket) => ({ ...one, ticket }));
        const held = places.filter((one) => one.held);
        const lasting = held.filter((one) => one.lasting);
        const admitted = places.filter((one) => !one.held && admits(places, one.ticket, size));
        if (admitted.length === 0) return;
        expect(held.length + admitted.length).toBeLessThanOrEqual(size);
        const lastingIn = admitted.filter((one) => one.lasting);
        if (lastingIn.length === 0) return;
        expect(lasting.length + lastingIn.length).toBeLessThanOrEqual(Math.max(1, size - 1));
      }),
    );
  });

  test('goes by turns, and leaves no slot empty that somebody may have', () => {
    fc.assert(
      fc.property(fc.array(place), fc.integer({ min: 1, max: 8 }), (list, size) => {
        const places: Place[] = list.map((one, ticket) => ({ ...one, ticket }));
        const waiting = places.filter((one) => !one.held);
        const turns = waiting.map((one) => admits(places, one.ticket, size));
        for (const kind of [true, false]) {
          const of = turns.filter((_, i) => waiting[i]?.lasting === kind);
          expect([...of].sort((a, b) => Number(b) - Number(a))).toEqual(of);
        }
        const free = size - places.filter((one) => one.held).length;
        const short = waiting.filter((one) => !one.lasting).length;
        expect(turns.filter(Boolean).length).toBeGreaterThanOrEqual(Math.min(free, short));
      }),
    );
  });
});

describe('slots', () => {
  test('are held by so many at once, the others come in the order in which they queued', () => {
    const [a, b, c, d] = [queue(2), queue(2), queue(2), queue(2)];
    expect([d, c, b, a].map((slot) => slot.take())).toEqual([false, false, true, true]);
    expect(d.standing).toMatchObject({ holders: [process.pid, process.pid], ahead: 1, size: 2 });
    a.release();
    a.release();
    expect(d.take()).toBe(false);
    expect(c.take()).toBe(true);
    expect(d.take()).toBe(false);
    b.release();
    expect(d.take()).toBe(true);
    for (const slot of [c, d]) slot.release();
    expect(clock.pending).toBe(0);
    expect(store.all('SELECT * FROM slot')).toEqual([]);
  });

  test('of two names do not meet', () => {
    const slots = [queue(1, false, 'a'), queue(1, false, 'b')];
    expect(slots.map((slot) => slot.take())).toEqual([true, true]);
    for (const slot of slots) slot.release();
  });

  test('the last one is kept from those that last, who hold up nobody behind them', () => {
    const lasting = [queue(4, true), queue(4, true), queue(4, true), queue(4, true)];
    const short = queue(4);
    expect(lasting.map((slot) => slot.take())).toEqual([true, true, true, false]);
    expect(short.take()).toBe(true);
    short.release();
    expect(lasting[3]?.take()).toBe(false);
    lasting[0]?.release();
    expect(lasting[3]?.take()).toBe(true);
    for (const slot of lasting) slot.release();
    const only = queue(1, true);
    expect(only.take()).toBe(true);
    only.release();
  });

  test('after a refusal there are as many as others hold, for a while; nobody comes in a pause', async () => {
    const [a, b, c] = [queue(4), queue(4), queue(4)];
    for (const slot of [a, b, c]) expect(slot.take()).toBe(true);
    c.refused();
    expect(c.held).toBe(false);
    const d = queue(4);
    expect(d.standing.size).toBe(2);
    await clock.advance(61_000);
    expect(d.take()).toBe(false);
    b.release();
    expect(d.take()).toBe(true);
    for (const slot of [a, d]) slot.release();

    // Alone and refused: one slot, after pauses that double.
    const pauses: number[] = [];
    for (let n = 0; n < 4; n++) {
      const slot = queue(4);
      const from = clock.now();
      while (!slot.take()) await clock.advance(100);
      pauses.push(clock.now() - from);
      slot.refused();
    }
    expect(pauses[0]).toBe(0);
    pauses.slice(2).forEach((pause, i) => expect(pause).toBeGreaterThan(pauses[i] ?? 0));

    await clock.advance(REMEMBER_MS + 1);
    const all = [queue(4), queue(4), queue(4), queue(4)];
    expect(all.map((slot) => slot.take())).toEqual([true, true, true, true]);
    for (const slot of all) slot.release();
  });

  test('a use that was accepted ends the pause, not the memory', async () => {
    const [a, b] = [queue(4), queue(4)];
    expect([a.take(), b.take()]).toEqual([true, true]);
    b.refused();
    a.accepted();
    const c = queue(4);
    expect(c.standing).toMatchObject({ size: 1, served: 1 });
    a.release();
    expect(c.take()).toBe(true);
    c.release();
    await clock.advance(0);
  });

  test('a clock that is set back shuts nobody out', () => {
    const a = queue(4);
    expect(a.take()).toBe(true);
    a.refused();
    store.run('UPDATE slot_limit SET until = until + 86400000, closed = closed + 86400000');
    const b = queue(4);
    expect(b.take()).toBe(true);
    expect(b.standing.size).toBe(4);
    b.release();
  });

  test('one that stopped asking holds nobody up, and has its turn when it asks again', async () => {
    const [a, stopped] = [queue(1), queue(1)];
    expect(a.take()).toBe(true);
    await clock.advance(21_000);
    const c = queue(1);
    a.release();
    expect(c.take()).toBe(true);
    await clock.advance(1000);
    expect(stopped.take()).toBe(false);
    c.release();
    expect(stopped.take()).toBe(true);
    stopped.release();
  });

  test('are not taken by two who see the last one free at the same moment', async () => {
    const first = queue(1);
    let between = () => undefined as unknown;
    const racing: Store = {
      file: store.file,
      all: (sql, ...params) => store.all(sql, ...params),
      get: (sql, ...params) => store.get(sql, ...params),
      run: (sql, ...params) => store.run(sql, ...params),
      transaction: (body) => {
        between();
        return store.transaction(body);
      },
      snapshot: (body) => store.snapshot(body),
      lightly: (body) => store.lightly(body),
      close: () => undefined,
    };
    const second = new Slot(racing, clock, { name: 'test', size: 1, lasting: false });
    // The first has not asked for long: the second one's turn has come, had the first not come back.
    await clock.advance(21_000);
    between = () => {
      between = () => undefined;
      expect(first.take()).toBe(true);
    };
    expect(second.take()).toBe(false);
    expect(second.standing.holders).toHaveLength(1);
    first.release();
    expect(second.take()).toBe(true);
    second.release();
  });

  test('beat while held; one elsewhere that stopped beating is dead, and there again if it was not', async () => {
    const a = queue(1);
    expect(a.take()).toBe(true);
    await clock.advance(300_000);
    store.run(`UPDATE slot SET machine = 'elsewhere', pid = 1`);
    const b = queue(1);
    expect(b.take()).toBe(false);
    store.run('UPDATE slot SET beat = ? WHERE held = 1', clock.now() - 61_000);
    expect(b.take()).toBe(true);
    await clock.advance(10_000);
    expect(b.standing.holders).toHaveLength(2);
    for (const slot of [a, b]) slot.release();
    expect(store.all('SELECT * FROM slot')).toEqual([]);
  });

  test('are freed by the death of their process, and kept until then', async () => {
    const child = spawn(process.execPath, ['--import', 'tsx', script, database], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    expect(line.toString().trim()).toBe('held');
    const slot = queue(1);
    expect(slot.take()).toBe(false);
    expect(slot.standing.holders).toEqual([child.pid]);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(slot.take()).toBe(true);
    // Nothing of the dead one is left behind.
    expect(store.all('SELECT pid FROM slot')).toEqual([{ pid: process.pid }]);
    slot.release();
  });
});
