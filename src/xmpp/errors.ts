/** Failures of reaching and entering a server, as sentences for the user. */
import { Exit, JetError, messageOf, systemCode } from '../core/errors.ts';
import { shellCommand } from '../core/shell.ts';

const CERTIFICATE =
  /CERT|SELF_SIGNED|UNABLE_TO_(?:GET|VERIFY|DECODE|DECRYPT)|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|CRL/;

/** True for the codes with which Node refuses a certificate. */
export function isCertificateError(error: unknown): boolean {
  const code = systemCode(error);
  return code !== undefined && !code.startsWith('ERR_SSL') && CERTIFICATE.test(code);
}

export function untrustedCertificate(domain: string, host: string, cause: unknown): JetError {
  return new JetError(
    Exit.account,
    'untrusted-certificate',
    `The certificate of ${host} is not trusted for ${domain} (${messageOf(cause)}). Nothing was sent. ` +
      'If the server has a certificate authority of its own, name its file in JET_CA_FILE.',
    { cause },
  );
}

export function serverUnreachable(domain: string, cause: unknown): JetError {
  return new JetError(
    Exit.account,
    'server-unreachable',
    `The server of ${domain} cannot be reached (${messageOf(cause)}). ` +
      'Check the network and the address, or name the server with JET_SERVER.',
    { cause },
  );
}

export function noTls(domain: string, host: string): JetError {
  return new JetError(
    Exit.account,
    'no-tls',
    `The server ${host} of ${domain} offers no encryption, or somebody between takes it away. ` +
      'The password was not sent. Try another network, or ask who runs the server.',
  );
}

export function wrongPassword(account: string): JetError {
  return new JetError(
    Exit.account,
    'wrong-password',
    `The server refuses the password of ${account}. Run “${shellCommand('jet login', account)}” to enter it again.`,
  );
}

export function unusablePassword(account: string): JetError {
  return new JetError(
    Exit.account,
    'unusable-password',
    `The password of ${account} is empty, too long, or has a character that no password may have, such as ` +
      'a control character or a mix of writing directions. Look for what was pasted by mistake.',
  );
}

export function loginRefused(account: string, why: string): JetError {
  return new JetError(
    Exit.account,
    'login-refused',
    `The server does not let ${account} in: ${why}. Ask who runs the server.`,
  );
}

export function noMechanism(account: string): JetError {
  return new JetError(
    Exit.account,
    'no-mechanism',
    `The server offers no way to log in as ${account} that jet knows (SCRAM-SHA-256, SCRAM-SHA-1, PLAIN).`,
  );
}

export function serverNotProven(account: string): JetError {
  return new JetError(
    Exit.account,
    'server-not-proven',
    `The server could not prove that it knows the password of ${account}; somebody may be between. ` +
      'Try another network, and ask who runs the server before you try again.',
  );
}

export function sessionLimit(account: string, condition: string): JetError {
  return new JetError(
    Exit.account,
    'session-limit',
    `The server refuses one more session of ${account} (${condition}). End another client and try again.`,
  );
}

export function registrationRefused(domain: string, why: string): JetError {
  return new JetError(
    Exit.account,
    'registration-refused',
    `No account could be made at ${domain}: ${why}`,
  );
}
