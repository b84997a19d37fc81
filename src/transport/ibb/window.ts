/**
 * How many blocks may be on their way at once: slow start, then one more for each window that was
 * acknowledged; half as many after a refusal (the idea of RFC 5681 §3.1). Pure.
 */

/** The most blocks in flight. */
export const MAX_WINDOW = 16;

/** The state of the window. */
export interface Window {
  /** Blocks that may be in flight; whole blocks of it count. */
  readonly size: number;
  /** Below it the window doubles each round trip, above it grows by one. */
  readonly threshold: number;
}

/** A new stream's window. */
export const initialWindow: Window = { size: 2, threshold: MAX_WINDOW };

/** After an acknowledgement. */
export function acknowledged({ size, threshold }: Window): Window {
  const grown = size < threshold ? size + 1 : size + 1 / size;
  return { size: Math.min(MAX_WINDOW, grown), threshold };
}

/** After a refusal that asks to wait. */
export function refused({ size }: Window): Window {
  const half = Math.max(1, Math.floor(size / 2));
  return { size: half, threshold: half };
}
