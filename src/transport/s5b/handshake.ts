/** The server's half of a SOCKS5 handshake (RFC 1928 §3, §4, §6) as a pure function over bytes. */

/** What the bytes held so far amount to; `length` is how many of them the message took. */
export type Message =
  | { readonly kind: 'more' }
  | { readonly kind: 'refused'; readonly reply: Buffer }
  | { readonly kind: 'greeting'; readonly length: number; readonly reply: Buffer }
  | {
      readonly kind: 'request';
      readonly length: number;
      /** In lower case. */
      readonly destination: string;
      readonly reply: Buffer;
      /** What to answer when the destination is not expected. */
      readonly refusal: Buffer;
    };

const NO_METHOD = Buffer.from([5, 0xff]);
const NO_AUTHENTICATION = Buffer.from([5, 0]);
const DOMAIN = 3;
const STATUS = { granted: 0, notAllowed: 2, noCommand: 7, noAddressType: 8 } as const;

/** Reads the next message of the client's. */
export function readMessage(stage: 'greeting' | 'request', bytes: Buffer): Message {
  const [version, second, , type, size] = bytes;
  if (version !== undefined && version !== 5) return { kind: 'refused', reply: NO_METHOD };
  if (stage === 'greeting') {
    if (second === undefined || bytes.length < 2 + second) return { kind: 'more' };
    return bytes.subarray(2, 2 + second).includes(0)
      ? { kind: 'greeting', length: 2 + second, reply: NO_AUTHENTICATION }
      : { kind: 'refused', reply: NO_METHOD };
  }
  if (second !== undefined && second !== 1)
    return { kind: 'refused', reply: reply(STATUS.noCommand, '') };
  if (type !== undefined && type !== DOMAIN)
    return { kind: 'refused', reply: reply(STATUS.noAddressType, '') };
  if (size === undefined || bytes.length < 5 + size + 2) return { kind: 'more' };
  const name = bytes.subarray(5, 5 + size).toString('latin1');
  return {
    kind: 'request',
    length: 5 + size + 2,
    destination: name.toLowerCase(),
    reply: reply(STATUS.granted, name),
    refusal: reply(STATUS.notAllowed, name),
  };
}

/** A reply with the destination as a domain name and port 0: all that every client understands. */
function reply(status: number, name: string): Buffer {
  const host = Buffer.from(name, 'latin1');
  return Buffer.concat([
    Buffer.from([5, status, 0, DOMAIN, host.length]),
    host,
    Buffer.from([0, 0]),
  ]);
}
