/** XEP-0030 2.5.0 Service Discovery, with the forms of XEP-0128 1.0.1. */
import type { Jid } from '../core/jid.ts';
import { Jid as Address } from '../core/jid.ts';
import { type Connection, StanzaError } from './connection.ts';
import { attr, type Element, xml } from './xml.ts';

export const DISCO_INFO = 'http://jabber.org/protocol/disco#info';
export const DISCO_ITEMS = 'http://jabber.org/protocol/disco#items';
const DATA = 'jabber:x:data';
const MOST = 500;
const LONGEST = 1024;

/** Who an entity says it is. */
export interface Identity {
  readonly category: string;
  readonly type: string;
  readonly lang: string;
  readonly name: string;
}

/** A form that extends an answer: its FORM_TYPE and its fields. */
export interface DiscoForm {
  readonly type: string;
  readonly fields: readonly { readonly name: string; readonly values: readonly string[] }[];
}

/** What an entity says of itself, in the order of the wire (duplicates kept, for XEP-0115 §5.4). */
export interface DiscoInfo {
  readonly identities: readonly Identity[];
  readonly features: readonly string[];
  readonly forms: readonly DiscoForm[];
}

/** One of the items of an entity. */
export interface DiscoItem {
  readonly jid: Jid;
  readonly node: string | undefined;
}

/** Reads a disco#info query; undefined when it is malformed or beyond 500 entries of 1,024 characters. */
export function readInfo(query: Element | undefined): DiscoInfo | undefined {
  if (query?.is('query', DISCO_INFO) !== true) return undefined;
  const elements = query.getChildElements();
  if (elements.length > MOST || query.toString().length > 65_536) return undefined;
  const identities: Identity[] = [];
  const features: string[] = [];
  const forms: DiscoForm[] = [];
  for (const element of elements) {
    if (element.is('identity', DISCO_INFO)) {
      const category = attr(element, 'category');
      const type = attr(element, 'type');
      if (!category || !type) return undefined;
      const lang = attr(element, 'xml:lang') ?? '';
      identities.push({ category, type, lang, name: attr(element, 'name') ?? '' });
    } else if (element.is('feature', DISCO_INFO)) {
      const name = attr(element, 'var');
      if (!name || name.length > LONGEST) return undefined;
      features.push(name);
    } else if (element.is('x', DATA)) {
      const form = readForm(element);
      if (form !== undefined) forms.push(form);
    }
  }
  return { identities, features, forms };
}

/** A form without a hidden FORM_TYPE counts for nothing (XEP-0115 §5.4, 3.6). */
function readForm(element: Element): DiscoForm | undefined {
  const fields: { name: string; values: string[] }[] = [];
  let type: string | undefined;
  for (const field of element.getChildren('field', DATA)) {
    const name = attr(field, 'var');
    if (name === undefined) continue;
    const values = field.getChildren('value', DATA).map((value) => value.text());
    if (name !== 'FORM_TYPE') fields.push({ name, values });
    else if (attr(field, 'type') === 'hidden') type = values[0];
  }
  return type === undefined ? undefined : { type, fields };
}

/** The answer as XML. */
export function writeInfo(info: DiscoInfo, node?: string): Element {
  return xml(
    'query',
    { xmlns: DISCO_INFO, ...(node === undefined ? {} : { node }) },
    ...info.identities.map(({ category, type, lang, name }) =>
      xml('identity', {
        category,
        type,
        ...(lang === '' ? {} : { 'xml:lang': lang }),
        ...(name === '' ? {} : { name }),
      }),
    ),
    ...info.features.map((feature) => xml('feature', { var: feature })),
    ...info.forms.map((form) =>
      xml(
        'x',
        { xmlns: DATA, type: 'result' },
        xml('field', { var: 'FORM_TYPE', type: 'hidden' }, xml('value', {}, form.type)),
        ...form.fields.map(({ name, values }) =>
          xml('field', { var: name }, ...values.map((value) => xml('value', {}, value))),
        ),
      ),
    ),
  );
}

/** Asks others, and answers for ourselves. */
export class Disco {
  readonly #connection: Connection;
  readonly #identity: Identity;
  readonly #features = new Set<string>([DISCO_INFO]);
  readonly #forms = new Map<string, DiscoForm>();
  readonly #nodes = new Set<string>();

  /** @param name - the name of the software that our identity shows */
  constructor(connection: Connection, name = 'jet') {
    this.#connection = connection;
    this.#identity = { category: 'client', type: 'console', lang: '', name };
    connection.onIq(DISCO_INFO, 'query', ({ type, payload }) => {
      if (type !== 'get') throw new StanzaError('modify', 'bad-request');
      const node = attr(payload, 'node');
      if (node !== undefined && !this.#nodes.has(node))
        throw new StanzaError('cancel', 'item-not-found');
      return writeInfo(this.own, node);
    });
  }

  /** What we say of ourselves. */
  get own(): DiscoInfo {
    return {
      identities: [this.#identity],
      features: [...this.#features].sort(),
      forms: [...this.#forms.values()],
    };
  }

  /** Advertises features. */
  addFeatures(...features: string[]): void {
    for (const feature of features) this.#features.add(feature);
  }

  /** Names a node under which the same is said as under none; any other is `item-not-found`. */
  addNode(node: string): void {
    this.#nodes.add(node);
  }

  /** Advertises a form; a later one of the same type replaces it. */
  setForm(form: DiscoForm): void {
    this.#forms.set(form.type, form);
  }

  /**
   * Asks what an entity is.
   *
   * @throws StanzaError as `Connection.iq` does; condition `undefined-condition` for nonsense.
   */
  async info(
    to: Jid,
    options: {
      readonly node?: string;
      readonly timeout?: number;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<DiscoInfo> {
    const { node, ...rest } = options;
    const query = xml('query', { xmlns: DISCO_INFO, ...(node === undefined ? {} : { node }) });
    const info = readInfo(await this.#connection.iq(to, 'get', query, rest));
    if (info === undefined)
      throw new StanzaError('cancel', 'undefined-condition', 'bad disco#info');
    return info;
  }

  /** The items of an entity, 500 at most; malformed ones are left out. */
  async items(to: Jid): Promise<DiscoItem[]> {
    const reply = await this.#connection.iq(to, 'get', xml('query', { xmlns: DISCO_ITEMS }));
    const items: DiscoItem[] = [];
    for (const item of reply?.getChildren('item', DISCO_ITEMS).slice(0, MOST) ?? []) {
      const jid = Address.parse(attr(item, 'jid') ?? '');
      if (jid !== undefined) items.push({ jid, node: attr(item, 'node') });
    }
    return items;
  }
}
