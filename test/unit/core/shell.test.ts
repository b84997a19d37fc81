import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { shellCommand, shellWord } from '../../../src/core/shell.ts';

/** What a shell makes of words, one a line. */
const read = (words: string) =>
  execFileSync('sh', ['-c', `printf '%s\\n' ${words}`], { encoding: 'utf8' });

test.each([
  ...['$(reboot)@e.example', '`x`;y&z|>f', 'a  b', '~/*?[!]#', "it's", "'", '', '\\n"$HOME"'],
  'bob@example.org/x',
])('a shell reads %j back as it was', (text) => {
  expect(read(shellWord(text))).toBe(`${text}\n`);
});

test('an address that begins with a dash is no option', () => {
  expect(shellCommand('jet trust', '-x@e.example', 'KEY')).toBe('jet trust -- -x@e.example KEY');
  expect(shellCommand('jet trust', 'x@e.example', 'KEY')).toBe('jet trust x@e.example KEY');
});
