/** Whether the process still runs that a row of the store names. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { lives, thisProcess } from '../../../src/store/owner.ts';

const stat = (pid: number) => readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1] ?? '';

describe.skipIf(!existsSync('/proc/self/stat'))('a process', () => {
  it('lives while it runs, as itself alone', () => {
    expect(lives(thisProcess(), Infinity)).toBe(true);
    expect(lives({ ...thisProcess(), started: '1' }, 0)).toBe(false);
  });

  it('is dead when it has ended, though its parent never asks for its end', async () => {
    // What takes the shell's place knows nothing of the child.
    const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60']);
    onTestFinished(() => void parent.kill('SIGKILL'));
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(String(line));
    const owner = { ...thisProcess(), pid, started: stat(pid).split(' ')[19] ?? '' };
    expect(lives(owner, Infinity)).toBe(true);
    process.kill(pid, 'SIGKILL');
    while (!stat(pid).startsWith('Z')) await setTimeout(5);
    expect(lives(owner, 0)).toBe(false);
  });
});
