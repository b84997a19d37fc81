/** XEP-0391 §4 (version 0.1.2): the element security, from XML to a validated value and back. */
import type { Element } from '@xmpp/xml';
import { xml } from '@xmpp/xml';

export const NS_JET = 'urn:xmpp:jingle:jet:0';

/** Longest attribute that is taken, in characters. */
const MAX_ATTRIBUTE = 1024;

/** A validated security element. */
export interface Security {
  /** Name of the content it belongs to; some clients omit it. */
  readonly name: string | undefined;
  /** Cipher URN in the spelling that was used. */
  readonly cipher: string;
  /** Type of the envelope: a namespace. */
  readonly type: string;
  readonly envelope: Element;
  /** Elements behind the envelope. */
  readonly extensions: readonly Element[];
}

/** Why a security element was refused. */
export class SecurityError extends Error {
  readonly reason:
    'missing' | 'repeated' | 'malformed' | 'wrong-content' | 'unknown-cipher' | 'unknown-envelope';

  constructor(reason: SecurityError['reason'], message: string) {
    super(message);
    this.name = 'SecurityError';
    this.reason = reason;
  }
}

function children(parent: Element): Element[] {
  return parent.children.filter((child) => typeof child !== 'string');
}

function attribute(element: Element, name: string): string | undefined {
  const value: unknown = element.attrs[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value === '' || value.length > MAX_ATTRIBUTE)
    throw new SecurityError('malformed', `security has an unusable ${name}`);
  return value;
}

/**
 * The security element of a content. Whether cipher and type are known is for the registries to say.
 *
 * @param content - the content element
 * @throws SecurityError `missing`, `repeated`, `malformed`, `wrong-content`
 */
export function readSecurity(content: Element): Security {
  const [element, second] = children(content).filter((child) => child.is('security', NS_JET));
  if (element === undefined) throw new SecurityError('missing', 'the content is not encrypted');
  if (second !== undefined) throw new SecurityError('repeated', 'more than one security element');
  const name = attribute(element, 'name');
  if (name !== undefined && name !== content.attrs['name'])
    throw new SecurityError('wrong-content', 'security names another content');
  const cipher = attribute(element, 'cipher');
  const type = attribute(element, 'type');
  const inside = children(element);
  const envelopes = inside.filter((child) => child.getNS() === type);
  const [envelope] = envelopes;
  if (cipher === undefined || type === undefined || envelope === undefined || envelopes.length > 1)
    throw new SecurityError('malformed', 'security lacks cipher, type or exactly one envelope');
  return { name, cipher, type, envelope, extensions: inside.filter((child) => child !== envelope) };
}

/** The element for a content. Some clients require the name. */
export function writeSecurity(security: Security): Element {
  const { name, cipher, type, envelope, extensions } = security;
  const attrs = { xmlns: NS_JET, ...(name === undefined ? {} : { name }), cipher, type };
  return xml('security', attrs, envelope, ...extensions);
}
