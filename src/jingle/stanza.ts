/** XEP-0166 1.1.2, Jingle: the `<jingle/>` element as a typed value (§7). */
import type { Element } from '@xmpp/xml';
import { Jid } from '../core/jid.ts';
import { StanzaError } from '../xmpp/connection.ts';
import { attr, xml } from '../xmpp/xml.ts';

/** Namespace of `<jingle/>`. */
export const JINGLE = 'urn:xmpp:jingle:1';
/** Namespace of Jingle's error conditions. */
export const JINGLE_ERRORS = 'urn:xmpp:jingle:errors:1';
/** What disco#info advertises for sessions. */
export const sessionFeatures: readonly string[] = [JINGLE];

/** Actions (§7.2). */
export const ACTIONS = [
  'session-initiate',
  'session-accept',
  'session-info',
  'session-terminate',
  'content-add',
  'content-accept',
  'content-reject',
  'content-modify',
  'content-remove',
  'description-info',
  'security-info',
  'transport-info',
  'transport-replace',
  'transport-accept',
  'transport-reject',
] as const;
/** One of the actions. */
export type Action = (typeof ACTIONS)[number];

/** Conditions of a `<reason/>` (§7.4). */
export const CONDITIONS = [
  'alternative-session',
  'busy',
  'cancel',
  'connectivity-error',
  'decline',
  'expired',
  'failed-application',
  'failed-transport',
  'general-error',
  'gone',
  'incompatible-parameters',
  'media-error',
  'security-error',
  'success',
  'timeout',
  'unsupported-applications',
  'unsupported-transports',
] as const;
/** One of the reasons. */
export type Condition = (typeof CONDITIONS)[number];

/** Who added a content. */
export type Creator = 'initiator' | 'responder';

/** A `<content/>` (§7.3). What it holds is read by those whom it concerns. */
export interface Content {
  readonly creator: Creator;
  /** 1 to 256 characters. */
  readonly name: string;
  readonly senders: 'both' | 'initiator' | 'none' | 'responder';
  readonly description?: Element;
  readonly transport?: Element;
  readonly security?: Element;
  /** Whatever else stands in it, of other namespaces; at most 8. */
  readonly extensions?: readonly Element[];
}

/** A `<reason/>` (§7.4). */
export interface Reason {
  readonly condition: Condition;
  readonly text?: string;
  readonly application?: Element;
}

/** A `<jingle/>`. */
export interface Jingle {
  readonly action: Action;
  /** 1 to 256 characters. */
  readonly sid: string;
  readonly initiator?: Jid;
  readonly responder?: Jid;
  /** At most 64, no two with the same creator and name. */
  readonly contents: readonly Content[];
  readonly reason?: Reason;
  /** Children in other namespaces: the payload of a session-info (§6.8), receipts at the end. At most 64. */
  readonly payloads: readonly Element[];
}

/** Most characters of a session id or content name. */
export const MAX_NAME = 256;
/** Most contents or payloads in one stanza. */
export const MAX_CONTENTS = 64;
const MAX_TEXT = 1024;
const MAX_EXTENSIONS = 8;
const PARTS: ReadonlySet<string> = new Set(['description', 'transport', 'security']);

const NEEDS_CONTENT: ReadonlySet<Action> = new Set<Action>(
  ACTIONS.filter((action) => !action.startsWith('session-') && action !== 'security-info'),
)
  .add('session-initiate')
  .add('session-accept');

/** Identifies a content within its session. */
export function contentKey(content: { readonly creator: Creator; readonly name: string }): string {
  return `${content.creator}/${content.name}`;
}

/** The `bad-request` of what is no Jingle. */
export function badRequest(why: string): StanzaError {
  return new StanzaError('modify', 'bad-request', why);
}

/** Reads a `<jingle/>` from the network. @throws StanzaError `bad-request` */
export function decodeJingle(element: Element): Jingle {
  if (!element.is('jingle', JINGLE)) throw badRequest('not a jingle element');
  const action = oneOf(ACTIONS, attr(element, 'action'), 'action');
  const sid = boundedName(attr(element, 'sid'), 'sid');
  const initiator = optionalJid(element, 'initiator');
  const responder = optionalJid(element, 'responder');
  const contents: Content[] = [];
  const payloads: Element[] = [];
  const seen = new Set<string>();
  let reason: Reason | undefined;
  for (const child of element.getChildElements()) {
    if (child.is('content', JINGLE)) {
      const content = decodeContent(child);
      if (seen.has(contentKey(content))) throw badRequest('two contents of one name');
      seen.add(contentKey(content));
      contents.push(content);
    } else if (child.is('reason', JINGLE)) {
      if (reason) throw badRequest('two reasons');
      reason = decodeReason(child);
    } else if (child.getNS() !== JINGLE) {
      payloads.push(child);
    }
    if (contents.length > MAX_CONTENTS || payloads.length > MAX_CONTENTS)
      throw badRequest('too many children');
  }
  if (contents.length === 0 && NEEDS_CONTENT.has(action)) throw badRequest('no content');
  return {
    action,
    sid,
    ...(initiator && { initiator }),
    ...(responder && { responder }),
    contents,
    ...(reason && { reason }),
    payloads,
  };
}

/** Writes a `<jingle/>`. */
export function encodeJingle(jingle: Jingle): Element {
  return xml(
    'jingle',
    {
      xmlns: JINGLE,
      action: jingle.action,
      sid: jingle.sid,
      ...(jingle.initiator && { initiator: jingle.initiator.toString() }),
      ...(jingle.responder && { responder: jingle.responder.toString() }),
    },
    ...jingle.contents.map(encodeContent),
    ...(jingle.reason ? [encodeReason(jingle.reason)] : []),
    ...jingle.payloads,
  );
}

/** Writes a `<content/>`. */
export function encodeContent(content: Content): Element {
  const { description, transport, security, extensions = [] } = content;
  const parts = [description, transport, security, ...extensions];
  return xml(
    'content',
    { creator: content.creator, name: content.name, senders: content.senders },
    ...parts.filter((part) => part !== undefined),
  );
}

/** Writes a `<reason/>`. */
export function encodeReason(reason: Reason): Element {
  return xml(
    'reason',
    {},
    xml(reason.condition, {}),
    ...(reason.text === undefined ? [] : [xml('text', {}, reason.text)]),
    ...(reason.application ? [reason.application] : []),
  );
}

function decodeContent(element: Element): Content {
  const part = (name: string) => {
    const found = element.getChildElements().filter((child) => child.getName() === name);
    if (found.length > 1) throw badRequest(`two of ${name} in one content`);
    return found[0];
  };
  const description = part('description');
  const transport = part('transport');
  const security = part('security');
  const extensions = element.getChildElements().filter((child) => !PARTS.has(child.getName()));
  if (extensions.length > MAX_EXTENSIONS) throw badRequest('too much in one content');
  return {
    creator: oneOf(['initiator', 'responder'] as const, attr(element, 'creator'), 'creator'),
    name: boundedName(attr(element, 'name'), 'name'),
    senders: oneOf(
      ['both', 'initiator', 'none', 'responder'] as const,
      attr(element, 'senders') ?? 'both',
      'senders',
    ),
    ...(description && { description }),
    ...(transport && { transport }),
    ...(security && { security }),
    ...(extensions.length > 0 && { extensions }),
  };
}

/** Unknown conditions are a `general-error`; underscores are what one client writes for hyphens. */
export function decodeReason(element: Element): Reason {
  let condition: Condition | undefined;
  let words: string | undefined;
  let application: Element | undefined;
  for (const child of element.getChildElements()) {
    if (child.getNS() !== JINGLE) application ??= child;
    else if (child.getName() === 'text') words ??= child.getText().slice(0, MAX_TEXT);
    else {
      const name = child.getName().replaceAll('_', '-');
      condition ??= CONDITIONS.find((known) => known === name) ?? 'general-error';
    }
  }
  return {
    condition: condition ?? 'general-error',
    ...(words !== undefined && { text: words }),
    ...(application && { application }),
  };
}

function oneOf<T extends string>(known: readonly T[], value: string | undefined, what: string): T {
  const found = known.find((word) => word === value);
  if (found === undefined) throw badRequest(`bad ${what}`);
  return found;
}

function boundedName(value: string | undefined, what: string): string {
  if (value === undefined || value === '' || value.length > MAX_NAME)
    throw badRequest(`bad ${what}`);
  return value;
}

function optionalJid(element: Element, name: string): Jid | undefined {
  const value = attr(element, name);
  if (value === undefined) return undefined;
  const jid = Jid.parse(value);
  if (!jid) throw badRequest(`bad ${name}`);
  return jid;
}
