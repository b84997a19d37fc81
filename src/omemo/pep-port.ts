/** What OMEMO needs of personal eventing (XEP-0163): the part of src/xmpp/pep.ts that it uses. */
import type { Element } from '../xmpp/xml.ts';
import type { Jid } from '../core/jid.ts';
import type { Access, Pep } from '../xmpp/pep.ts';

/** Publishes for our own account and reads anybody's nodes. */
export interface PepPort {
  /**
   * Publishes; with open access (the default) those without a subscription can read it, too, and so
   * encrypt to us. @throws StanzaError
   */
  publish(node: string, itemId: string, payload: Element, access?: Access): Promise<void>;
  /** Makes a node for ourselves, in one step on the server; false when it is there. @throws StanzaError */
  create(node: string): Promise<boolean>;
  /**
   * The payload of the first item, whatever its id; undefined when there is no such node or item.
   * @param jid - the account, or null for our own
   * @throws StanzaError for any other failure
   */
  fetch(jid: Jid | null, node: string): Promise<Element | undefined>;
  /** Deletes a node of our own; one that is not there is no error. @throws StanzaError */
  deleteNode(node: string): Promise<void>;
  /** Notifications of a node; `from` is bare. Returns the removal. */
  onItem(node: string, listener: (payload: Element | undefined, from: Jid) => void): () => void;
}

/** The port on the real thing; to be made before our first presence, so that caps show the notification. */
export function pepPort(pep: Pep, account: Jid): PepPort {
  return {
    publish: (node, itemId, payload, access) => pep.publish(node, itemId, payload, access),
    create: (node) => pep.create(node),
    fetch: (jid, node) => pep.latest(jid ?? account.bare, node),
    deleteNode: (node) => pep.deleteNode(node),
    onItem: (node, listener) =>
      pep.onItem(node, (from, payload) => {
        listener(payload, from);
      }),
  };
}
