/** The process's umask, read once when the program starts and never changed. */
import { readFileSync } from 'node:fs';

/** The umask as the kernel shows it; undefined where it shows none. */
function shown(): number | undefined {
  try {
    const digits = /^Umask:\s*([0-7]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
    return digits === undefined ? undefined : Number.parseInt(digits, 8);
  } catch {
    return undefined;
  }
}

function read(): number {
  const mask = shown();
  if (mask !== undefined) return mask;
  // Elsewhere it can only be had by setting it: strict meanwhile, and before anything else runs.
  const before = process.umask(0o077);
  process.umask(before);
  return before;
}

const UMASK = read();

/** Permission bits of a new file of the user, as any other program would make it. */
export const FILE_MODE = 0o666 & ~UMASK;

/** Permission bits that were asked for, without set-id and sticky ones and what the user denies. */
export function allowedMode(mode: number): number {
  return mode & 0o777 & ~UMASK;
}
