/** What the words after a command mean. */
import { existsSync } from 'node:fs';
import { Exit, JetError } from '../core/errors.ts';
import { Jid } from '../core/jid.ts';

/** An error in how the program was called (exit 2). */
export function usage(code: string, message: string): JetError {
  return new JetError(Exit.usage, code, message);
}

/** Reads an account's address; it holds an `@`. */
export function parseAddress(text: string): Jid {
  const jid = text.includes('@') ? Jid.parse(text) : undefined;
  if (!jid || jid.local === '')
    throw usage('not-a-jid', `"${text}" is not an XMPP address such as bob@example.org.`);
  return jid;
}

/** Reads an account's address without a resource. */
export function parseBareAddress(text: string): Jid {
  const jid = parseAddress(text);
  if (jid.isFull)
    throw usage(
      'not-a-bare-jid',
      `Leave "/${jid.resource}" off the address ${jid.bare.toString()}.`,
    );
  return jid;
}

/** Files and their recipient. */
export interface SendArguments {
  readonly files: readonly string[];
  readonly to: Jid;
}

/**
 * Splits `send`'s arguments: files first, the recipient last or in `--to`.
 *
 * @param exists - tells whether a file is there, links not followed being no matter here
 * @throws JetError (exit 2) with what to write instead
 */
export function splitSend(
  items: readonly string[],
  to: string | undefined,
  exists: (path: string) => boolean = existsSync,
): SendArguments {
  const files = to === undefined ? items.slice(0, -1) : items;
  const last = to ?? items.at(-1);
  if (last === undefined) throw usage('no-file', 'Nothing to send: write jet send FILE JID.');
  const misplaced = files.find((f) => !exists(f) && f.includes('@') && Jid.parse(f) !== undefined);
  if (to === undefined && (!last.includes('@') || !Jid.parse(last))) {
    if (misplaced !== undefined)
      throw usage(
        'wrong-order',
        `Files come first, the recipient last: jet send ${last} ${misplaced}`,
      );
    if (exists(last))
      throw usage(
        'no-recipient',
        `No recipient given: write jet send ${last} JID, or use --to JID.`,
      );
  }
  const jid = parseAddress(last);
  if (misplaced !== undefined)
    throw usage(
      'wrong-order',
      `"${misplaced}" is no file here; files come first and one recipient last.`,
    );
  if (files.length === 0) throw usage('no-file', `No file given: write jet send FILE ${last}.`);
  if (files.length > 1)
    throw usage('one-file', 'Send takes one file at a time; pack several into an archive first.');
  return { files, to: jid };
}
