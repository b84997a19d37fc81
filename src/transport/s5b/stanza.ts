/** The `<transport/>` of XEP-0260 1.0, read into typed values and written. */
import xml, { type Element } from '@xmpp/xml';
import { isIP } from 'node:net';
import { Jid } from '../../core/jid.ts';
import { StanzaError } from '../../xmpp/connection.ts';
import type { Candidate } from './machine.ts';

export const S5B = 'urn:xmpp:jingle:transports:s5b:1';

/** More candidates than this in one element are an attack, not an offer. */
const MAX_CANDIDATES = 64;
const NAME = /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?$/;

/** The offer or answer of one side. */
export interface Offer {
  readonly sid: string;
  readonly dstaddr: string | undefined;
  readonly candidates: readonly Candidate[];
}

/** What a transport-info says. */
export type Info =
  | { readonly kind: 'candidate-used' | 'activated'; readonly cid: string }
  | { readonly kind: 'candidate-error' | 'proxy-error' };

/** Reads an offer. @throws StanzaError `bad-request` */
export function readOffer(transport: Element): Offer {
  const sid = readSid(transport);
  const { mode, dstaddr } = transport.attrs;
  if (mode !== undefined && mode !== 'tcp') throw bad('only mode tcp is supported');
  const elements = transport.getChildren('candidate', S5B);
  if (elements.length > MAX_CANDIDATES) throw bad('too many candidates');
  // Some clients offer link-local addresses with a zone, which is a name of their machine's alone.
  const candidates = elements.filter(isReachable).map(readCandidate);
  if (new Set(candidates.map(({ cid }) => cid)).size !== candidates.length)
    throw bad('two candidates with one cid');
  return {
    sid,
    dstaddr: dstaddr !== undefined && /^[0-9a-f]{40}$/i.test(dstaddr) ? dstaddr : undefined,
    candidates,
  };
}

/** Reads a transport-info for the stream `sid`. @throws StanzaError `bad-request` */
export function readInfo(transport: Element, sid: string): Info {
  if (readSid(transport) !== sid) throw bad('another sid');
  for (const kind of ['candidate-used', 'activated'] as const) {
    const child = transport.getChild(kind, S5B);
    if (child !== undefined) return { kind, cid: identifier(child.attrs['cid'], 'cid') };
  }
  for (const kind of ['candidate-error', 'proxy-error'] as const)
    if (transport.getChild(kind, S5B) !== undefined) return { kind };
  throw bad('nothing known in the transport-info');
}

/** Writes an offer. */
export function writeOffer(offer: Offer): Element {
  return xml(
    'transport',
    {
      xmlns: S5B,
      sid: offer.sid,
      mode: 'tcp',
      ...(offer.dstaddr === undefined ? {} : { dstaddr: offer.dstaddr }),
    },
    ...offer.candidates.map((candidate) =>
      xml('candidate', {
        cid: candidate.cid,
        host: candidate.host,
        port: String(candidate.port),
        jid: candidate.jid,
        priority: String(candidate.priority),
        type: candidate.type,
      }),
    ),
  );
}

/** Writes what a transport-info says. */
export function writeInfo(sid: string, info: Info): Element {
  const attrs: Record<string, string> = 'cid' in info ? { cid: info.cid } : {};
  return xml('transport', { xmlns: S5B, sid }, xml(info.kind, attrs));
}

/** A host as it may stand in a candidate: an IP address without zone, or a name. */
export function isHost(host: string): boolean {
  return isIP(host) !== 0 ? !host.includes('%') : NAME.test(host);
}

/** A TCP port in decimal digits, 1 to 65535; undefined when it is none. */
export function readPort(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,5}$/.test(text)) return undefined;
  const port = Number(text);
  return port >= 1 && port <= 65_535 ? port : undefined;
}

function isReachable({ attrs: { host } }: Element): boolean {
  return host === undefined || !(host.includes('%') && isIP(host) === 6);
}

function readCandidate(element: Element): Candidate {
  const { host, jid, priority, type = 'direct' } = element.attrs;
  // XEP-0260 gives 1080 as the port when none is stated.
  const port = readPort(element.attrs['port'] ?? '1080');
  if (host === undefined || !isHost(host)) throw bad('a candidate without a valid host');
  if (port === undefined) throw bad('a candidate without a valid port');
  const address = jid === undefined ? undefined : Jid.parse(jid);
  if (address === undefined) throw bad('a candidate without a valid jid');
  if (priority === undefined || !/^\d{1,10}$/.test(priority) || Number(priority) > 0x7fff_ffff)
    throw bad('a candidate without a valid priority');
  if (type !== 'assisted' && type !== 'direct' && type !== 'proxy' && type !== 'tunnel')
    throw bad('a candidate of an unknown type');
  const cid = identifier(element.attrs['cid'], 'cid');
  return { cid, host, port, jid: address.toString(), priority: Number(priority), type };
}

function readSid(transport: Element): string {
  if (!transport.is('transport', S5B)) throw bad('not a SOCKS5 transport');
  return identifier(transport.attrs['sid'], 'sid');
}

function identifier(text: string | undefined, what: string): string {
  if (text === undefined || text === '' || text.length > 256) throw bad(`no valid ${what}`);
  return text;
}

function bad(text: string): StanzaError {
  return new StanzaError('modify', 'bad-request', text);
}
