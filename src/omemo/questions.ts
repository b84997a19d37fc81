/** Questions about new keys: one at a time, each once, and not without end. */
import type { Candidate } from './trust-rule.ts';

/** Most keys of one JID that are asked about. */
const MOST = 5;

/** Asks at a terminal; answers No by itself where nothing is to be asked. */
export class Questions {
  readonly #ask: ((candidate: Candidate) => Promise<boolean>) | undefined;
  /** Keys that were asked about, by JID. */
  readonly #asked = new Map<string, Set<string>>();
  readonly #closed = new Set<string>();
  #last: Promise<unknown> = Promise.resolve();

  /** @param ask - absent where there is no terminal */
  constructor(ask: ((candidate: Candidate) => Promise<boolean>) | undefined) {
    this.#ask = ask;
  }

  /** Nothing is asked about a JID from now on. */
  close(jid: string): void {
    this.#closed.add(jid);
  }

  /** The user's answer. Rejects with the reason when the question is taken back. */
  async answer(candidate: Candidate): Promise<boolean> {
    const { jid, fingerprint } = candidate;
    const ask = this.#ask;
    if (!ask || this.#closed.has(jid)) return false;
    const asked = this.#asked.get(jid) ?? new Set();
    // A list full of made-up devices must not keep the user from the ones that are known.
    if (asked.has(fingerprint) || asked.size >= MOST) return false;
    this.#asked.set(jid, asked.add(fingerprint));
    // Two questions on one terminal cannot be told apart.
    const answer = this.#last.then(() => ask(candidate));
    this.#last = answer.catch(() => undefined);
    return answer;
  }
}
