/** XEP-0115 1.6.0 Entity Capabilities: our own hash, and others' only after verification. */
import { createHash } from 'node:crypto';
import { makeRoom } from '../core/bounded.ts';
import type { Jid } from '../core/jid.ts';
import { StanzaError } from './connection.ts';
import type { Disco, DiscoInfo } from './disco.ts';
import { attr, type Element, xml } from './xml.ts';

export const CAPS = 'http://jabber.org/protocol/caps';
const NODE = 'https://jet-transfer.invalid/caps';
/** Answers that are remembered. */
const CACHED = 500;

/** What a presence says of its sender's capabilities. */
export interface Caps {
  readonly hash: string;
  readonly node: string;
  readonly ver: string;
}

function order(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** The text that is hashed (§5.1); undefined where §5.4 calls the answer ill-formed. */
export function capsText(info: DiscoInfo): string | undefined {
  const identities = info.identities
    .map(({ category, type, lang, name }) => [category, type, lang, name].join('/'))
    .sort(order);
  const features = [...info.features].sort(order);
  const types = info.forms.map((form) => form.type);
  for (const list of [identities, features, types])
    if (new Set(list).size !== list.length) return undefined;
  const parts = [...identities, ...features];
  for (const form of [...info.forms].sort((a, b) => order(a.type, b.type))) {
    parts.push(form.type);
    for (const field of [...form.fields].sort((a, b) => order(a.name, b.name)))
      parts.push(field.name, ...[...field.values].sort(order));
  }
  // A '<' inside a value could pass for the separator and so give two answers one hash.
  if (parts.some((part) => part.includes('<'))) return undefined;
  return parts.map((part) => `${part}<`).join('');
}

/** The verification string with SHA-1; undefined for an ill-formed answer. */
export function capsVer(info: DiscoInfo, hash = 'sha-1'): string | undefined {
  const name = { 'sha-1': 'sha1', 'sha-256': 'sha256' }[hash];
  const text = capsText(info);
  if (name === undefined || text === undefined) return undefined;
  return createHash(name).update(text).digest('base64');
}

/** The element that our presence carries. */
export function capsElement(info: DiscoInfo): Element {
  return xml('c', { xmlns: CAPS, hash: 'sha-1', node: NODE, ver: capsVer(info) ?? '' });
}

/** The disco node that such an element names (§6.2). */
export function capsNode(element: Element): string {
  return `${attr(element, 'node') ?? ''}#${attr(element, 'ver') ?? ''}`;
}

/** Reads the caps of a presence; undefined for none, the pre-1.4 form, or over-long ones. */
export function readCaps(presence: Element): Caps | undefined {
  const element = presence.getChild('c', CAPS);
  if (element === undefined) return undefined;
  const [hash, node, ver] = [attr(element, 'hash'), attr(element, 'node'), attr(element, 'ver')];
  if (!hash || !node || !ver || node.length > 1024 || ver.length > 128) return undefined;
  return { hash, node, ver };
}

/** Keeps what was verified for later processes, as text. */
export interface KeptCaps {
  read(caps: Caps): string | undefined;
  write(caps: Caps, info: string): void;
}

/** Knows what resources can do; shares only answers that match their hash. */
export class CapsCache {
  readonly #disco: Disco;
  readonly #kept: KeptCaps | undefined;
  readonly #known = new Map<string, DiscoInfo>();

  /** @param kept - to know it in later processes, too */
  constructor(disco: Disco, kept?: KeptCaps) {
    this.#disco = disco;
    this.#kept = kept;
  }

  /**
   * What the resource can do: from the cache when its hash was verified before, in whichever process, else by asking
   * it.
   */
  async info(
    jid: Jid,
    caps: Caps | undefined,
    options: { readonly timeout?: number; readonly signal?: AbortSignal } = {},
  ): Promise<DiscoInfo> {
    const key = caps === undefined ? undefined : `${caps.hash} ${caps.ver}`;
    if (key === undefined || caps === undefined) return this.#disco.info(jid, options);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const kept = this.#read(caps);
    if (kept !== undefined) {
      this.#remember(key, kept);
      return kept;
    }
    let info: DiscoInfo;
    try {
      info = await this.#disco.info(jid, { ...options, node: `${caps.node}#${caps.ver}` });
    } catch (error) {
      // What it can do has changed since its presence, or the presence lied: what it says now counts.
      if (!(error instanceof StanzaError) || error.condition !== 'item-not-found') throw error;
      return this.#disco.info(jid, options);
    }
    if (capsVer(info, caps.hash) === caps.ver) {
      this.#remember(key, info);
      this.#kept?.write(caps, JSON.stringify(info));
    }
    return info;
  }

  #remember(key: string, info: DiscoInfo): void {
    makeRoom(this.#known, key, CACHED);
    this.#known.set(key, info);
  }

  /** Verified once more: what does not fit its hash is as good as none. */
  #read(caps: Caps): DiscoInfo | undefined {
    const text = this.#kept?.read(caps);
    if (text === undefined) return undefined;
    try {
      const info = JSON.parse(text) as DiscoInfo;
      return capsVer(info, caps.hash) === caps.ver ? info : undefined;
    } catch {
      return undefined;
    }
  }
}
