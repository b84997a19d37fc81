/** Asks without echo, and says what the terminal was set to at the moment when the question was written. */
import { execFileSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { WriteStream } from 'node:tty';
import { ask } from '../../src/cli/prompt.ts';

const QUESTION = 'The word: ';
const seen: string[] = [];
const terminal = openSync('/dev/tty', 'r');
const write = Object.getOwnPropertyDescriptor(WriteStream.prototype, 'write');
const original = WriteStream.prototype.write;
Object.defineProperty(WriteStream.prototype, 'write', {
  ...write,
  configurable: true,
  value(this: WriteStream, ...args: Parameters<WriteStream['write']>) {
    if (args[0] === (QUESTION as unknown))
      seen.push(execFileSync('stty', ['-a'], { stdio: [terminal, 'pipe', 'inherit'] }).toString());
    return original.apply(this, args);
  },
});

const answer = await ask(QUESTION, { echo: false });
const echoes = /(?:^|\s)(-?echo)(?:\s|;)/.exec(seen[0] ?? '')?.[1] ?? 'unseen';
console.log(`answer ${answer.length}, ${echoes}`);
