/** Commands that a message tells the user to run: they are copied, so what is in them must be what is run. */

/**
 * A word as a POSIX shell reads it back. An address may hold `$`, `;` or backquotes, and comes from
 * the network.
 */
export function shellWord(text: string): string {
  return /^[A-Za-z0-9@%_+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A command line; `--` keeps an address that begins with a dash from being an option. */
export function shellCommand(command: string, ...words: readonly string[]): string {
  const guard = words.some((word) => word.startsWith('-')) ? ['--'] : [];
  return [command, ...guard, ...words.map(shellWord)].join(' ');
}
