/** Stanzas (RFC 6120 §8): errors to and from XML, and whose reply is whose. */
import type { Element } from '@xmpp/xml';
import type { Jid } from '../core/jid.ts';
import { StanzaError } from './connection.ts';
import { attr, xml } from './xml.ts';

const NS_STANZAS = 'urn:ietf:params:xml:ns:xmpp-stanzas';
const TYPES: readonly StanzaError['type'][] = ['auth', 'cancel', 'continue', 'modify', 'wait'];
const LONGEST_TEXT = 1000;

/** Reads the `<error/>` of a stanza; one that makes no sense is an `undefined-condition`. */
export function readError(stanza: Element): StanzaError {
  const error = stanza.getChildElements().find((element) => element.getName() === 'error');
  const parts = error?.getChildElements() ?? [];
  const defined = parts.filter((element) => element.getNS() === NS_STANZAS);
  const condition = defined.find((element) => element.getName() !== 'text');
  const text = defined.find((element) => element.getName() === 'text')?.text();
  return new StanzaError(
    TYPES.find((type) => error !== undefined && attr(error, 'type') === type) ?? 'cancel',
    (condition?.getName() ?? 'undefined-condition').slice(0, 64),
    text === undefined || text === '' ? undefined : text.slice(0, LONGEST_TEXT),
    parts.find((element) => element.getNS() !== NS_STANZAS),
  );
}

/** Writes an error as the `<error/>` of a stanza. */
export function writeError(error: StanzaError): Element {
  return xml(
    'error',
    { type: error.type },
    xml(error.condition, { xmlns: NS_STANZAS }),
    error.text === undefined ? undefined : xml('text', { xmlns: NS_STANZAS }, error.text),
    error.application,
  );
}

/** The error of a request or a message that a lost stream took with it. */
export function disconnected(): StanzaError {
  return new StanzaError('wait', 'disconnect', 'the connection to the server was lost');
}

/**
 * True when a reply from `from` can be the one to a request to `to` (RFC 6120 §8.1.2.1, §10.3.3): only
 * our server can leave `from` out, and it speaks for our account and for itself.
 */
export function repliesFor(to: Jid | null, from: Jid | undefined, own: Jid): boolean {
  if (to === null) {
    if (from === undefined || isServer(from, own)) return true;
    return from.equals(own) || from.equals(own.bare);
  }
  if (from === undefined) return to.equals(own.bare) || isServer(to, own);
  return from.equals(to);
}

/** True for our own server, and for our account, for which it speaks; not for a resource of the account. */
export function isOwn(from: Jid, own: Jid): boolean {
  return from.equals(own.bare) || isServer(from, own);
}

function isServer(address: Jid, own: Jid): boolean {
  return address.local === '' && !address.isFull && address.domain === own.domain;
}
