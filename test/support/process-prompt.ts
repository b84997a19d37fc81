/** Asks without echo, and says what the terminal was set to at the moment when the question was written. */
import { execFileSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { WriteStream } from 'node:tty';
import { ask } from '../../src/cli/prompt.ts';

const QUESTION = 'The word: ';
const seen: string[] = [];
const terminal = openSync('/dev/tty', 'r');
const prototype = WriteStream.prototype as unknown as {
  write: (this: WriteStream, text: unknown, ...rest: unknown[]) => boolean;
};
const { write } = prototype;
prototype.write = function (text, ...rest) {
  if (text === QUESTION)
    seen.push(execFileSync('stty', ['-a'], { stdio: [terminal, 'pipe', 'inherit'] }).toString());
  return write.call(this, text, ...rest);
};

const answer = await ask(QUESTION, { echo: false });
const echoes = /(?:^|\s)(-?echo)(?:\s|;)/.exec(seen[0] ?? '')?.[1] ?? 'unseen';
console.log(`answer ${answer.length}, ${echoes}`);
