/** The transfers that a command which waits for others has at the same time. */
import type { Transfer } from './transfer.ts';

/** Those from the offer or request on until all that they held is free. */
export class LiveTransfers {
  readonly #transfers = new Set<Transfer>();

  add(transfer: Transfer): void {
    this.#transfers.add(transfer);
  }

  delete(transfer: Transfer): void {
    this.#transfers.delete(transfer);
  }

  /** True while there is anything to do for one of them, and be it to hear the peer's last word. */
  get busy(): boolean {
    return this.#transfers.size > 0;
  }

  /** True while the end of one of them is open: to stop now is to interrupt it. */
  get underWay(): boolean {
    return [...this.#transfers].some((transfer) => !transfer.isOver);
  }

  /** Cancels what is under way; resolves when all is free. */
  async stop(): Promise<void> {
    const transfers = [...this.#transfers];
    for (const transfer of transfers) transfer.cancel();
    await Promise.all(transfers.map(({ done }) => done));
  }
}
