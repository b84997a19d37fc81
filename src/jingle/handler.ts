/** XEP-0166 1.1.2, Jingle: what the owner of a session is told. */
import type { Element } from '../xmpp/xml.ts';
import type { Condition, Content, Creator } from './stanza.ts';

/** How a session ended: by us, by the peer's word, or because the peer is not there any more. */
export interface End {
  readonly by: 'self' | 'peer' | 'gone';
  readonly reason: Condition;
  readonly text?: string;
  readonly application?: Element;
  /** What the peer's last stanza held beside its reason. */
  readonly payloads?: readonly Element[];
}

/** Actions about contents after the start of a session (§7.2). */
export type ContentAction = 'content-accept' | 'content-add' | 'content-reject' | 'content-remove';

/** A callback may take its time; a StanzaError that it throws is the answer to the stanza. */
type Told = Promise<void> | void;

/** The owner of a session. Its callbacks run one after another. */
export interface SessionHandler {
  /** The peer accepted our offer. */
  accepted(contents: readonly Content[]): Told;
  /** May come before `accepted`. */
  transportInfo(creator: Creator, name: string, transport: Element): Told;
  /** To be answered by `acceptTransport` or `rejectTransport`. */
  transportReplace(creator: Creator, name: string, transport: Element): Told;
  transportAccepted(creator: Creator, name: string, transport: Element): Told;
  /** Also when our replacement lost against the peer's own. */
  transportRejected(creator: Creator, name: string): Told;
  /** One payload of a session-info. Throw `feature-not-implemented` for an unknown one. */
  info(payload: Element, action: 'session-info'): Told;
  /**
   * Without it all of these are refused.
   *
   * @param end - why, of a content-reject or content-remove
   */
  content?(action: ContentAction, contents: readonly Content[], end: Omit<End, 'by'>): Told;
  /** The peer went offline. True ends the session as gone; a bytestream may well be alive still. */
  peerUnavailable?(): boolean;
  /** Called once, last. */
  ended(end: End): Told;
}

/** For a session that was refused: what still comes means nothing. */
export const REFUSED: SessionHandler = {
  accepted: () => undefined,
  transportInfo: () => undefined,
  transportReplace: () => undefined,
  transportAccepted: () => undefined,
  transportRejected: () => undefined,
  info: () => undefined,
  ended: () => undefined,
};
