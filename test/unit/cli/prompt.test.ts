import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { hasScript, runInTerminal } from '../../support/terminal.ts';

const script = fileURLToPath(new URL('../../support/process-prompt.ts', import.meta.url));

test.skipIf(!hasScript())(
  'the terminal shows nothing from the moment when a password is asked for',
  async () => {
    const asking = runInTerminal([process.execPath, '--import', 'tsx', script]);
    await asking.said(/The word: /);
    asking.child.stdin?.write('secret\r');
    const { stdout, stderr } = await asking.ended;
    expect(stdout, stderr).toContain('answer 6, -echo');
    expect(stdout).not.toContain('secret');
  },
);
