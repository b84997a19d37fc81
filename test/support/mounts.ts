/** Small file systems of their own, for tests that need a full, a read-only or a simple one. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

function mountAt(
  type: string,
  options: string,
  folder: string = mkdtempSync(join(tmpdir(), 'mount-')),
): string {
  try {
    execFileSync('mount', ['-t', type, '-o', options, 'none', folder], { stdio: 'pipe' });
  } catch (error) {
    rmSync(folder, { recursive: true });
    throw error;
  }
  return folder;
}

function unmount(folder: string): void {
  execFileSync('umount', [folder]);
  rmSync(folder, { recursive: true });
}

/** Whether this process may mount a file system of the type. */
export function canMount(type: 'tmpfs' | 'ramfs'): boolean {
  try {
    unmount(mountAt(type, 'mode=0700'));
    return true;
  } catch {
    return false;
  }
}

/** Mounts until the test has finished, on a folder that is empty or a new one; gives it. */
export function mount(type: 'tmpfs' | 'ramfs', options: string, at?: string): string {
  const folder = mountAt(type, options, at);
  onTestFinished(() => {
    unmount(folder);
  });
  return folder;
}

/** Makes a mount read-only. */
export function remountReadOnly(folder: string): void {
  execFileSync('mount', ['-o', 'remount,ro', folder]);
}
