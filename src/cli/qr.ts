/** A fingerprint as a QR code, in the URI form that other clients scan. */
import type { Jid } from '../core/jid.ts';

/** `xmpp:JID?omemo-sid-ID=FINGERPRINT`. */
export function fingerprintUri(jid: Jid, deviceId: number, fingerprint: string): string {
  const { local, domain } = jid;
  return `xmpp:${encodeURIComponent(local)}@${domain}?omemo-sid-${deviceId}=${fingerprint}`;
}

/** The QR code in half blocks, two modules a character. */
export async function qrCode(text: string): Promise<string> {
  const { renderUnicodeCompact } = await import('uqr');
  return renderUnicodeCompact(text, { border: 2 });
}
