/** Processes that own rows of the store: what they are known by, and whether they still run. */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { systemCode } from '../core/errors.ts';
import type { Row } from './store.ts';

/** How often in ms an owner says that it lives. */
export const BEAT_MS = 10_000;
/** After how long a silent owner that cannot be looked up (another machine or container) counts as dead. */
const SILENT_MS = 60_000;

/** What a process is known by. */
export interface Owner {
  readonly machine: string;
  readonly pid: number;
  readonly started: string;
}

/** The owner that a row names in the columns of the same names. */
export function ownerOf(row: Row): Owner {
  return {
    machine: String(row['machine']),
    pid: Number(row['pid']),
    started: String(row['started']),
  };
}

/**
 * Whether the process still runs.
 *
 * @param silent - ms since it last said so, which counts where it cannot be looked up
 */
export function lives(owner: Owner, silent: number): boolean {
  if (owner.machine !== thisProcess().machine) return silent < SILENT_MS;
  const started = startOf(owner.pid);
  // A process that is only suspended still holds its lock, however long it has been silent.
  if (started !== undefined) return started === owner.started;
  return exists(owner.pid) && silent < SILENT_MS;
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}

/**
 * Start time of a process in ticks since boot, where the system tells it; undefined otherwise. Of one that is dead
 * and only waits for its parent to notice (none may ever, in a container) it is that of no process.
 */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The program's name, in brackets, may hold spaces and brackets itself.
    const [state = '', ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return /^[ZX]$/.test(state) ? 'dead' : fields[18];
  } catch {
    return undefined;
  }
}

let boot: string | undefined;

/** What tells this run of the system from every other, where the system tells it; '' otherwise. */
export function thisBoot(): string {
  boot ??= tryRead(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim());
  return boot;
}

let known: Owner | undefined;

/** This process. */
export function thisProcess(): Owner {
  known ??= {
    machine: [hostname(), thisBoot(), tryRead(() => readlinkSync('/proc/self/ns/pid'))].join(' '),
    pid: process.pid,
    started: startOf(process.pid) ?? '',
  };
  return known;
}

function tryRead(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}
