import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { hasScript, runInTerminal } from '../../support/terminal.ts';

const scriptOf = (name: string) =>
  fileURLToPath(new URL(`../../support/process-${name}.ts`, import.meta.url));

test.skipIf(!hasScript())(
  'the terminal shows nothing from the moment when a password is asked for',
  async () => {
    const asking = runInTerminal([process.execPath, '--import', 'tsx', scriptOf('prompt')]);
    await asking.said(/The word: /);
    asking.child.stdin?.write('secret\r');
    const { stdout, stderr } = await asking.ended;
    expect(stdout, stderr).toContain('answer 6, -echo');
    expect(stdout).not.toContain('secret');
  },
);

test.skipIf(!hasScript())(
  'nothing moves under a question, and what came meanwhile is shown then',
  async () => {
    const asking = runInTerminal([process.execPath, '--import', 'tsx', scriptOf('still')]);
    const { stdout, stderr } = await asking.ended;
    const [before = '', during = '', after = ''] = stdout.split(/asked|answered/);
    expect(before, stderr).toContain('the first');
    expect(during).toContain('a line that stays');
    expect(during).not.toMatch(/the first|the second/);
    expect(after).toContain('the second');
  },
);
