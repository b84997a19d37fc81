/** One content's in-band transport (XEP-0261 1.0): the block's size is agreed, the initiator opens. */
import type { Element } from '@xmpp/xml';
import { randomId } from '../../core/bytes.ts';
import {
  TransportFailed,
  type Bytestream,
  type Negotiation,
  type TransportContext,
} from '../../jingle/transport.ts';
import { StanzaError } from '../../xmpp/connection.ts';
import { attach } from './hub.ts';
import { JINGLE_IBB, readOpen, readTransport, writeOpen, writeTransport } from './stanza.ts';
import { IbbStream } from './stream.ts';

/** Milliseconds for the `<open/>` to come, or to be answered. */
const OPEN_TIME = 60_000;
/** Opening is tried with half the block until this size. */
const MIN_BLOCK = 1_024;

/** Remembers across streams which size of block the server took. */
export interface BlockMemory {
  /** The size to offer, given what the server states. */
  offer(maxStanza: number | undefined): number;
  /** A stream broke with blocks in flight. */
  shrink(): void;
}

/** One in-band negotiation. */
export class IbbNegotiation implements Negotiation {
  readonly namespace = JINGLE_IBB;
  readonly #context: TransportContext;
  readonly #memory: BlockMemory;
  readonly #sid: string;
  readonly #cleanup: (() => void)[] = [];
  #offered: number;
  #agreed: number | undefined;
  #stream: IbbStream | undefined;
  /** An `<open/>` waits for `connect`. */
  #opening = false;
  /** Resolves once `connect` was called and waits for the peer's `<open/>`. */
  readonly #ready = deferred<(blockSize: number) => void>();

  constructor(context: TransportContext, sid: string | undefined, memory: BlockMemory) {
    this.#context = context;
    this.#memory = memory;
    this.#sid = sid ?? randomId();
    this.#offered = memory.offer(context.connection.maxStanza);
    this.#ready.promise.catch(() => undefined);
    const { connection, peer } = context;
    this.#cleanup.push(
      attach(connection, peer, this.#sid, (request) => this.#handle(request)),
      connection.onState((state) => {
        if (state.kind === 'online') return;
        if (this.#stream !== undefined && this.#stream.taken > 0) this.#memory.shrink();
        // A resumable connection keeps our stanzas while it is lost: the bytestream goes on.
        if (state.kind === 'closed') this.#stream?.lost(state.reason);
      }),
    );
  }

  local(): Promise<Element> {
    if (this.#agreed !== undefined) this.#offered = Math.min(this.#offered, this.#agreed);
    return Promise.resolve(writeTransport({ sid: this.#sid, blockSize: this.#offered }));
  }

  remote(transport: Element): void {
    const { sid, blockSize } = readTransport(transport);
    if (sid !== this.#sid) throw new StanzaError('modify', 'bad-request', 'another sid');
    this.#agreed = Math.min(this.#offered, blockSize);
  }

  info(transport: Element): void {
    // XEP-0261 knows no transport-info: a valid one says nothing new.
    readTransport(transport);
  }

  async connect(signal: AbortSignal): Promise<Bytestream> {
    if (this.#agreed === undefined) throw new TransportFailed('the negotiation is not complete');
    signal.throwIfAborted();
    const size =
      this.#context.role === 'initiator'
        ? await this.#open(this.#agreed, signal)
        : await this.#opened(signal);
    const stream = this.#stream;
    if (stream === undefined || stream.destroyed) throw new TransportFailed('the stream is gone');
    this.#context.log(`in-band stream open, blocks of ${size} bytes`);
    return { route: { kind: 'ibb', via: '' }, duplex: stream, taken: () => stream.taken };
  }

  close(): Promise<void> {
    this.#ready.reject(new StanzaError('cancel', 'item-not-found'));
    this.#stream?.destroy();
    for (const action of this.#cleanup.splice(0)) action();
    return Promise.resolve();
  }

  /** Opens with the agreed size, or half of it as often as the peer or a server finds it too large. */
  async #open(blockSize: number, signal: AbortSignal): Promise<number> {
    const { connection, peer } = this.#context;
    // Made before the request: data of the peer's may follow its answer at once.
    const stream = this.#make(blockSize);
    try {
      const request = writeOpen({ sid: this.#sid, blockSize });
      await connection.iq(peer, 'set', request, { timeout: OPEN_TIME, signal });
      return blockSize;
    } catch (error) {
      stream.discard();
      this.#stream = undefined;
      signal.throwIfAborted();
      const tooLarge =
        error instanceof StanzaError &&
        error.type === 'modify' &&
        error.condition === 'resource-constraint';
      if (tooLarge && blockSize / 2 >= MIN_BLOCK) return this.#open(blockSize / 2, signal);
      throw new TransportFailed('the peer did not open the in-band stream', { cause: error });
    }
  }

  #opened(signal: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      const end = () => {
        cancel();
        signal.removeEventListener('abort', abort);
      };
      const abort = () => {
        end();
        reject(signal.reason as Error);
      };
      const cancel = this.#context.clock.after(OPEN_TIME, () => {
        end();
        reject(new TransportFailed('the peer did not open the in-band stream in time'));
      });
      signal.addEventListener('abort', abort, { once: true });
      this.#cleanup.push(() => {
        end();
        reject(new TransportFailed('closed'));
      });
      this.#ready.resolve((blockSize) => {
        end();
        this.#make(blockSize);
        resolve(blockSize);
      });
    });
  }

  async #handle(request: Element): Promise<void> {
    if (request.name !== 'open') {
      if (this.#stream === undefined) throw new StanzaError('cancel', 'item-not-found');
      await this.#stream.handle(request);
      return;
    }
    const { blockSize } = readOpen(request);
    if (this.#context.role === 'initiator' || this.#stream !== undefined)
      throw new StanzaError('cancel', 'not-acceptable', 'not yours to open');
    if (blockSize > (this.#agreed ?? this.#offered))
      throw new StanzaError('modify', 'resource-constraint', 'block-size above what was agreed');
    if (this.#opening) throw new StanzaError('wait', 'unexpected-request', 'opened twice');
    this.#opening = true;
    const open = await this.#ready.promise;
    open(blockSize);
  }

  #make(blockSize: number): IbbStream {
    const { connection, clock, peer } = this.#context;
    this.#stream = new IbbStream({ connection, clock, peer, sid: this.#sid, blockSize });
    // Stays: an error before the reader's own handler is there must not end the process.
    this.#stream.on('error', (error) => this.#context.log(`in-band stream: ${error.message}`));
    return this.#stream;
  }
}

function deferred<T>() {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<T>((fulfil, refuse) => {
    resolve = fulfil;
    reject = refuse;
  });
  return { promise, resolve, reject };
}
