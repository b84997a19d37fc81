/** Channel binding: tls-exporter (RFC 9266) and tls-server-end-point (RFC 5929 §4), chosen by XEP-0440 v0.4. */
import { createHash } from 'node:crypto';
import type { TLSSocket } from 'node:tls';

/** The types that this TLS connection has, best first. */
export function bindings(socket: TLSSocket): { type: string; data: Buffer }[] {
  const found: { type: string; data: Buffer }[] = [];
  if (socket.getProtocol() === 'TLSv1.3') {
    const data = socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0));
    found.push({ type: 'tls-exporter', data });
  }
  const certificate = socket.getPeerX509Certificate()?.raw;
  const data = certificate === undefined ? undefined : endPoint(certificate);
  if (data !== undefined) found.push({ type: 'tls-server-end-point', data });
  return found;
}

/** The algorithms of signatures by the hexadecimal digits of their identifiers, with the hash to use. */
const HASHES: Record<string, string> = {
  '2a864886f70d010104': 'sha256',
  '2a864886f70d010105': 'sha256',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a8648ce3d0401': 'sha256',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
};

/** The hash of a certificate in DER; undefined when its signature algorithm has no single hash. */
export function endPoint(certificate: Buffer): Buffer | undefined {
  const outer = element(certificate, 0);
  const signed = outer && element(certificate, outer.start);
  const algorithm = signed && element(certificate, signed.end);
  const identifier = algorithm && element(certificate, algorithm.start);
  if (identifier?.tag !== 6) return undefined;
  const hash = HASHES[certificate.toString('hex', identifier.start, identifier.end)];
  return hash === undefined ? undefined : createHash(hash).update(certificate).digest();
}

/** The element of DER at an offset: where its content starts and ends. */
function element(der: Buffer, at: number): { tag: number; start: number; end: number } | undefined {
  const tag = der[at];
  const first = der[at + 1];
  if (tag === undefined || first === undefined) return undefined;
  const bytes = first < 0x80 ? 0 : first & 0x7f;
  if (bytes > 4 || at + 2 + bytes > der.length) return undefined;
  const length = bytes === 0 ? first : der.readUIntBE(at + 2, bytes);
  const start = at + 2 + bytes;
  return start + length > der.length ? undefined : { tag, start, end: start + length };
}
