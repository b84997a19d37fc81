/** What this program uses of @xmpp/xml, which has no types of its own. */
declare module '@xmpp/xml' {
  export class Element {
    constructor(name: string, attrs?: Readonly<Record<string, string | undefined>>);
    name: string;
    parent: Element | null;
    attrs: Record<string, string | undefined>;
    children: (Element | string)[];
    is(name: string, xmlns?: string): boolean;
    getName(): string;
    getNS(): string | undefined;
    getChild(name: string, xmlns?: string): Element | undefined;
    getChildren(name: string, xmlns?: string): Element[];
    getText(): string;
    append(...children: (Element | string)[]): this;
    toString(): string;
  }
  export default function xml(
    name: string,
    attrs?: Readonly<Record<string, string | undefined>>,
    ...children: (Element | string)[]
  ): Element;
}
