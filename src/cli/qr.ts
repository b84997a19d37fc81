/** QR codes in a terminal. */

/** A QR code in half blocks, two modules a character. */
export async function qrCode(text: string): Promise<string> {
  const { renderUnicodeCompact } = await import('uqr');
  return renderUnicodeCompact(text, { border: 2 });
}
