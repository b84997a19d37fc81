/**
 * Where one has been on a chain already. A header is not authentic before its message decrypts, and a
 * forged one may name a position far ahead in a chain that is known: without the way marked, each would
 * cost the whole way again.
 */
import { makeRoom } from '../../core/bounded.ts';

/** A chain key is remembered every so many steps: this is what a forged header costs after the first. */
const EVERY = 5000;
/** Chains whose ways are remembered; the oldest goes. */
const CHAINS = 8;

/** The ways that failed messages have made a process go; in memory only. */
export class Waypoints {
  /** Steps gone in all. */
  walked = 0;
  readonly #chains = new Map<string, Map<number, Buffer>>();

  /** The last place remembered at or before a position of a chain; none that is behind `from`. */
  nearest(
    ratchetKey: Buffer,
    from: number,
    position: number,
  ): { readonly at: number; readonly chainKey: Buffer } | undefined {
    const chain = this.#chains.get(ratchetKey.toString('hex'));
    for (let at = position - (position % EVERY); at > from; at -= EVERY) {
      const chainKey = chain?.get(at);
      if (chainKey) return { at, chainKey };
    }
    return undefined;
  }

  /** Counts a step. */
  count(): void {
    this.walked++;
  }

  /** Counts a step, and remembers the place where it is one to be remembered. */
  passed(ratchetKey: Buffer, at: number, chainKey: Buffer): void {
    this.walked++;
    if (at % EVERY !== 0) return;
    const name = ratchetKey.toString('hex');
    let chain = this.#chains.get(name);
    if (!chain) {
      chain = new Map();
      makeRoom(this.#chains, name, CHAINS);
      this.#chains.set(name, chain);
    }
    chain.set(at, chainKey);
  }

  /** Forgets a chain: a message of it has decrypted, and old keys are not kept. */
  forget(ratchetKey: Buffer): void {
    this.#chains.delete(ratchetKey.toString('hex'));
  }
}
