/** XEP-0163 1.2.2 Personal Eventing over XEP-0060 1.26 Publish-Subscribe. */
import type { Jid } from '../core/jid.ts';
import { type Connection, StanzaError } from './connection.ts';
import type { Disco } from './disco.ts';
import { attr, type Element, xml } from './xml.ts';

const PUBSUB = 'http://jabber.org/protocol/pubsub';
const OWNER = `${PUBSUB}#owner`;
const EVENT = `${PUBSUB}#event`;
const ERRORS = `${PUBSUB}#errors`;
const DATA = 'jabber:x:data';

/** Who may read a node: everybody, or nobody but the account itself (XEP-0060 §4.5). */
export type Access = 'open' | 'whitelist';

function form(type: string, kind: string, access: Access): Element {
  const field = (name: string, value: string, attrs = {}) =>
    xml('field', { var: name, ...attrs }, xml('value', {}, value));
  return xml(
    'x',
    { xmlns: DATA, type: kind },
    field('FORM_TYPE', `${PUBSUB}#${type}`, { type: 'hidden' }),
    field('pubsub#persist_items', 'true'),
    field('pubsub#access_model', access),
  );
}

/** Publishes to our own nodes, reads others', hears of changes. */
export class Pep {
  readonly #connection: Connection;
  readonly #disco: Disco;
  readonly #listeners = new Map<string, Set<(from: Jid, item: Element | undefined) => void>>();

  constructor(connection: Connection, disco: Disco) {
    this.#connection = connection;
    this.#disco = disco;
    connection.onMessage((message, from) => {
      const event = from.isFull ? undefined : message.getChild('event', EVENT);
      for (const items of event?.getChildren('items', EVENT).slice(0, 16) ?? []) {
        const item = items.getChildren('item', EVENT)[0]?.getChildElements()[0];
        for (const listener of this.#listeners.get(attr(items, 'node') ?? '') ?? [])
          listener(from, item);
      }
    });
  }

  /** Publishes an item; a node configured for other readers is configured anew. */
  async publish(
    node: string,
    id: string,
    payload: Element,
    access: Access = 'open',
  ): Promise<void> {
    const send = () =>
      this.#connection.iq(
        null,
        'set',
        xml(
          'pubsub',
          { xmlns: PUBSUB },
          xml('publish', { node }, xml('item', { id }, payload)),
          xml('publish-options', {}, form('publish-options', 'submit', access)),
        ),
      );
    try {
      await send();
    } catch (error) {
      if (!(error instanceof StanzaError)) throw error;
      if (error.application?.is('precondition-not-met', ERRORS) !== true) throw error;
      const configure = xml('configure', { node }, form('node_config', 'submit', access));
      await this.#connection.iq(null, 'set', xml('pubsub', { xmlns: OWNER }, configure));
      await send();
    }
  }

  /**
   * Makes a node that only we can read (XEP-0060 §8.1.3). On the server this is one step: of two who
   * make a node of one name, one succeeds.
   *
   * @returns false when it is there already
   */
  async create(node: string): Promise<boolean> {
    const payload = xml(
      'pubsub',
      { xmlns: PUBSUB },
      xml('create', { node }),
      xml('configure', {}, form('node_config', 'submit', 'whitelist')),
    );
    try {
      await this.#connection.iq(null, 'set', payload);
      return true;
    } catch (error) {
      if (!(error instanceof StanzaError) || error.condition !== 'conflict') throw error;
      return false;
    }
  }

  /** The payload of the latest item, whatever its id; undefined when node or item is not there. */
  async latest(owner: Jid, node: string): Promise<Element | undefined> {
    const items = xml('items', { node, max_items: 1 });
    try {
      const reply = await this.#connection.iq(
        owner.bare,
        'get',
        xml('pubsub', { xmlns: PUBSUB }, items),
      );
      const list = reply?.getChild('items', PUBSUB);
      if (list === undefined || attr(list, 'node') !== node) return undefined;
      return list.getChildren('item', PUBSUB)[0]?.getChildElements()[0];
    } catch (error) {
      if (error instanceof StanzaError && error.condition === 'item-not-found') return undefined;
      throw error;
    }
  }

  /** Deletes one of our own nodes; one that is not there is no error. */
  async deleteNode(node: string): Promise<void> {
    try {
      const payload = xml('pubsub', { xmlns: OWNER }, xml('delete', { node }));
      await this.#connection.iq(null, 'set', payload);
    } catch (error) {
      if (!(error instanceof StanzaError) || error.condition !== 'item-not-found') throw error;
    }
  }

  /** Hears of a node's items (undefined when retracted); to be called before our first presence. */
  onItem(node: string, listener: (from: Jid, item: Element | undefined) => void): () => void {
    this.#disco.addFeatures(`${node}+notify`);
    const listeners = this.#listeners.get(node) ?? new Set();
    this.#listeners.set(node, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }
}
