/** A certificate authority of one's own and what it certifies, for private servers: made by openssl. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Makes `ca.key` and `ca.crt` in a folder. */
export async function makeAuthority(folder: string): Promise<void> {
  const at = (name: string) => join(folder, name);
  await run('openssl', [
    ...['req', '-x509', ...KEY, '-keyout', at('ca.key'), '-out', at('ca.crt'), '-days', '30'],
    ...['-subj', '/CN=A private authority', '-addext', 'basicConstraints=critical,CA:TRUE'],
  ]);
}

/** Makes `server.key` and `server.crt`, for a domain and its proxy, by the authority of the same folder. */
export async function makeCertificate(folder: string, domain: string): Promise<void> {
  const at = (name: string) => join(folder, name);
  await run('openssl', [
    ...['req', ...KEY, '-keyout', at('server.key'), '-out', at('server.csr')],
    ...['-subj', `/CN=${domain}`],
  ]);
  await writeFile(at('server.ext'), `subjectAltName=DNS:${domain},DNS:proxy.${domain}\n`);
  await run('openssl', [
    ...['x509', '-req', '-in', at('server.csr'), '-CA', at('ca.crt'), '-CAkey', at('ca.key')],
    ...['-CAcreateserial', '-days', '30', '-out', at('server.crt'), '-extfile', at('server.ext')],
  ]);
}
