/** What every failure of a `jet` process has to look like. */
import { expect } from 'vitest';
import type { Outcome } from './jet.ts';

/** What is said of trust, whatever else happens: also with `--quiet`. */
const TRUST = /^(?:First contact with|The device \d+ of) [^\n]+\n/gm;

/** One sentence on stderr and nothing else but trust, no stack trace, the documented status, no result. */
export function expectSentence(outcome: Outcome, status: number, sentence: RegExp): void {
  const said = withoutTrust(outcome.stderr);
  expect(said, outcome.stderr).toMatch(/^jet: [^\n]+\.\n$/);
  expect(said).toMatch(sentence);
  expect(outcome.stderr).not.toMatch(/Internal error|undefined|\bat .*:\d+:\d+|\.\.\n/);
  expect(outcome).toMatchObject({ status, signal: null, stdout: '' });
}

/** What was said besides. */
export function withoutTrust(stderr: string): string {
  return stderr.replace(TRUST, '');
}
