/** XEP-0384 0.3 §4.4: the bundle of a device as XML. */
import { type Element, xml } from '../xmpp/xml.ts';
import { fromBase64, toBase64 } from '../core/bytes.ts';
import { type Bundle, CryptoError, LEGACY, verifyPreKey } from './crypto/index.ts';
import { NS_OMEMO } from './names.ts';

/** Most one-time prekeys that are read from a bundle. */
const MAX_PREKEYS = 500;

/** A bundle as it is published. */
export function writeBundle(bundle: Bundle): Element {
  const key = (pub: Buffer) => toBase64(LEGACY.encodeKey(pub));
  return xml(
    'bundle',
    { xmlns: NS_OMEMO },
    xml('signedPreKeyPublic', { signedPreKeyId: bundle.signedPreKeyId }, key(bundle.signedPreKey)),
    xml('signedPreKeySignature', {}, toBase64(bundle.signature)),
    xml('identityKey', {}, key(bundle.identityKey)),
    xml(
      'prekeys',
      {},
      ...bundle.preKeys.map(({ id, key: pub }) => xml('preKeyPublic', { preKeyId: id }, key(pub))),
    ),
  );
}

/**
 * Reads a bundle; a one-time prekey that is malformed is left out.
 *
 * @returns undefined when it is none, has no one-time prekey or its signature does not hold
 */
export function readBundle(element: Element | undefined): Bundle | undefined {
  if (!element?.is('bundle', NS_OMEMO)) return undefined;
  const signed = element.getChild('signedPreKeyPublic');
  const signedPreKeyId = keyId(signed?.attrs['signedPreKeyId']);
  const signedPreKey = readKey(signed?.getText());
  const identityKey = readKey(element.getChildText('identityKey'));
  const signature = fromBase64(element.getChildText('signedPreKeySignature') ?? '');
  if (signedPreKeyId === undefined || !signedPreKey || !identityKey) return undefined;
  if (signature?.length !== 64) return undefined;
  const preKeys = new Map<number, Buffer>();
  const published = element.getChild('prekeys')?.getChildren('preKeyPublic') ?? [];
  for (const entry of published.slice(0, MAX_PREKEYS)) {
    const id = keyId(entry.attrs['preKeyId']);
    const key = readKey(entry.getText());
    if (id !== undefined && key) preKeys.set(id, key);
  }
  if (preKeys.size === 0) return undefined;
  if (!verifyPreKey(LEGACY, identityKey, signedPreKey, signature)) return undefined;
  return {
    identityKey,
    signedPreKeyId,
    signedPreKey,
    signature,
    preKeys: [...preKeys].map(([id, key]) => ({ id, key })),
  };
}

/** Ids of keys are unsigned 32 bits on the wire, and some clients start at 0. */
function keyId(text: string | undefined): number | undefined {
  if (text === undefined || !/^[0-9]{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id < 2 ** 32 ? id : undefined;
}

function readKey(text: string | null | undefined): Buffer | undefined {
  const bytes = fromBase64(text ?? '');
  if (!bytes) return undefined;
  try {
    return LEGACY.decodeKey(bytes);
  } catch (error) {
    if (error instanceof CryptoError) return undefined;
    throw error;
  }
}
