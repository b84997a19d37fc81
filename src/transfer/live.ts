/** The transfers that a command which waits for others has at the same time. */

/** One of them. */
export interface LiveTransfer {
  /** How it ends is settled. */
  readonly isOver: boolean;
  /** Resolves when all that it held is free. */
  readonly done: Promise<unknown>;
  /** Ends it by the user's wish. */
  cancel(): void;
}

/** Those from the offer or request on until all that they held is free. */
export class LiveTransfers {
  readonly #transfers = new Set<LiveTransfer>();

  add(transfer: LiveTransfer): void {
    this.#transfers.add(transfer);
  }

  delete(transfer: LiveTransfer): void {
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
