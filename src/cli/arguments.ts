/** What the words after a command mean. */
import { existsSync } from 'node:fs';
import { Exit, JetError } from '../core/errors.ts';
import { Jid } from '../core/jid.ts';
import { shellCommand, shellWord } from '../core/shell.ts';
import { parseFingerprintUri, type WrittenKey } from '../omemo/uri.ts';

/** An error in how the program was called (exit 2). */
export function usage(code: string, message: string): JetError {
  return new JetError(Exit.usage, code, message);
}

/** An address as it was written: whose it is, and the keys that it names for its devices (maybe none). */
export interface Address {
  readonly jid: Jid;
  readonly devices: readonly WrittenKey[];
}

/**
 * Reads an account's address, which holds an `@`: `bob@example.org`, or with its fingerprints
 * `xmpp:bob@example.org?omemo-sid-ID=FINGERPRINT`; a resource may follow in both.
 *
 * @throws JetError (exit 2)
 */
export function parseAddress(text: string): Address {
  const address = readAddress(text);
  if (address !== undefined) return address;
  if (isUri(text) || holdsKeys(text))
    throw usage(
      'not-a-uri',
      'An address with fingerprints is written xmpp:JID?omemo-sid-ID=FINGERPRINT, in quotes; jet devices shows it.',
    );
  throw usage('not-a-jid', `"${text}" is not an XMPP address such as bob@example.org.`);
}

/** Reads an account's address without a resource. @throws JetError (exit 2) */
export function parseBareAddress(text: string): Address {
  const address = parseAddress(text);
  const { jid } = address;
  if (jid.isFull)
    throw usage(
      'not-a-bare-jid',
      `Leave "/${jid.resource}" off the address ${jid.bare.toString()}.`,
    );
  return address;
}

/** Reads the address of an account of our own, which has no keys to be checked. @throws JetError (exit 2) */
export function parseAccount(text: string): Jid {
  const { jid, devices } = parseBareAddress(text);
  if (devices.length > 0)
    throw usage(
      'keys-of-own',
      `Write the account as ${jid.toString()} alone: fingerprints are for those whom one sends to or takes from.`,
    );
  return jid;
}

/** Undefined when it is none. */
function readAddress(text: string): Address | undefined {
  if (!text.includes('@')) return undefined;
  if (isUri(text)) {
    const uri = parseFingerprintUri(text);
    return uri === undefined || uri.jid.local === '' ? undefined : uri;
  }
  const jid = holdsKeys(text) ? undefined : Jid.parse(text);
  return jid === undefined || jid.local === '' ? undefined : { jid, devices: [] };
}

const isUri = (text: string) => /^xmpp:/i.test(text);
/** Keys without `xmpp:` before them would be taken for a resource, and trusted at first use. */
const holdsKeys = (text: string) => /\?.*omemo-sid-/i.test(text);

/** Files and their recipient. */
export interface SendArguments {
  readonly files: readonly string[];
  readonly to: Address;
}

/**
 * Splits `send`'s arguments: files first, the recipient last or in `--to`.
 *
 * @param exists - tells whether a file is there, links not followed being no matter here
 * @param text - whether a text is sent, so that there need be no file
 * @throws JetError (exit 2) with what to write instead
 */
export function splitSend(
  items: readonly string[],
  to: string | undefined,
  exists: (path: string) => boolean = existsSync,
  text = false,
): SendArguments {
  const files = to === undefined ? items.slice(0, -1) : items;
  const last = to ?? items.at(-1);
  if (last === undefined && text)
    throw usage('no-recipient', 'No recipient given: write jet send --text TEXT JID.');
  if (last === undefined) throw usage('no-file', 'Nothing to send: write jet send FILE... JID.');
  const misplaced = files.find((file) => !exists(file) && readAddress(file) !== undefined);
  if (to === undefined && readAddress(last) === undefined) {
    if (misplaced !== undefined)
      throw usage(
        'wrong-order',
        `Files come first, the recipient last: ${shellCommand('jet send', last, misplaced)}`,
      );
    if (exists(last))
      throw usage(
        'no-recipient',
        `No recipient given: write jet send ${shellWord(last)} JID, or use --to JID.`,
      );
  }
  const address = parseAddress(last);
  if (misplaced !== undefined)
    throw usage(
      'wrong-order',
      `"${misplaced}" is no file here; files come first and one recipient last.`,
    );
  if (files.length === 0 && !text)
    throw usage('no-file', `No file given: write jet send FILE ${shellWord(last)}.`);
  return { files, to: address };
}
