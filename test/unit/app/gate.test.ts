import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AccountGate } from '../../../src/app/gate.ts';
import { slotsSchema } from '../../../src/store/slots.ts';
import { openStore, type Store } from '../../../src/store/store.ts';
import { FakeClock } from '../../support/clock.ts';

let folder: string;
let store: Store;
let clock: FakeClock;
let said: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'jet-gate-'));
  store = openStore(join(folder, 'state.db'), [slotsSchema]);
  clock = new FakeClock();
  said = [];
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

const gate = (most: number, options: { lasting?: boolean; wait?: number } = {}) =>
  new AccountGate(store, clock, 'a@x.org', {
    most,
    lasting: options.lasting ?? false,
    wait: options.wait ?? 30_000,
    say: (what) => said.push(what),
  });

/** Everything that a promise settles to, for looking at it without waiting. */
function watch(promise: Promise<void>): { readonly end: () => unknown } {
  let end: unknown = 'waits';
  promise.then(
    () => (end = 'in'),
    (error: unknown) => (end = error),
  );
  return { end: () => end };
}

test('says once what is waited for, and goes in when its turn has come', async () => {
  const [a, b, c] = [gate(1), gate(1), gate(1)];
  await a.enter();
  await a.enter();
  const [second, third] = [watch(b.enter()), watch(c.enter())];
  await clock.advance(5000);
  expect(said).toEqual([
    `a connection slot of a@x.org: the only one is taken by process ${process.pid}`,
    `a connection slot of a@x.org: the only one is taken by process ${process.pid}; 1 waits ahead`,
  ]);
  a.leave();
  await clock.advance(1000);
  expect([second.end(), third.end()]).toEqual(['in', 'waits']);
  b.leave();
  await clock.advance(1000);
  expect(third.end()).toBe('in');
  c.leave();
  expect(clock.pending).toBe(0);
});

test('gives up when nothing moves for so long, and says who is in the way', async () => {
  const holders = [1, 2, 3].map(() => gate(4, { lasting: true }));
  for (const one of holders) await one.enter();
  const fourth = watch(gate(4, { lasting: true }).enter());
  const sender = gate(4);
  await sender.enter();
  const late = watch(gate(4).enter());
  await clock.advance(29_000);
  expect([fourth.end(), late.end()]).toEqual(['waits', 'waits']);
  await clock.advance(2000);
  const pid = String(process.pid);
  expect(fourth.end()).toMatchObject({ code: 'slots-taken', exit: 3 });
  expect(late.end()).toMatchObject({ code: 'slots-taken', exit: 3 });
  expect(said[0]).toBe(
    `a connection slot of a@x.org: 3 of 4 are taken by processes ${pid}, ${pid}, ${pid}, the last is kept for commands that end`,
  );
  expect(String(late.end())).toContain(
    `No connection slot of a@x.org became free for 30 seconds: all 4 are taken by processes ${pid}, ${pid}, ${pid}, ${pid}. ` +
      'End one of these, wait longer with --wait, or allow more with --slots.',
  );
  for (const one of [...holders, sender]) one.leave();
  expect(clock.pending).toBe(0);
  expect(store.all('SELECT * FROM slot')).toEqual([]);
});

test('waits for longer as long as the queue moves', async () => {
  const gates = Array.from({ length: 10 }, () => gate(1));
  const states = gates.map((one) => watch(one.enter()));
  for (const [n, one] of gates.entries()) {
    await clock.advance(20_000);
    expect(states[n]?.end(), String(n)).toBe('in');
    one.accepted();
    one.leave();
  }
  expect(clock.pending).toBe(0);
});

test('who is refused queues again, and in the end hears what the server said', async () => {
  const a = gate(4);
  let entries = 0;
  const tries = (async () => {
    for (;;) {
      await a.enter();
      entries += 1;
      a.refused('no more sessions');
    }
  })();
  const state = watch(tries);
  // Time runs on from the first refusal.
  await clock.advance(31_000);
  expect(state.end()).toMatchObject({ code: 'session-limit', message: 'no more sessions' });
  expect(entries).toBeGreaterThan(2);
  expect(entries).toBeLessThan(8);
  expect(said).toEqual(['a connection slot of a@x.org: the server allows no more at this time']);
});

test('two that a full server refuses in turn do not keep each other waiting for ever', async () => {
  const states = [1, 2, 3].map(() => {
    const one = gate(4);
    return watch(
      (async () => {
        for (;;) {
          await one.enter();
          one.refused('no more sessions');
        }
      })(),
    );
  });
  await clock.advance(180_000);
  for (const state of states) expect(state.end()).toMatchObject({ exit: 3 });
});

test('an abort ends the wait and leaves no trace', async () => {
  const [a, b] = [gate(1), gate(1)];
  await a.enter();
  const abort = new AbortController();
  const state = watch(b.enter(abort.signal));
  await clock.advance(1000);
  abort.abort(new Error('enough'));
  await clock.advance(1000);
  expect(state.end()).toMatchObject({ message: 'enough' });
  await expect(b.enter(abort.signal)).rejects.toThrow('enough');
  expect(store.all('SELECT * FROM slot')).toHaveLength(1);
  a.leave();
  expect(clock.pending).toBe(0);
});
