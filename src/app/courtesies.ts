/** What single clients need of us before a transfer (src/jingle/quirks.ts), done without being asked. */
import { makeRoom } from '../core/bounded.ts';
import { type Clock, sleep } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { PLAIN, quirksOf, type Quirks } from '../jingle/quirks.ts';
import { NS_OMEMO } from '../omemo/names.ts';
import type { Omemo } from '../omemo/omemo.ts';
import type { Caps, CapsCache } from '../xmpp/caps.ts';
import { hear } from '../xmpp/carbons.ts';
import type { Connection } from '../xmpp/connection.ts';
import { type FoundPeer, WAITING_JET } from '../xmpp/find.ts';
import type { Presence } from '../xmpp/presence.ts';

/** Milliseconds that a client has to say what it is. */
const DISCO_MS = 10_000;
/** Milliseconds that a client has to answer the beginning of a session. */
const ANSWER_MS = 10_000;
/** Resources that are remembered as greeted. */
const MOST_GREETED = 500;

/** What courtesies are paid with. */
export interface CourtesiesOptions {
  readonly connection: Connection;
  readonly omemo: Omemo;
  readonly caps: CapsCache;
  readonly presence: Presence;
  readonly clock: Clock;
  /** A line for `--verbose`. */
  readonly log: (line: string) => void;
}

/** Knows the clients that are being dealt with, and greets those that need it. */
export class Courtesies {
  readonly #options: CourtesiesOptions;
  readonly #greeted = new Set<string>();

  constructor(options: CourtesiesOptions) {
    this.#options = options;
  }

  /**
   * Prepares a client for our offer.
   *
   * @throws JetError (exit 6) when none of its devices is trusted; StanzaError; the signal's reason
   */
  async beforeOffer(peer: FoundPeer, signal: AbortSignal): Promise<Quirks> {
    const quirks = peer.isJet ? PLAIN : quirksOf(peer);
    const answered = new AbortController();
    const deaf = hear(this.#options.connection, (message, from) => {
      if (from.sameBare(peer.jid) && message.getChild('encrypted', NS_OMEMO)) answered.abort();
    });
    try {
      const greeted = await this.#greet(peer.jid, quirks, true);
      if (greeted === 'begun' && quirks.answers)
        await this.#pause(ANSWER_MS, signal, answered.signal);
      if (greeted !== 'not') await this.#pause(quirks.settle, signal);
    } finally {
      deaf();
    }
    return quirks;
  }

  /**
   * Greets the clients that come online, so that they can offer: those alone that `deals` allows, each
   * once. Returns the end of it.
   */
  watch(deals: (from: Jid) => boolean): () => void {
    const { presence, log } = this.#options;
    return presence.onChange((jid, resource) => {
      const key = jid.toString();
      if (resource === undefined) this.#greeted.delete(key);
      else if (deals(jid) && !this.#greeted.has(key)) {
        makeRoom(this.#greeted, key, MOST_GREETED);
        this.#greeted.add(key);
        this.#meet(jid, resource.caps).catch((error: unknown) => log(messageOf(error)));
      }
    });
  }

  async #meet(jid: Jid, claimed: Caps | undefined): Promise<void> {
    const info = await this.#options.caps.info(jid, claimed, { timeout: DISCO_MS });
    const features = new Set(info.features);
    if (features.has(WAITING_JET)) return;
    const identity = info.identities.find(({ category }) => category === 'client');
    await this.#greet(jid, quirksOf({ features, software: identity?.name }), false);
  }

  /** `begun`: the message was the first one of a session. */
  async #greet(to: Jid, quirks: Quirks, offers: boolean): Promise<'not' | 'greeted' | 'begun'> {
    const { omemo } = this.#options;
    if (quirks.greeting === 'none') return 'not';
    if (!(quirks.greetAlways && offers) && omemo.hasSessions(to)) return 'not';
    return (await omemo.greet(to, quirks.greeting)) ? 'begun' : 'greeted';
  }

  /** Waits so long, or until `enough`. @throws the reason of `signal` */
  async #pause(ms: number, signal: AbortSignal, enough?: AbortSignal): Promise<void> {
    const either = enough === undefined ? signal : AbortSignal.any([signal, enough]);
    try {
      await sleep(this.#options.clock, ms, either);
    } catch (error) {
      if (signal.aborted || enough?.aborted !== true) throw error;
    }
  }
}
