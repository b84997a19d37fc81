/** Fingerprints as people compare them, and as the `xmpp:` URI that chat clients scan (RFC 5122). */
import { fromHex } from '../core/bytes.ts';
import { Jid } from '../core/jid.ts';

/** The 64 hex digits of an identity key in groups of eight. */
export function groupFingerprint(fingerprint: string): string {
  return (fingerprint.match(/.{1,8}/g) ?? []).join(' ');
}

/**
 * Reads a fingerprint as people type or paste it: upper or lower case, spaces, colons or dashes between.
 *
 * @returns 64 lower-case hex digits, or undefined when it is none
 */
export function parseFingerprint(text: string): string | undefined {
  const digits = text.replace(/[\s:-]/g, '').toLowerCase();
  // Some clients show the type byte of the key, too.
  const bare = digits.length === 66 && digits.startsWith('05') ? digits.slice(2) : digits;
  return fromHex(bare)?.length === 32 ? bare : undefined;
}

/** The URI that verifies one device of a JID. */
export function fingerprintUri(jid: Jid, device: number, fingerprint: string): string {
  const local = jid.local === '' ? '' : `${encodeURIComponent(jid.local)}@`;
  return `xmpp:${local}${encodeURI(jid.domain)}?omemo-sid-${device}=${fingerprint}`;
}

/** What a URI says: the address, and the devices with their fingerprints (maybe none). */
export interface FingerprintUri {
  readonly jid: Jid;
  readonly devices: readonly { readonly device: number; readonly fingerprint: string }[];
}

/** Reads an `xmpp:` URI; undefined when it is none or any fingerprint in it is malformed. */
export function parseFingerprintUri(text: string): FingerprintUri | undefined {
  const match = /^xmpp:([^?#]+)(?:\?([^#]*))?$/i.exec(text);
  const address = decode(match?.[1]);
  const jid = address === undefined ? undefined : Jid.parse(address);
  if (!jid) return undefined;
  const devices: { device: number; fingerprint: string }[] = [];
  for (const part of (match?.[2] ?? '').split(/[;&]/)) {
    if (!part.startsWith('omemo-sid-')) continue;
    const [, id, hex] = /^omemo-sid-([0-9]{1,10})=([0-9A-Fa-f]+)$/.exec(part) ?? [];
    const device = Number(id);
    const fingerprint = parseFingerprint(hex ?? '');
    if (!(device > 0 && device < 2 ** 31) || fingerprint === undefined) return undefined;
    devices.push({ device, fingerprint });
  }
  return { jid, devices };
}

function decode(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
