import { Jid } from '../../src/core/jid.ts';

/** Parses an address that is known to be one. */
export function address(text: string): Jid {
  const jid = Jid.parse(text);
  if (jid === undefined) throw new Error(`not an address: ${text}`);
  return jid;
}
