import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { acquire, locksSchema, withLock } from '../../../src/store/locks.ts';
import { openStore, type Store } from '../../../src/store/store.ts';
import { FakeClock } from '../../support/clock.ts';

const script = fileURLToPath(new URL('../../support/process-lock.ts', import.meta.url));
const run = (...args: string[]) =>
  spawn(process.execPath, ['--import', 'tsx', script, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });

let folder: string;
let database: string;
let store: Store;
let clock: FakeClock;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'jet-locks-'));
  database = join(folder, 'state.db');
  store = openStore(database, [locksSchema]);
  clock = new FakeClock();
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

describe('locks', () => {
  it('has one owner at a time, with growing fencing numbers', () => {
    const first = acquire(store, clock, 'a');
    expect(first?.held()).toBe(true);
    expect(acquire(store, clock, 'a')).toBeUndefined();
    expect(acquire(store, clock, 'b')?.fence).toBe(1);
    first?.release();
    first?.release();
    expect(first?.held()).toBe(false);
    const second = acquire(store, clock, 'a');
    expect(second?.fence).toBe((first?.fence ?? 0) + 1);
    second?.release();
  });

  it('waits in turn, gives up in time, and lets go after an error', async () => {
    const lock = acquire(store, clock, 'a');
    const late = withLock(store, clock, 'a', () => 1, { wait: 5000 });
    const caught = expect(late).rejects.toMatchObject({ code: 'lock-busy', exit: 8 });
    await clock.advance(6000);
    await caught;
    const waiting = withLock(store, clock, 'a', () => Promise.reject(new Error('mine')), {
      wait: 60_000,
    });
    const thrown = expect(waiting).rejects.toThrow('mine');
    await clock.advance(1000);
    lock?.release();
    await clock.advance(1000);
    await thrown;
    expect(clock.pending).toBe(0);
    const last = acquire(store, clock, 'a');
    expect(last).toBeDefined();
    last?.release();
  });

  it('beats while held; an owner elsewhere that stopped beating is dead', async () => {
    const lock = acquire(store, clock, 'a');
    await clock.advance(300_000);
    store.run(`UPDATE lock SET machine = 'elsewhere', pid = 1`);
    expect(acquire(store, clock, 'a')).toBeUndefined();
    store.run('UPDATE lock SET beat = ?', clock.now() - 61_000);
    const taken = acquire(store, clock, 'a');
    expect(taken?.fence).toBe(2);
    expect(lock?.held()).toBe(false);
    lock?.release();
    expect(taken?.held()).toBe(true);
    taken?.release();
  });

  it('is freed by the death of its process, and kept from another process until then', async () => {
    const child = run('hold', database);
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    expect(line.toString().trim()).toBe('held 1');
    expect(acquire(store, clock, 'test')).toBeUndefined();
    child.kill('SIGKILL');
    await once(child, 'exit');
    const lock = acquire(store, clock, 'test');
    expect(lock?.fence).toBe(2);
    lock?.release();
  });

  it('excludes processes from one another', async () => {
    const counter = join(folder, 'counter');
    writeFileSync(counter, '0');
    const children = Array.from({ length: 4 }, () => run('count', database, counter));
    await Promise.all(children.map((child) => once(child, 'exit')));
    expect(readFileSync(counter, 'utf8')).toBe('20');
  }, 60_000);

  it('keeps its log when it is open twice here and another process comes and goes', async () => {
    acquire(store, clock, 'a')?.release();
    const again = openStore(database, [locksSchema]);
    const log = statSync(`${database}-wal`).ino;
    const counter = join(folder, 'counter');
    writeFileSync(counter, '0');
    await once(run('count', database, counter), 'exit');
    expect(readFileSync(counter, 'utf8')).toBe('5');
    // Were it gone, both sides would write where the other does not see it.
    expect(statSync(`${database}-wal`).ino).toBe(log);
    expect(acquire(again, clock, 'test')?.fence).toBe(6);
    again.close();
  });
});
