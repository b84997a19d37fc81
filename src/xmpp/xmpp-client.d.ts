/** The part of \@xmpp/xml and \@xmpp/client 0.14 that the program relies on; neither ships types. */
declare module '@xmpp/xml' {
  import type { EventEmitter } from 'node:events';

  export type Node = Element | string;
  export type Attributes = Record<string, string | number | undefined>;

  export class Element {
    constructor(name: string, attrs?: Attributes);
    name: string;
    parent: Element | null;
    children: Node[];
    attrs: Record<string, string | undefined>;
    is(name: string, xmlns?: string): boolean;
    getName(): string;
    getNS(): string | undefined;
    getChild(name: string, xmlns?: string): Element | undefined;
    getChildren(name: string, xmlns?: string): Element[];
    getChildElements(): Element[];
    getText(): string;
    getChildText(name: string, xmlns?: string): string | null;
    text(): string;
    append(...nodes: Node[]): void;
    toString(): string;
  }

  export class Parser extends EventEmitter {
    root: Element | null;
    cursor: Element | null;
    onStartElement(name: string, attrs: Record<string, string>): void;
    onEndElement(name: string): void;
    onText(text: string): void;
    write(data: string): void;
    end(data?: string): void;
  }

  function xml(
    name: string,
    attrs?: Attributes | string | null,
    ...children: (Node | readonly Node[] | undefined)[]
  ): Element;
  export { xml };
  export default xml;
}

declare module '@xmpp/client' {
  import type { EventEmitter } from 'node:events';
  import type { Element, Parser } from '@xmpp/xml';

  export interface StreamTransport {
    socketParameters(service: string): object | undefined;
    Socket: unknown;
    Parser: typeof Parser;
  }

  export interface Client extends EventEmitter {
    /** Transport classes; the first that takes the service is used. */
    transports: (new () => StreamTransport)[];
    jid: unknown;
    reconnect: { stop(): void };
    connect(service: string): Promise<void>;
    open(options: { domain: string; lang?: string }): Promise<Element>;
    restart(): Promise<Element>;
    send(element: Element): Promise<void>;
    write(text: string): Promise<void>;
    footer(): string;
    /** Called for every element of the stream; replaced by ours. */
    _onElement(element: Element): void;
  }

  export function client(options: { domain: string; service: string; timeout: number }): Client;
  export function jid(address: string): unknown;
}
