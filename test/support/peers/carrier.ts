/** What carries the bytes of a scripted counterpart. */
import type { Readable, Writable } from 'node:stream';
import type { Element } from '../../../src/xmpp/xml.ts';

/** What carries the bytes: set up by the two sides, ended by this one. */
export interface Carrier {
  readonly namespace: string;
  /** Our `<transport/>`. */
  element(): Element;
  theirs(transport: Element): void;
  info(transport: Element): void;
  /** @throws TransportFailed */
  connect(): Promise<{ readonly input: Readable; readonly output: Writable }>;
  close(): void;
}

/** Where both sides had no luck: the initiator replaces. */
export class TransportFailed extends Error {}
