/** A fingerprint as a QR code, in the URI form that other clients scan. */

/** The QR code in half blocks, two modules a character. */
export async function qrCode(text: string): Promise<string> {
  const { renderUnicodeCompact } = await import('uqr');
  return renderUnicodeCompact(text, { border: 2 });
}
