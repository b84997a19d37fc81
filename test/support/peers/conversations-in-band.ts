/** The in-band transport of Conversations 2.19.15; its facts are the rows I of docs/interop-sources.md. */
import { PassThrough, Writable, type Readable } from 'node:stream';
import type { Jid } from '../../../src/core/jid.ts';
import { StanzaError, type Connection } from '../../../src/xmpp/connection.ts';
import { xml, type Element } from '../../../src/xmpp/xml.ts';
import { TransportFailed, type Carrier } from './carrier.ts';

export const IBB_TRANSPORT = 'urn:xmpp:jingle:transports:ibb:1';
const IBB = 'http://jabber.org/protocol/ibb';
/** I1. */
const MOST = 8192;
/** I4. */
const IN_FLIGHT = 3;

/** One in-band stream. */
export class ConversationsInBand implements Carrier {
  readonly namespace = IBB_TRANSPORT;
  readonly #connection: Connection;
  readonly #peer: Jid;
  readonly #sid: string;
  readonly #initiator: boolean;
  readonly #input = new PassThrough();
  #blockSize: number;
  #receiving = false;
  #closed = false;
  #opened: () => void = () => undefined;
  readonly #off: () => void;

  constructor(
    connection: Connection,
    peer: Jid,
    sid: string,
    blockSize: number,
    initiator: boolean,
  ) {
    this.#connection = connection;
    this.#peer = peer;
    this.#sid = sid;
    this.#blockSize = Math.min(MOST, blockSize);
    this.#initiator = initiator;
    this.#off = connection.onIq(IBB, undefined, ({ from, payload }) => this.#take(from, payload));
  }

  element(): Element {
    const attrs = { xmlns: IBB_TRANSPORT, sid: this.#sid, 'block-size': String(this.#blockSize) };
    return xml('transport', attrs);
  }

  theirs(transport: Element): void {
    this.#blockSize = Math.min(this.#blockSize, Number(transport.attrs['block-size']));
  }

  info(): void {
    // There is none.
  }

  async connect(): Promise<{ input: Readable; output: Writable }> {
    if (this.#initiator) {
      const attrs = { xmlns: IBB, sid: this.#sid, 'block-size': String(this.#blockSize) };
      await this.#connection.iq(this.#peer, 'set', xml('open', attrs)).catch((error: unknown) => {
        throw new TransportFailed('open', { cause: error });
      });
    } else if (!this.#receiving) await new Promise<void>((resolve) => (this.#opened = resolve));
    return { input: this.#input, output: this.#writable() };
  }

  /** I3: no `<close/>` is ever sent. */
  close(): void {
    this.#closed = true;
    this.#off();
    this.#input.end();
  }

  #take(from: Jid, payload: Element): undefined {
    if (!from.equals(this.#peer) || payload.attrs['sid'] !== this.#sid || this.#closed)
      throw new StanzaError('cancel', 'item-not-found');
    if (payload.name === 'open') {
      // I2.
      if (Number(payload.attrs['block-size']) !== this.#blockSize || this.#receiving)
        throw new StanzaError('modify', 'bad-request');
      this.#receiving = true;
      this.#opened();
    } else if (payload.name === 'data') {
      const bytes = Buffer.from(payload.getText(), 'base64');
      if (bytes.length > this.#blockSize) throw new StanzaError('modify', 'bad-request');
      this.#input.write(bytes);
    } else {
      if (!this.#receiving) throw new StanzaError('modify', 'bad-request');
      this.#receiving = false;
      this.#input.end();
    }
    return undefined;
  }

  #writable(): Writable {
    let seq = 0;
    let flying = 0;
    let go: () => void = () => undefined;
    const send = async (bytes: Buffer): Promise<void> => {
      while (flying >= IN_FLIGHT) await new Promise<void>((resolve) => (go = resolve));
      flying++;
      const attrs = { xmlns: IBB, sid: this.#sid, seq: String(seq++) };
      void this.#connection
        .iq(this.#peer, 'set', xml('data', attrs, bytes.toString('base64')))
        .catch(() => (this.#closed = true))
        .finally(() => {
          flying--;
          go();
        });
    };
    return new Writable({
      highWaterMark: MOST,
      write: (chunk: Buffer, _encoding, done) => {
        const size = this.#blockSize;
        void (async () => {
          for (let at = 0; at < chunk.length && !this.#closed; at += size)
            await send(chunk.subarray(at, at + size));
          done();
        })();
      },
    });
  }
}
