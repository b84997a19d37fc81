/** From the account's settings to the options of a connection. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { systemClock } from '../core/clock.ts';
import { Exit, JetError, messageOf } from '../core/errors.ts';
import type { RoutePolicy } from '../jingle/transport.ts';
import type { ConnectOptions } from '../xmpp/connect.ts';
import { StanzaError } from '../xmpp/connection.ts';
import type { AccountSettings, RouteOptions } from './types.ts';

const CERTIFICATE = /-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]*-----END [A-Z ]*-----/g;

/** What `connect` needs. @throws JetError (exit 2) `ca-file-unreadable` */
export async function connectOptions(
  settings: AccountSettings,
  signal: AbortSignal,
): Promise<ConnectOptions> {
  const { jid, password, server, caFile, log } = settings;
  const socks = socksOf(settings);
  return {
    jid,
    password,
    clock: systemClock,
    signal,
    ...(server && { server: { host: server.host, port: server.port, tls: server.directTls } }),
    ...(caFile !== undefined && { ca: await readCa(caFile) }),
    ...(socks && { socks }),
    ...(log && { log }),
  };
}

/**
 * Which ways a transfer may go. Behind the user's own proxy none is direct, whatever the options say: no
 * listener, and no address of ours is told.
 */
export function policyOf(
  settings: Pick<AccountSettings, 'proxy'>,
  { route, direct, ports, allInterfaces }: RouteOptions,
): RoutePolicy {
  const socks = socksOf(settings);
  return {
    kinds: new Set(route === undefined ? ['direct', 'proxy', 'ibb'] : [route]),
    direct: direct && socks === undefined,
    ...{ socks, ports, allInterfaces },
  };
}

/** The user's SOCKS5 proxy, if there is one. */
function socksOf({ proxy }: Pick<AccountSettings, 'proxy'>): RoutePolicy['socks'] {
  if (proxy === undefined) return undefined;
  const { host, port, user, password } = proxy;
  return {
    host,
    port,
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
  };
}

async function readCa(file: string): Promise<Buffer> {
  try {
    const pem = await readFile(file);
    // TLS would pass over what is no certificate, and the server's would be called untrusted.
    const found = pem.toString('latin1').match(CERTIFICATE) ?? [];
    if (found.length === 0) throw new Error('there is none in PEM');
    for (const certificate of found) new X509Certificate(certificate);
    return pem;
  } catch (error) {
    throw new JetError(
      Exit.usage,
      'ca-file-unreadable',
      `Cannot read the certificates in ${file}: ${messageOf(error)}. Check --ca-file or JET_CA_FILE.`,
      { cause: error },
    );
  }
}

/** A request that the server did not grant, as an error for the user; anything else as it is. */
export function explain(error: unknown): unknown {
  if (!(error instanceof StanzaError)) return error;
  if (error.condition === 'disconnect') return connectionLost('it broke off');
  return new JetError(
    Exit.account,
    'server-refused',
    `The server did not do what was asked of it (${error.message}). Try again, or ask who runs the server.`,
    { cause: error },
  );
}

/** The stream is lost for good. */
export function connectionLost(reason: string): JetError {
  return new JetError(
    Exit.account,
    'connection-lost',
    `The connection to the server is lost (${reason}). Check the network and start again.`,
  );
}
