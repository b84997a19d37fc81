/**
 * XEP-0353 0.7.0, Jingle Message Initiation, as far as it finds the resource that takes a file: messages
 * to a bare address, of which one resource answers. A proposal ends no running session (§4 is for calls):
 * transfers run side by side.
 */
import { makeRoom } from '../core/bounded.ts';
import { randomId } from '../core/bytes.ts';
import type { Jid } from '../core/jid.ts';
import { hear } from '../xmpp/carbons.ts';
import type { Connection } from '../xmpp/connection.ts';
import { attr, type Element, xml } from '../xmpp/xml.ts';
import { FILE_TRANSFER } from './file-description.ts';
import { decodeReason, encodeReason, JINGLE, MAX_NAME, type Reason } from './stanza.ts';

/** Namespace of the messages, and what disco#info advertises. */
export const MESSAGE_INITIATION = 'urn:xmpp:jingle-message:0';
const HINTS = 'urn:xmpp:hints';
const MOST_DESCRIPTIONS = 64;
/** Proposals that are remembered as answered. */
const MOST_ANSWERED = 1000;

/** A message of the protocol (§3). `id` has 1 to 256 characters, and is the session's as well. */
export type Initiation = { readonly id: string } & (
  | {
      readonly action: 'propose';
      /** Namespaces of the descriptions: what the session would be about. 1 to 64. */
      readonly descriptions: readonly string[];
    }
  /** `accept` is of 0.3: it tells the own resources what `proceed` tells by its copies since 0.4. */
  | { readonly action: 'ringing' | 'proceed' | 'accept' }
  | {
      readonly action: 'reject' | 'retract';
      readonly reason?: Reason;
      /** Two proposals crossed, and the other one stands (§4.1). */
      readonly tieBreak: boolean;
    }
  | {
      readonly action: 'finish';
      readonly reason?: Reason;
      /** The session that takes the place of this one. */
      readonly migrated?: string;
    }
);

const ACTIONS: readonly Initiation['action'][] = [
  'propose',
  'ringing',
  'proceed',
  'accept',
  'reject',
  'retract',
  'finish',
];

/** Reads a message; undefined for an error, for one that is none of these, or that is malformed. */
export function decodeInitiation(message: Element): Initiation | undefined {
  if (attr(message, 'type') === 'error') return undefined;
  const [element, ...more] = message
    .getChildElements()
    .filter((child) => child.getNS() === MESSAGE_INITIATION);
  const action = ACTIONS.find((known) => known === element?.getName());
  const id = name(element && attr(element, 'id'));
  if (element === undefined || action === undefined || id === undefined || more.length > 0)
    return undefined;
  const found = element.getChild('reason', JINGLE);
  const reason = found === undefined ? {} : { reason: decodeReason(found) };
  switch (action) {
    case 'propose': {
      const descriptions = element
        .getChildElements()
        .filter((child) => child.getName() === 'description')
        .map((child) => child.getNS() ?? '');
      const count = descriptions.length;
      return count > 0 && count <= MOST_DESCRIPTIONS ? { action, id, descriptions } : undefined;
    }
    case 'ringing':
    case 'proceed':
    case 'accept':
      return { action, id };
    case 'reject':
    case 'retract': {
      const tieBreak = element.getChild('tie-break', MESSAGE_INITIATION) !== undefined;
      return { action, id, ...reason, tieBreak };
    }
    case 'finish': {
      const migrated = element.getChild('migrated', MESSAGE_INITIATION);
      const to = name(migrated && attr(migrated, 'to'));
      return { action, id, ...reason, ...(to !== undefined && { migrated: to }) };
    }
  }
}

/** Writes the whole message: of type `chat` and with a storage hint, as §3 demands. */
export function encodeInitiation(to: Jid, initiation: Initiation): Element {
  const { action, id } = initiation;
  const parts: Element[] = [];
  if (initiation.action === 'propose')
    parts.push(...initiation.descriptions.map((xmlns) => xml('description', { xmlns })));
  if ('reason' in initiation) {
    const reason = encodeReason(initiation.reason);
    reason.attrs['xmlns'] = JINGLE;
    parts.push(reason);
  }
  if ('tieBreak' in initiation && initiation.tieBreak) parts.push(xml('tie-break', {}));
  if (initiation.action === 'finish' && initiation.migrated !== undefined)
    parts.push(xml('migrated', { to: initiation.migrated }));
  return xml(
    'message',
    { to: to.toString(), type: 'chat' },
    xml(action, { xmlns: MESSAGE_INITIATION, id }, ...parts),
    xml('store', { xmlns: HINTS }),
  );
}

/**
 * The waiting side: answers proposals of files with `<proceed/>`, so that who addressed our account
 * learns our full address. The answer goes to the proposer's full address, since a bare one may not
 * reach it; who `deals` does not know gets none. Returns the end of it.
 *
 * @param introduce - told of each who is answered, before the answer
 */
export function answerProposals(
  connection: Connection,
  deals: (from: Jid) => boolean,
  introduce: (to: Jid) => void,
): () => void {
  const answered = new Set<string>();
  return hear(connection, (message, from) => {
    const initiation = decodeInitiation(message);
    if (initiation === undefined || !from.isFull || !deals(from)) return;
    const { id } = initiation;
    const key = `${from.toString()}\n${id}`;
    // What is taken back, or over, may be proposed anew (§3.3, §3.7).
    if (initiation.action === 'retract' || initiation.action === 'finish') answered.delete(key);
    if (initiation.action !== 'propose') return;
    if (!initiation.descriptions.includes(FILE_TRANSFER)) return;
    if (answered.has(key)) return;
    makeRoom(answered, key, MOST_ANSWERED);
    answered.add(key);
    introduce(from);
    connection
      .send(encodeInitiation(from, { action: 'proceed', id }))
      .catch(() => answered.delete(key));
  });
}

/** The sending side: asks an account which of its resources takes a file. */
export class Proposal {
  /** For the session, if one who proceeded is chosen (§3.6). */
  readonly id = randomId();
  readonly #connection: Connection;
  readonly #to: Jid;
  #off: (() => void) | undefined;

  /** @param to - a bare address */
  constructor(connection: Connection, to: Jid) {
    this.#connection = connection;
    this.#to = to;
  }

  /**
   * Proposes; `proceeded` is told the full address of each resource of the account that would. One that
   * rings says nothing more than that: a person is asked there, and the waiting goes on.
   *
   * @param rejected - one of them has said no for all of them (§3.5)
   */
  async make(proceeded: (jid: Jid) => void, rejected: () => void = () => undefined): Promise<void> {
    this.#off = hear(this.#connection, (message, from) => {
      const initiation = decodeInitiation(message);
      if (initiation?.id !== this.id || !from.isFull || !from.sameBare(this.#to)) return;
      if (initiation.action === 'proceed') proceeded(from);
      if (initiation.action === 'reject') rejected();
    });
    const descriptions = [FILE_TRANSFER];
    await this.#send({ action: 'propose', id: this.id, descriptions });
  }

  /** Tells the account how the session ended that came of it (§3.7). Never rejects. */
  finish(condition: Reason['condition']): Promise<void> {
    const finish = { action: 'finish', id: this.id, reason: { condition } } as const;
    // Where the stream is lost nobody waits for this word.
    return this.#send(finish).catch(() => undefined);
  }

  /** Listens no more; `retract` tells the account that nothing will come of it. */
  end(retract: boolean): void {
    if (this.#off === undefined) return;
    this.#off();
    this.#off = undefined;
    if (!retract) return;
    // Where the stream is lost, the proposal dies with it.
    const reason = { condition: 'cancel' } as const;
    this.#send({ action: 'retract', id: this.id, reason, tieBreak: false }).catch(() => undefined);
  }

  #send(initiation: Initiation): Promise<void> {
    return this.#connection.send(encodeInitiation(this.#to, initiation));
  }
}

function name(value: string | undefined): string | undefined {
  return value === '' || (value?.length ?? 0) > MAX_NAME ? undefined : value;
}
