/** Questions at the controlling terminal; stdin is never read. */
import { closeSync, openSync } from 'node:fs';
import { ReadStream, WriteStream } from 'node:tty';
import { Exit, JetError } from '../core/errors.ts';

const DEVICE = process.platform === 'win32' ? '\\\\.\\CON' : '/dev/tty';

/** True when somebody can be asked. */
export function canAsk(): boolean {
  try {
    closeSync(openSync(DEVICE, 'r+'));
    return true;
  } catch {
    return false;
  }
}

/** Asks for a line. @throws JetError (exit 2) without a terminal; the signal's reason when it aborts */
export async function ask(
  question: string,
  options: { echo: boolean; signal?: AbortSignal },
): Promise<string> {
  const { echo, signal } = options;
  signal?.throwIfAborted();
  let output: WriteStream;
  let input: ReadStream;
  try {
    output = new WriteStream(openSync(DEVICE, 'w'));
    input = new ReadStream(openSync(DEVICE, 'r'));
  } catch (error) {
    throw new JetError(Exit.usage, 'no-terminal', 'There is no terminal to ask at.', {
      cause: error,
    });
  }
  // Before the question: who types as soon as it is there must not see the answer.
  if (!echo) input.setRawMode(true);
  output.write(question);
  try {
    return await readLine(input, signal);
  } finally {
    if (!echo) {
      input.setRawMode(false);
      output.write('\n');
    }
    input.destroy();
    output.destroy();
  }
}

/** Asks yes or no; anything but a clear yes is No. */
export async function confirm(question: string, signal?: AbortSignal): Promise<boolean> {
  const answer = await ask(`${question} [y/N] `, { echo: true, ...(signal ? { signal } : {}) });
  return /^y(?:es)?$/i.test(answer.trim());
}

function readLine(input: ReadStream, signal: AbortSignal | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    let line = '';
    const abort = () => reject(signal?.reason as Error);
    signal?.addEventListener('abort', abort, { once: true });
    const done = (text: string) => {
      signal?.removeEventListener('abort', abort);
      resolve(text);
    };
    input.setEncoding('utf8');
    input.on('data', (chunk) => {
      for (const character of chunk.toString()) {
        if (character === '\r' || character === '\n' || character === '\u0004') {
          done(line);
          return;
        }
        // In raw mode the terminal raises no signal itself.
        if (character === '\u0003') process.kill(process.pid, 'SIGINT');
        else if (character === '\u007f' || character === '\b')
          line = Array.from(line).slice(0, -1).join('');
        else if (line.length < 4096) line += character;
      }
    });
    input.on('end', () => done(''));
    input.on('error', reject);
  });
}
