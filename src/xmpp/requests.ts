/** Requests that wait for their reply (RFC 6120 §8.2.3). */
import type { Element } from '@xmpp/xml';
import type { Cancel, Clock } from '../core/clock.ts';
import type { Jid } from '../core/jid.ts';
import { StanzaError } from './connection.ts';
import { disconnected, readError, repliesFor } from './stanza.ts';
import { attr } from './xml.ts';

const TIMEOUT = 20_000;

interface Pending {
  readonly to: Jid | null;
  readonly resolve: (payload: Element | undefined) => void;
  readonly reject: (error: Error) => void;
}

/** The table of them. */
export class Requests {
  readonly #clock: Clock;
  readonly #pending = new Map<string, Pending>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Waits for the reply to `id`; see {@link Connection.iq} for what it rejects with. */
  add(
    id: string,
    to: Jid | null,
    options: { readonly timeout?: number; readonly signal?: AbortSignal },
  ): Promise<Element | undefined> {
    const { signal } = options;
    return new Promise<Element | undefined>((resolve, reject) => {
      const timer: { cancel?: Cancel } = {};
      const done = () => {
        timer.cancel?.();
        this.#pending.delete(id);
        signal?.removeEventListener('abort', abort);
      };
      const fail = (error: Error) => {
        done();
        reject(error);
      };
      const abort = () => fail(signal?.reason as Error);
      this.#pending.set(id, {
        to,
        resolve: (payload) => {
          done();
          resolve(payload);
        },
        reject: fail,
      });
      if (signal?.aborted === true) {
        abort();
        return;
      }
      signal?.addEventListener('abort', abort, { once: true });
      timer.cancel = this.#clock.after(options.timeout ?? TIMEOUT, () =>
        fail(new StanzaError('wait', 'remote-server-timeout', 'no answer in time')),
      );
    });
  }

  /** Takes a reply; one from anybody but the addressee is ignored. */
  settle(reply: Element, from: Jid | undefined, own: Jid): void {
    const pending = this.#pending.get(attr(reply, 'id') ?? '');
    if (pending === undefined || !repliesFor(pending.to, from, own)) return;
    if (attr(reply, 'type') === 'error') pending.reject(readError(reply));
    else pending.resolve(reply.getChildElements()[0]);
  }

  /** Fails one, if it still waits. */
  fail(id: string, error: Error): void {
    this.#pending.get(id)?.reject(error);
  }

  /** Fails all: the stream is lost. */
  failAll(): void {
    for (const pending of [...this.#pending.values()]) pending.reject(disconnected());
  }
}
