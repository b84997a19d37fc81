/** A journal for sides of a transfer in this process. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Clock } from '../../src/core/clock.ts';
import { Journal } from '../../src/transfer/journal/journal.ts';
import { Records } from '../../src/transfer/journal/recorder.ts';
import { journalStore } from './journal-script.ts';

/** One that is empty. It stays open: the last lines of a transfer are written when its test is over. */
export function testRecords(clock: Clock): Records {
  const folder = mkdtempSync(join(tmpdir(), 'jet-records-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return new Records(new Journal(journalStore(join(folder, 'jet.db')), clock), clock);
}
