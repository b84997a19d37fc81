/** An in-band bytestream (XEP-0047 2.0) as a Duplex: several blocks in flight, each acknowledged. */
import { Duplex } from 'node:stream';
import type { Element } from '@xmpp/xml';
import type { Cancel, Clock } from '../../core/clock.ts';
import type { Jid } from '../../core/jid.ts';
import { StanzaError, type Connection } from '../../xmpp/connection.ts';
import { readData, writeClose, writeData, type Block } from './stanza.ts';
import { acknowledged, initialWindow, refused, type Window } from './window.ts';

/** Milliseconds that the peer may hold back an acknowledgement, its disk being slow. */
const ACK_TIME = 120_000;
/** Milliseconds before a refused block is sent again; doubles with each refusal in a row. */
const FIRST_PAUSE = 500;
const MAX_REFUSALS = 8;
/** Received bytes waiting for the reader above which acknowledgements are held back. */
const HIGH_WATER = 256 * 1024;
/** Received bytes that are never exceeded: a peer that sends on in spite of that is cut off. */
const MAX_HELD = 4 * 1024 * 1024;
/** Blocks of the peer's, however small, that wait for their acknowledgement. */
const MAX_UNACKNOWLEDGED = 1_024;

type Callback = (error?: Error | null) => void;

/** What a stream needs. */
export interface StreamOptions {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly peer: Jid;
  readonly sid: string;
  /** The agreed size of a block in bytes. */
  readonly blockSize: number;
}

/** One open stream. XEP-0047 has no half-close: `end()` closes both directions. */
export class IbbStream extends Duplex {
  readonly #options: StreamOptions;
  #window: Window = initialWindow;
  /** Written, not yet cut into blocks; the callback asks for more. */
  #input: { bytes: Buffer; done: Callback } | undefined;
  /** Blocks that the peer refused for now, in order: they go first. */
  #again: Block[] = [];
  #flying = 0;
  #nextSeq = 0;
  #refusals = 0;
  #pause: Cancel | undefined;
  #final: Callback | undefined;
  #expected = 0;
  /** Acknowledgements held back until the reader catches up. */
  #held: (() => void)[] = [];
  #taken = 0;
  /** The peer said that it is over. */
  #closed = false;

  constructor(options: StreamOptions) {
    super({ readableHighWaterMark: HIGH_WATER, writableHighWaterMark: HIGH_WATER });
    this.#options = options;
  }

  /** Bytes that the peer has acknowledged. */
  get taken(): number {
    return this.#taken;
  }

  /** Takes a `<data/>` or `<close/>` for this stream. @throws StanzaError */
  async handle(request: Element): Promise<void> {
    if (request.name === 'close') {
      await this.#peerClosed();
      return;
    }
    if (request.name !== 'data') throw new StanzaError('modify', 'bad-request');
    if (this.#closed || this.destroyed || this.readableEnded)
      throw new StanzaError('cancel', 'item-not-found');
    const { seq, bytes } = readData(request);
    // Libervia's counter wraps one early, at 65535: nothing else can be meant by that 0.
    if (seq !== this.#expected && !(this.#expected === 0xffff && seq === 0))
      throw this.#broken(new StanzaError('cancel', 'unexpected-request', 'seq out of order'));
    if (bytes.length > this.#options.blockSize)
      throw this.#broken(new StanzaError('modify', 'bad-request', 'block too large'));
    if (this.readableLength + bytes.length > MAX_HELD || this.#held.length >= MAX_UNACKNOWLEDGED)
      throw this.#broken(new StanzaError('wait', 'resource-constraint', 'too much in flight'));
    this.#expected = (seq + 1) & 0xffff;
    if (bytes.length === 0 || this.push(bytes)) return;
    await new Promise<void>((resolve) => this.#held.push(resolve));
  }

  /** Drops a stream that the peer never opened, without a word to it. */
  discard(): void {
    this.#closed = true;
    this.destroy();
  }

  /** Ends it because the connection did. */
  lost(reason: string): void {
    this.#closed = true;
    this.destroy(new Error(`the connection was lost: ${reason}`));
  }

  override _read(): void {
    for (const acknowledge of this.#held.splice(0)) acknowledge();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Callback): void {
    this.#input = { bytes: chunk, done };
    this.#pump();
  }

  override _writev(chunks: { chunk: Buffer }[], done: Callback): void {
    this.#input = { bytes: Buffer.concat(chunks.map(({ chunk }) => chunk)), done };
    this.#pump();
  }

  override _final(done: Callback): void {
    this.#final = done;
    this.#pump();
  }

  override _destroy(error: Error | null, done: Callback): void {
    this.#pause?.();
    const input = this.#input;
    this.#input = undefined;
    this.#again = [];
    const cause = error ?? new Error('the stream was closed');
    input?.done(cause);
    this.#final?.(cause);
    this.#final = undefined;
    for (const acknowledge of this.#held.splice(0)) acknowledge();
    // Best effort: the peer may be the reason, and may be gone.
    if (!this.#closed) this.#request(writeClose(this.#options.sid)).catch(() => undefined);
    this.#closed = true;
    done(error);
  }

  /** Sends what the window lets out; closes once all is acknowledged. */
  #pump(): void {
    while (!this.destroyed && this.#pause === undefined && this.#flying < this.#limit()) {
      const block = this.#again.shift() ?? this.#cut();
      if (block === undefined) break;
      this.#fly(block);
    }
    const idle = this.#flying === 0 && this.#again.length === 0 && this.#input === undefined;
    if (this.#final === undefined || !idle || this.destroyed) return;
    const done = this.#final;
    this.#final = undefined;
    void this.#sayClose().then(done);
  }

  #limit(): number {
    return Math.floor(this.#window.size);
  }

  #cut(): Block | undefined {
    const input = this.#input;
    if (input === undefined) return undefined;
    const { sid, blockSize } = this.#options;
    const block = { sid, seq: this.#nextSeq, bytes: input.bytes.subarray(0, blockSize) };
    this.#nextSeq = (this.#nextSeq + 1) & 0xffff;
    const rest = input.bytes.subarray(blockSize);
    this.#input = rest.length === 0 ? undefined : { bytes: rest, done: input.done };
    // More is asked for in another turn, so that the window fills before the writer comes back.
    if (rest.length === 0) queueMicrotask(() => input.done());
    return block;
  }

  #fly(block: Block): void {
    this.#flying++;
    this.#request(writeData(block)).then(
      () => {
        this.#flying--;
        this.#refusals = 0;
        this.#taken += block.bytes.length;
        this.#window = acknowledged(this.#window);
        if (this.#again.some((other) => precedes(other.seq, block.seq)))
          this.destroy(new Error('the peer took blocks out of order'));
        else this.#pump();
      },
      (error: unknown) => {
        this.#flying--;
        if (!this.destroyed) this.#refused(block, error);
      },
    );
  }

  #refused(block: Block, error: unknown): void {
    const wait =
      error instanceof StanzaError &&
      error.type === 'wait' &&
      error.condition === 'resource-constraint';
    // Behind a refused block the others are out of order for the peer: they are sent again, too.
    const follows = this.#again.some((other) => precedes(other.seq, block.seq));
    if ((!wait && !follows) || (wait && !follows && ++this.#refusals > MAX_REFUSALS)) {
      this.destroy(error instanceof Error ? error : new Error('a block was refused'));
      return;
    }
    this.#again.push(block);
    this.#again.sort((a, b) => (precedes(a.seq, b.seq) ? -1 : 1));
    if (this.#pause !== undefined) return;
    this.#window = refused(this.#window);
    const pause = FIRST_PAUSE * 2 ** Math.max(0, this.#refusals - 1);
    this.#pause = this.#options.clock.after(pause, () => this.#resume());
  }

  /** Sends again only when nothing is in flight any more: the order must be certain. */
  #resume(): void {
    this.#pause = undefined;
    if (this.#flying > 0)
      this.#pause = this.#options.clock.after(FIRST_PAUSE, () => this.#resume());
    else this.#pump();
  }

  async #sayClose(): Promise<null> {
    const said = this.#closed;
    this.#closed = true;
    // The block that ends the reading is acknowledged first: the peer would miss it otherwise.
    await new Promise(setImmediate);
    // A peer that ended it at the same moment knows no such stream any more: all was acknowledged.
    if (!said) await this.#request(writeClose(this.#options.sid)).catch(() => undefined);
    if (!this.readableEnded) this.push(null);
    return null;
  }

  async #peerClosed(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // Acknowledgements that came in the same segment as the close have still to be counted.
    await new Promise(setImmediate);
    const unsent = this.#input !== undefined || this.#again.length > 0 || this.#flying > 0;
    if (unsent) this.destroy(new Error('the peer closed the stream before it had everything'));
    else this.push(null);
  }

  #request(payload: Element): Promise<Element | undefined> {
    const { connection, peer } = this.#options;
    return connection.iq(peer, 'set', payload, { timeout: ACK_TIME });
  }

  /** Ends the stream for what the peer did, after the error has been returned to it. */
  #broken(error: StanzaError): StanzaError {
    queueMicrotask(() => this.destroy(error));
    return error;
  }
}

/** Whether one number of the sequence comes before another, across the wrap. */
function precedes(a: number, b: number): boolean {
  return a !== b && ((b - a) & 0xffff) < 0x8000;
}
