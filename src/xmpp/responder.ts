/** Answers to requests (RFC 6120 §8.2.3): only to our server and the audience; to others we are not there. */
import type { Element } from '@xmpp/xml';
import type { Jid } from '../core/jid.ts';
import { StanzaError, type IqHandler } from './connection.ts';
import { isOwn, writeError } from './stanza.ts';
import { attr, xml } from './xml.ts';

const LONGEST_ID = 1024;
/** More requests than this being answered at once are turned away. */
const MOST_AT_ONCE = 64;

/** What the responder needs of the connection. */
export interface ResponderHost {
  jid(): Jid;
  audience(from: Jid): boolean;
  send(stanza: Element): Promise<void>;
}

/** The table of handlers. */
export class Responder {
  readonly #host: ResponderHost;
  readonly #handlers = new Map<string, IqHandler>();
  #busy = 0;

  constructor(host: ResponderHost) {
    this.#host = host;
  }

  /** Registers a handler; a later one for the same payload takes its place. */
  on(namespace: string, name: string | undefined, handler: IqHandler): () => void {
    const key = `${name ?? ''} ${namespace}`;
    this.#handlers.set(key, handler);
    return () => {
      if (this.#handlers.get(key) === handler) this.#handlers.delete(key);
    };
  }

  /** Takes an iq of type get or set; anything else is dropped. */
  take(iq: Element, from: Jid | undefined): void {
    const id = attr(iq, 'id');
    if (id === undefined) return;
    this.#answer(iq, id, from ?? this.#host.jid().bare)
      .catch((error: unknown) =>
        error instanceof StanzaError ? error : new StanzaError('cancel', 'internal-server-error'),
      )
      .then((answer) => {
        const failed = answer instanceof StanzaError;
        return this.#host.send(
          xml(
            'iq',
            { type: failed ? 'error' : 'result', id, to: attr(iq, 'from') },
            failed ? writeError(answer) : answer,
          ),
        );
      })
      // The stream is lost: the asker learns of it by other means.
      .catch(() => undefined);
  }

  async #answer(iq: Element, id: string, from: Jid): Promise<Element | undefined> {
    const absent = new StanzaError('cancel', 'service-unavailable');
    if (!isOwn(from, this.#host.jid()) && !this.#host.audience(from)) throw absent;
    // Not before: a server answers for a resource that is not there however long the id is.
    if (id.length > LONGEST_ID) throw new StanzaError('modify', 'bad-request');
    const type = attr(iq, 'type');
    const [payload, ...more] = iq.getChildElements();
    if ((type !== 'get' && type !== 'set') || payload === undefined || more.length > 0)
      throw new StanzaError('modify', 'bad-request');
    const namespace = payload.getNS() ?? '';
    const handler =
      this.#handlers.get(`${payload.getName()} ${namespace}`) ??
      this.#handlers.get(` ${namespace}`);
    if (handler === undefined) throw absent;
    if (this.#busy >= MOST_AT_ONCE) throw new StanzaError('wait', 'resource-constraint');
    this.#busy += 1;
    try {
      return await handler({ from, type, id, payload });
    } finally {
      this.#busy -= 1;
    }
  }
}
