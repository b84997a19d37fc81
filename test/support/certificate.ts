/** Certificates that sign themselves, made by openssl. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate in PEM and its private key. */
export interface Certificate {
  readonly key: Buffer;
  readonly cert: Buffer;
}

/**
 * Makes a certificate for a domain, valid for two days.
 *
 * @param hash - with which it is signed, by the name of openssl
 */
export function selfSigned(domain: string, hash = 'sha256'): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'jet-certificate-'));
  const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  try {
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
        ...[`-${hash}`, '-days', '2', '-subj', `/CN=${domain}`],
        ...['-addext', `subjectAltName=DNS:${domain}`, '-keyout', keyFile, '-out', certFile],
      ],
      { stdio: 'ignore' },
    );
    return { key: readFileSync(keyFile), cert: readFileSync(certFile) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
