/** Logging in: the way to a {@link Connection}. */
import { randomId } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import type { Jid } from '../core/jid.ts';
import type { Connection } from './connection.ts';
import type { Login } from './establish.ts';
import { establishThrough, type Gate } from './gate.ts';
import type { LookUp, Target } from './resolve.ts';
import { Session } from './session.ts';
import type { SocksProxy } from './socket.ts';

/** Who connects, and how. */
export interface ConnectOptions {
  /** The account; without a resource it gets one that is unique to this connection. */
  readonly jid: Jid;
  /** Asked for at every login, also at those after a loss. */
  readonly password: () => Promise<string> | string;
  /** In place of what DNS says; the certificate has to match the JID's domain all the same. */
  readonly server?: Target;
  /** Certificates in PEM that replace the roots. */
  readonly ca?: Buffer;
  /** A SOCKS5 proxy; names are then not looked up here. */
  readonly socks?: SocksProxy;
  readonly clock: Clock;
  /** Gets a line for every element, secrets struck out. */
  readonly log?: (line: string) => void;
  /** Ends the attempt; a connection that stands is closed by its owner, who may have farewells to say. */
  readonly signal?: AbortSignal;
  /** Who gives leave to have a session; without one nobody is asked. */
  readonly gate?: Gate;
  /** The look-up of SRV records; the system's by default. */
  readonly lookUp?: LookUp;
}

/**
 * Connects, logs in and binds a resource.
 *
 * @throws JetError, all with exit 3: `wrong-password`, `untrusted-certificate`, `server-unreachable`,
 * `no-tls`, `no-mechanism`, `unusable-password`, `login-refused`, `server-not-proven`, `session-limit`; what
 * the gate throws; the signal's reason
 */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const jid = options.jid.isFull ? options.jid : options.jid.withResource(`jet.${randomId()}`);
  const login: Login = { ...options, jid, domain: jid.domain, account: jid.bare.toString() };
  const { gate } = options;
  let session: Session;
  try {
    session = new Session(login, await establishThrough(gate, login), gate);
  } catch (error) {
    gate?.leave();
    throw error;
  }
  if (options.signal?.aborted === true) await session.close();
  options.signal?.throwIfAborted();
  return session;
}
