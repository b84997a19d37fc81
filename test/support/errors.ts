/** What every failure of a `jet` process has to look like. */
import { expect } from 'vitest';
import type { Outcome } from './jet.ts';

/** One sentence on stderr and nothing else, no stack trace, the documented status, no result. */
export function expectSentence(outcome: Outcome, status: number, sentence: RegExp): void {
  expect(outcome.stderr).toMatch(/^jet: [^\n]+\.\n$/);
  expect(outcome.stderr).toMatch(sentence);
  expect(outcome.stderr).not.toMatch(/Internal error|undefined|\bat .*:\d+:\d+|\.\.\n/);
  expect(outcome).toMatchObject({ status, signal: null, stdout: '' });
}
