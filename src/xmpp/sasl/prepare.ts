/** SASLprep (RFC 4013): the one form of a password, however a keyboard or a file wrote it. */

/** What needs no preparation: it is the same afterwards. */
const PLAIN = /^[\x20-\x7e]+$/;
/** The longest password in UTF-16 units. */
const LONGEST = 4096;

/**
 * Prepares a password: spaces unified, invisible characters taken out, NFKC.
 *
 * @returns undefined for what no password may be: one that holds a control or another prohibited
 * character (§2.3), mixes directions (§2.4), is empty afterwards, or longer than 4,096 characters
 */
export async function preparePassword(password: string): Promise<string | undefined> {
  if (password.length > LONGEST) return undefined;
  if (PLAIN.test(password)) return password;
  // Its tables are loaded by those alone whose password has more than ASCII.
  const { saslprep } = await import('@mongodb-js/saslprep');
  try {
    // A password is a query: what Unicode 3.2 does not know yet is let through (§2.5).
    return saslprep(password, { allowUnassigned: true }) || undefined;
  } catch {
    return undefined;
  }
}
