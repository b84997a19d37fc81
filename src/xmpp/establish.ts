/** Log in, then resume the session (XEP-0198 v1.6.3) or bind a resource (RFC 6120 §7). */
import type { Element } from '@xmpp/xml';
import { randomId } from '../core/bytes.ts';
import { JetError, Exit } from '../core/errors.ts';
import { Jid } from '../core/jid.ts';
import { loginRefused, serverUnreachable, sessionLimit } from './errors.ts';
import { enter, otherPlace, type EnterOptions } from './enter.ts';
import { authenticate } from './sasl/authenticate.ts';
import { readError } from './stanza.ts';
import { StreamError, type Stream } from './stream.ts';
import { attr, uint, xml } from './xml.ts';

export const NS_SM = 'urn:xmpp:sm:3';
const NS_BIND = 'urn:ietf:params:xml:ns:xmpp-bind';
const NS_SESSION = 'urn:ietf:params:xml:ns:xmpp-session';
const LONGEST_ID = 4096;
const ENABLE = xml('enable', { xmlns: NS_SM, resume: 'true' });

/** Who logs in. */
export interface Login extends EnterOptions {
  readonly jid: Jid;
  readonly password: () => Promise<string> | string;
}

/** A session with the server. */
export interface Established {
  readonly stream: Stream;
  readonly jid: Jid;
  readonly maxStanza: number | undefined;
  /** What the server took before the loss, when the old session goes on. */
  readonly resumed: number | undefined;
  /** Stream management of a new session; `id` is empty when it cannot be resumed. */
  readonly management: { readonly id: string; readonly max: number | undefined } | undefined;
}

/**
 * @param previous - the session to go on with, and how many stanzas of it we took
 * @throws JetError
 */
export async function establish(
  login: Login,
  previous?: { readonly id: string; readonly inbound: number; readonly jid: Jid },
): Promise<Established> {
  let server = login.server;
  for (let redirections = 0; ; redirections += 1) {
    const options = server === undefined ? login : { ...login, server };
    const { stream, features } = await enter(options);
    const abort = () => stream.destroy(new Error('aborted'));
    login.signal?.addEventListener('abort', abort, { once: true });
    try {
      await authenticate(stream, features, login.jid, login.password);
      return await begin(stream, await stream.restart(), login.jid, previous);
    } catch (error) {
      stream.destroy(new Error('the stream is given up'));
      login.signal?.throwIfAborted();
      const other = otherPlace(error, stream.target);
      if (other === undefined || redirections >= 3) throw explained(error, login.jid);
      server = other;
    } finally {
      login.signal?.removeEventListener('abort', abort);
    }
  }
}

async function begin(
  stream: Stream,
  features: Element,
  wanted: Jid,
  previous: { readonly id: string; readonly inbound: number; readonly jid: Jid } | undefined,
): Promise<Established> {
  const maxStanza = limit(features);
  const managed = features.getChild('sm', NS_SM) !== undefined;
  if (managed && previous !== undefined) {
    const { id, inbound, jid } = previous;
    await stream.send(xml('resume', { xmlns: NS_SM, h: inbound, previd: id }));
    const reply = await stream.nextMatching((element) => element.getNS() === NS_SM);
    const h = uint(attr(reply, 'h'), 0xffff_ffff);
    if (reply.is('resumed', NS_SM) && h !== undefined && attr(reply, 'previd') === id)
      return { stream, jid, maxStanza, resumed: h, management: undefined };
    if (reply.is('resumed', NS_SM)) throw new Error('the server resumed another session');
  }
  // Both go out at once: the server handles them in their order (RFC 6120 §10.1), and one round trip is enough.
  const early = managed && !needsSession(features);
  const jid = await bind(stream, features, wanted, early ? [ENABLE] : []);
  if (managed && !early) await stream.send(ENABLE);
  const management = managed ? await enabled(stream) : undefined;
  return { stream, jid, maxStanza, resumed: undefined, management };
}

/** XEP-0478 v0.2. */
function limit(features: Element): number | undefined {
  const limits = features.getChild('limits', 'urn:xmpp:stream-limits:0');
  return uint(limits?.getChild('max-bytes')?.text().trim());
}

/** @param after - what is sent behind the request, before its answer */
async function bind(
  stream: Stream,
  features: Element,
  wanted: Jid,
  after: readonly Element[],
): Promise<Jid> {
  if (features.getChild('bind', NS_BIND) === undefined)
    throw loginRefused(wanted.bare.toString(), 'it offers no session');
  const resource = xml('resource', {}, wanted.resource);
  const reply = await ask(stream, xml('bind', { xmlns: NS_BIND }, resource), after);
  const account = wanted.bare.toString();
  if (attr(reply, 'type') !== 'result') throw sessionLimit(account, readError(reply).condition);
  const text = reply.getChild('bind', NS_BIND)?.getChild('jid')?.text() ?? '';
  const jid = Jid.parse(text);
  if (jid?.isFull !== true || !jid.sameBare(wanted))
    throw loginRefused(account, 'it gave us the address of somebody else');
  if (needsSession(features)) await ask(stream, xml('session', { xmlns: NS_SESSION }));
  return jid;
}

/** RFC 3921 §3, for servers of old. */
function needsSession(features: Element): boolean {
  const session = features.getChild('session', NS_SESSION);
  return session !== undefined && session.getChild('optional') === undefined;
}

async function ask(
  stream: Stream,
  payload: Element,
  after: readonly Element[] = [],
): Promise<Element> {
  const id = randomId();
  await stream.send(xml('iq', { type: 'set', id }, payload));
  for (const element of after) await stream.send(element);
  return stream.nextMatching(
    (element) =>
      element.getName() === 'iq' &&
      attr(element, 'id') === id &&
      ['result', 'error'].includes(attr(element, 'type') ?? ''),
  );
}

async function enabled(stream: Stream): Promise<Established['management']> {
  const reply = await stream.nextMatching((element) => element.getNS() === NS_SM);
  if (!reply.is('enabled', NS_SM)) return undefined;
  const id = attr(reply, 'id') ?? '';
  const resumable = ['true', '1'].includes(attr(reply, 'resume') ?? '') && id.length <= LONGEST_ID;
  return { id: resumable ? id : '', max: uint(attr(reply, 'max'), 86_400) };
}

const LIMITS = new Set(['conflict', 'policy-violation', 'resource-constraint']);

function explained(error: unknown, jid: Jid): JetError {
  if (error instanceof JetError) return error;
  if (error instanceof StreamError && LIMITS.has(error.condition))
    return sessionLimit(jid.bare.toString(), error.condition);
  return serverUnreachable(jid.domain, error);
}

/** True when trying again by itself would be useless or harmful. */
export function isFinal(error: unknown): boolean {
  return (
    error instanceof JetError &&
    error.exit === Exit.account &&
    error.code !== 'server-unreachable' &&
    error.code !== 'untrusted-certificate' &&
    error.code !== 'no-tls'
  );
}
