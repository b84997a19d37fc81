/** What a terminal is told while somebody is asked, and what it shows of that. */
import { Terminal } from '../../src/cli/terminal.ts';

const terminal = await Terminal.open({ quiet: false, color: false });
terminal.waiting('the first');
await terminal.still(() => {
  console.log('asked');
  terminal.waiting('the second');
  terminal.line('a line that stays');
  console.log('answered');
  return Promise.resolve();
});
terminal.restore();
