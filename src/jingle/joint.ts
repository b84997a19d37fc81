/** XEP-0166 1.1.2, Jingle: one session for what is offered one after another, its contents by content-add (§7.2.2). */
import type { Jid } from '../core/jid.ts';
import { Contents, type Composes, type ContentsOptions } from './contents.ts';
import type { SessionHandler } from './handler.ts';
import type { Sessions } from './sessions.ts';

/** Begins sessions of one content each, or what is the same to the one content. */
export interface Initiates {
  /**
   * Resolves when the peer has acknowledged the content.
   *
   * @param to - a full address
   * @throws StanzaError of the peer; what `composes` rejects with
   */
  initiate(to: Jid, composes: Composes, handler: SessionHandler, sid?: string): Promise<unknown>;
}

/** Adds contents to a session as long as it stands, and begins the next where it does not. */
export class JointSession implements Initiates {
  readonly #sessions: Pick<Sessions, 'initiate'>;
  readonly #options: Pick<ContentsOptions, 'clock' | 'log'>;
  readonly #all = new Set<Contents>();
  #current: Contents | undefined;

  constructor(
    sessions: Pick<Sessions, 'initiate'>,
    options: Pick<ContentsOptions, 'clock' | 'log'>,
  ) {
    this.#sessions = sessions;
    this.#options = options;
  }

  /** Waits for the peer's answer to the first content, where there is one before this. @see Initiates.initiate */
  async initiate(
    to: Jid,
    composes: Composes,
    handler: SessionHandler,
    sid?: string,
  ): Promise<unknown> {
    for (let contents = this.#current; contents?.takesMore(to) === true; contents = this.#current)
      if ((await contents.accepting) && contents.takesMore(to))
        return contents.add(composes, handler);
    return this.#begin(to, composes, handler, sid);
  }

  /** No more is to come: sessions end with their last content. Never rejects. */
  async close(): Promise<void> {
    await Promise.all([...this.#all].map((contents) => contents.close()));
  }

  /** The session is the current one before anything is awaited: who comes next is to wait for it. */
  #begin(
    to: Jid,
    composes: Composes,
    handler: SessionHandler,
    sid: string | undefined,
  ): Promise<unknown> {
    const before = this.#current;
    let made: Contents | undefined;
    return this.#sessions.initiate(
      to,
      () => made?.compose(composes, handler) ?? [],
      (session) => {
        made = new Contents(session, this.#options);
        made.stay();
        this.#current = made;
        const contents = made;
        this.#all.add(contents);
        void session.ended.then(() => this.#all.delete(contents));
        void before?.close();
        return contents;
      },
      sid,
    );
  }
}
