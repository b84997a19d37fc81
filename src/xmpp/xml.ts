/** XML as XMPP uses it (RFC 6120 §11): building, and reading of what came from the network. */
import { Element, xml } from '@xmpp/xml';
import { StreamParser } from './parser.ts';

export { Element, xml };

/** The first child element of this name and namespace (inherited ones count). */
export function child(element: Element, name: string, namespace?: string): Element | undefined {
  return element.getChild(name, namespace ?? element.getNS());
}

/** All child elements of this name and namespace. */
export function children(element: Element, name: string, namespace?: string): Element[] {
  return element.getChildren(name, namespace ?? element.getNS());
}

/** An attribute, undefined when it is absent. Never one of the prototype's. */
export function attr(element: Element, name: string): string | undefined {
  return Object.hasOwn(element.attrs, name) ? element.attrs[name] : undefined;
}

/** A decimal number in [0, max], `max` being a safe integer; undefined for anything else. */
export function uint(text: string | undefined, max = Number.MAX_SAFE_INTEGER): number | undefined {
  if (text === undefined || !/^[0-9]{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
}

/** A boolean as XML Schema has it: false for what is absent, undefined for what is none. */
export function bool(text: string | undefined): boolean | undefined {
  if (text === undefined || text === 'false' || text === '0') return false;
  return text === 'true' || text === '1' ? true : undefined;
}

/** Reads one element; undefined when the text is not one, is too large (1 MiB) or too deep (64). */
export function parse(text: string): Element | undefined {
  const found: Element[] = [];
  const failures: unknown[] = [];
  const parser = new StreamParser();
  parser.on('element', (element: Element) => {
    found.push(element);
  });
  parser.on('error', (error) => {
    failures.push(error);
  });
  parser.write('<root>');
  parser.write(text);
  if (parser.cursor !== parser.root) return undefined;
  parser.write('</root>');
  const [only] = found;
  if (failures.length > 0 || found.length !== 1 || only === undefined) return undefined;
  only.parent = null;
  return only;
}

const SECRET_NAMES = new Set(['iv', 'key', 'payload', 'data', 'password']);
const SASL = /^urn:(?:ietf:params:xml:ns:xmpp-sasl|xmpp:sasl:[0-9]+)$/;
const LONGEST_LINE = 4096;

/** An element as one line for a log: secrets struck out, at most 4,096 characters. */
export function redacted(element: Element): string {
  const text = strike(element, element.getNS() ?? '').toString();
  return text.length > LONGEST_LINE ? `${text.slice(0, LONGEST_LINE)}…` : text;
}

function strike(element: Element, namespace: string): Element {
  const copy = xml(element.name, { ...element.attrs });
  const name = element.getName();
  const secret = (SASL.test(namespace) && name !== 'mechanism') || SECRET_NAMES.has(name);
  for (const node of element.children) {
    if (typeof node === 'string') copy.append(secret ? '[secret]' : node);
    else copy.append(strike(node, node.getNS() ?? ''));
  }
  return copy;
}
