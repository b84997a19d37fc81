/** XML elements as the stream gives them (RFC 6120 §11): building, and reading without surprises. */
import xml from '@xmpp/xml';
import type { Element } from '@xmpp/xml';

export { xml };
export type { Element };

/** An attribute that the element itself has. */
export function attr(element: Element, name: string): string | undefined {
  return Object.hasOwn(element.attrs, name) ? element.attrs[name] : undefined;
}

/** The child elements, without the text between them. */
export function children(element: Element): Element[] {
  return element.children.filter((child) => typeof child !== 'string');
}

/** The element's own text. */
export function text(element: Element): string {
  return element.children.filter((child) => typeof child === 'string').join('');
}
