/** The destination that both ends of a SOCKS5 bytestream name (XEP-0065 1.8 §5.3.2, XEP-0260 §2.2). */
import { createHash } from 'node:crypto';
import type { Jid } from '../../core/jid.ts';

/** SHA-1 in hexadecimal of the stream's id, the offerer's full address and the other's. */
export function destination(sid: string, offerer: Jid, other: Jid): string {
  // SHA-1 because the specification fixes it: it names a stream, and protects nothing.
  return createHash('sha1')
    .update(sid + offerer.toString() + other.toString())
    .digest('hex');
}

/** Both orders: clients disagree about which address comes first for direct candidates. */
export function destinations(sid: string, one: Jid, other: Jid): readonly [string, string] {
  return [destination(sid, one, other), destination(sid, other, one)];
}
