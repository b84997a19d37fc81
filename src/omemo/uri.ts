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

/** A key that was written for one device of a JID. */
export interface WrittenKey {
  /** 31 bits, above 0. */
  readonly device: number;
  /** 64 lower-case hex digits. */
  readonly fingerprint: string;
}

/** What a URI says: the address, and the devices with their fingerprints (maybe none). */
export interface FingerprintUri {
  readonly jid: Jid;
  readonly devices: readonly WrittenKey[];
}

/**
 * Reads an `xmpp:` URI. Whatever in it may be meant as a key must be one: an address whose key was
 * overlooked would be trusted at first use.
 *
 * @returns undefined when it is none, a key in it is malformed, or one device has two keys
 */
export function parseFingerprintUri(text: string): FingerprintUri | undefined {
  const match = /^xmpp:([^?#]+)(?:\?([^#]*))?$/i.exec(text);
  const address = decodeAddress(match?.[1] ?? '');
  const jid = address === undefined ? undefined : Jid.parse(address);
  if (!jid) return undefined;
  const keys = new Map<number, string>();
  for (const part of (match?.[2] ?? '').split(/[;&]/)) {
    const pair = decode(part);
    if (pair === undefined) return undefined;
    if (!/omemo/i.test(pair)) continue;
    const [, id, hex] = /^omemo-sid-([0-9]{1,10})=([0-9A-Fa-f]+)$/.exec(pair) ?? [];
    const device = Number(id);
    const fingerprint = parseFingerprint(hex ?? '');
    if (!(device > 0 && device < 2 ** 31) || fingerprint === undefined) return undefined;
    if ((keys.get(device) ?? fingerprint) !== fingerprint) return undefined;
    keys.set(device, fingerprint);
  }
  const devices = [...keys].map(([device, fingerprint]) => ({
    device,
    fingerprint,
  }));
  return { jid, devices };
}

/** Decodes each part by itself (RFC 5122 §2.2): an escaped `/` or `@` separates nothing. */
function decodeAddress(path: string): string | undefined {
  const parts = /^(?:([^@/]*)@)?([^/]*)(?:\/(.*))?$/s.exec(path);
  const [local, domain, resource] = [parts?.[1], parts?.[2], parts?.[3]].map((part) =>
    part === undefined ? '' : decode(part),
  );
  if (local === undefined || domain === undefined || resource === undefined) return undefined;
  if (/[@/]/.test(local + domain)) return undefined;
  const bare = parts?.[1] === undefined ? domain : `${local}@${domain}`;
  return parts?.[3] === undefined ? bare : `${bare}/${resource}`;
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
