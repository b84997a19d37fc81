/** From a domain to a stream inside verified TLS, before anybody logs in (RFC 6120 §3 and §5). */
import type { Element } from '@xmpp/xml';
import { JetError } from '../core/errors.ts';
import { isCertificateError, noTls, serverUnreachable, untrustedCertificate } from './errors.ts';
import { fallbackTargets, resolveTargets, type LookUp, type Target } from './resolve.ts';
import { Stream, StreamError, type StreamOptions } from './stream.ts';
import { xml } from './xml.ts';

const NS_TLS = 'urn:ietf:params:xml:ns:xmpp-tls';
const MOST_REDIRECTIONS = 3;

/** How the server is found. */
export interface EnterOptions extends StreamOptions {
  /** In place of what DNS says; the certificate has to match the domain all the same. */
  readonly server?: Target;
  readonly lookUp?: LookUp;
  readonly signal?: AbortSignal;
}

/** A stream inside verified TLS, and what the server offers in it. */
export interface Entered {
  readonly stream: Stream;
  readonly features: Element;
}

/**
 * Tries the places of a domain one after the other.
 *
 * @throws JetError `untrusted-certificate`, `no-tls`, `server-unreachable`; the signal's reason
 */
export async function enter(options: EnterOptions): Promise<Entered> {
  const { domain, server, socks, signal } = options;
  let queue: Target[];
  if (server !== undefined) queue = [server];
  // Through a proxy no name is looked up here: it gets the domain.
  else if (socks !== undefined)
    queue = fallbackTargets(domain).flatMap((target) => [
      target,
      { ...target, port: 5223, tls: true },
    ]);
  else queue = await resolveTargets(domain, options.lookUp);
  let failure: unknown = new Error('the domain has no XMPP server');
  let redirections = 0;
  for (let target = queue.shift(); target !== undefined; target = queue.shift()) {
    try {
      return await secured(target, options);
    } catch (error) {
      signal?.throwIfAborted();
      // What speaks for an attack is told in the end, rather than a last place that was down.
      if (!(failure instanceof JetError)) failure = error;
      const other = otherPlace(error, target);
      if (other !== undefined && redirections < MOST_REDIRECTIONS) {
        redirections += 1;
        queue.unshift(other);
      }
    }
  }
  throw failure instanceof JetError ? failure : serverUnreachable(domain, failure);
}

/** Where a redirection goes: it is entered like any place, only inside TLS for the domain. */
export function otherPlace(error: unknown, from: Target): Target | undefined {
  if (!(error instanceof StreamError) || error.otherHost === undefined) return undefined;
  const match = /^(\[[0-9A-Fa-f:.]+\]|[^\s:[\]/@]+)(?::([0-9]{1,5}))?$/.exec(error.otherHost);
  const host = match?.[1]?.replace(/^\[|\]$/g, '');
  const port = match?.[2] === undefined ? from.port : Number(match[2]);
  if (host === undefined || port < 1 || port > 65_535) return undefined;
  return { host, port, tls: from.tls };
}

async function secured(target: Target, options: EnterOptions): Promise<Entered> {
  const { domain, signal } = options;
  signal?.throwIfAborted();
  let stream: Stream | undefined;
  const abort = () => stream?.destroy(new Error('aborted'));
  signal?.addEventListener('abort', abort, { once: true });
  try {
    stream = await Stream.connect(target, options);
    signal?.throwIfAborted();
    let features = await stream.open();
    if (stream.socket.tls === undefined) {
      if (features.getChild('starttls', NS_TLS) === undefined) throw noTls(domain, target.host);
      await stream.send(xml('starttls', { xmlns: NS_TLS }));
      if (!(await stream.next()).is('proceed', NS_TLS)) throw noTls(domain, target.host);
      await stream.startTls();
      features = await stream.restart();
    }
    return { stream, features };
  } catch (error) {
    stream?.destroy(new Error('the stream is given up'));
    throw isCertificateError(error) ? untrustedCertificate(domain, target.host, error) : error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}
