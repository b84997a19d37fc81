/** XEP-0384 0.3 §4.5 and §4.6: `<encrypted/>` as a key transport element. */
import { randomBytes } from 'node:crypto';
import { type Element, xml } from '../xmpp/xml.ts';
import { fromBase64, toBase64 } from '../core/bytes.ts';
import { NS_OMEMO, parseId } from './names.ts';

/** Longest `<key/>` that is looked at, in bytes. */
const MAX_KEY = 4096;

/** One device's share of an `<encrypted/>`. */
export interface KeyEntry {
  readonly device: number;
  readonly message: Buffer;
  readonly isKeyExchange: boolean;
}

/** What of an `<encrypted/>` concerns one device. */
export interface Header {
  readonly sender: number;
  readonly entry: KeyEntry;
  readonly iv: Buffer | undefined;
}

/**
 * Writes a key transport element. Dino wants the IV after the keys; the order is everybody's.
 *
 * @param payload - bytes for those who take an element without one for a session's first message
 */
export function writeEncrypted(
  sender: number,
  entries: readonly KeyEntry[],
  iv: Buffer,
  payload?: Buffer,
): Element {
  const keys = entries.map(({ device, message, isKeyExchange }) =>
    xml('key', { rid: device, ...(isKeyExchange ? { prekey: 'true' } : {}) }, toBase64(message)),
  );
  return xml(
    'encrypted',
    { xmlns: NS_OMEMO },
    xml('header', { sid: sender }, ...keys, xml('iv', {}, toBase64(iv))),
    payload && xml('payload', {}, toBase64(payload)),
  );
}

/** A key transport element's own IV, where the element carries no secret. */
export function randomIv(): Buffer {
  return randomBytes(12);
}

/** Reads what is for `device`: `malformed` when it is no such element, `not-for-us` when it has no key for it. */
export function readEncrypted(
  encrypted: Element,
  device: number,
): Header | 'malformed' | 'not-for-us' {
  if (!encrypted.is('encrypted', NS_OMEMO)) return 'malformed';
  const header = encrypted.getChild('header');
  const sender = parseId(header?.attrs['sid']);
  if (!header || sender === undefined) return 'malformed';
  const ours = header.getChildren('key').filter((key) => parseId(key.attrs['rid']) === device);
  const [key] = ours;
  if (!key) return 'not-for-us';
  const message = fromBase64(key.getText());
  if (ours.length > 1 || !message || message.length === 0 || message.length > MAX_KEY) {
    return 'malformed';
  }
  const prekey = key.attrs['prekey'];
  const isKeyExchange = prekey === 'true' || prekey === '1';
  const iv = header.getChildText('iv');
  return {
    sender,
    entry: { device, message, isKeyExchange },
    iv: iv === null ? undefined : fromBase64(iv),
  };
}
