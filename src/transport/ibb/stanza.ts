/** The elements of XEP-0047 2.0 and the `<transport/>` of XEP-0261 1.0. */
import xml, { type Element } from '@xmpp/xml';
import { fromBase64, toBase64 } from '../../core/bytes.ts';
import { StanzaError } from '../../xmpp/connection.ts';

export const JINGLE_IBB = 'urn:xmpp:jingle:transports:ibb:1';
export const IBB = 'http://jabber.org/protocol/ibb';
/** The largest block that is ever sent or taken, in bytes before base64. */
export const MAX_BLOCK = 32_768;

/** A `<transport/>` or an `<open/>`: the stream's id and the largest block, 1 to 65535 bytes. */
export interface Terms {
  readonly sid: string;
  readonly blockSize: number;
}

/** One `<data/>`. */
export interface Block {
  readonly sid: string;
  /** 0 to 65535. */
  readonly seq: number;
  readonly bytes: Buffer;
}

/** Reads a `<transport/>`. @throws StanzaError `bad-request` */
export function readTransport(transport: Element): Terms {
  if (!transport.is('transport', JINGLE_IBB)) throw bad('not an in-band transport');
  return readTerms(transport);
}

/** Reads an `<open/>`. @throws StanzaError `bad-request`, or `feature-not-implemented` for messages */
export function readOpen(open: Element): Terms {
  const terms = readTerms(open);
  if ((open.attrs['stanza'] ?? 'iq') !== 'iq')
    throw new StanzaError('cancel', 'feature-not-implemented', 'only iq stanzas carry data');
  return terms;
}

/** Reads a `<data/>`. @throws StanzaError `bad-request` */
export function readData(data: Element): Block {
  const sid = readSid(data);
  const { seq } = data.attrs;
  if (seq === undefined || !/^\d{1,5}$/.test(seq) || Number(seq) > 0xffff)
    throw bad('no valid seq');
  const bytes = fromBase64(data.text());
  if (bytes === undefined) throw bad('not base64');
  return { sid, seq: Number(seq), bytes };
}

/** Reads the id of any of the elements. @throws StanzaError `bad-request` */
export function readSid(element: Element): string {
  const { sid } = element.attrs;
  if (sid === undefined || sid === '' || sid.length > 256) throw bad('no valid sid');
  return sid;
}

export function writeTransport({ sid, blockSize }: Terms): Element {
  return xml('transport', { xmlns: JINGLE_IBB, sid, 'block-size': String(blockSize) });
}

export function writeOpen({ sid, blockSize }: Terms): Element {
  return xml('open', { xmlns: IBB, sid, 'block-size': String(blockSize), stanza: 'iq' });
}

export function writeData({ sid, seq, bytes }: Block): Element {
  return xml('data', { xmlns: IBB, sid, seq: String(seq) }, toBase64(bytes));
}

export function writeClose(sid: string): Element {
  return xml('close', { xmlns: IBB, sid });
}

function readTerms(element: Element): Terms {
  const size = element.attrs['block-size'];
  if (size === undefined || !/^\d{1,5}$/.test(size) || Number(size) < 1 || Number(size) > 0xffff)
    throw bad('no valid block-size');
  return { sid: readSid(element), blockSize: Number(size) };
}

function bad(text: string): StanzaError {
  return new StanzaError('modify', 'bad-request', text);
}
