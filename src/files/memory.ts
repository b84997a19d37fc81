/** Measures against page faults and garbage. Nothing depends on them; both may do nothing. */
import { MessageChannel } from 'node:worker_threads';

/** Just under glibc's largest dynamic threshold, in bytes. */
const WARM_UP = 32 * 1024 * 1024 - 65_536;

let port: MessageChannel['port1'] | undefined;

/**
 * Frees the memory of a buffer that is no longer needed, at once instead of with the next collection.
 *
 * @remarks Only buffers that own all their memory are freed. The buffer is empty after that.
 */
export function release(buffer: Buffer): void {
  const memory = buffer.buffer;
  if (!(memory instanceof ArrayBuffer) || memory.byteLength !== buffer.length) return;
  if (port === undefined) {
    const channel = new MessageChannel();
    port = channel.port1;
    port.close();
  }
  try {
    port.postMessage(undefined, [memory]);
  } catch {
    // Memory that cannot be transferred is left to the collector.
  }
}

/**
 * Allocates and frees one large block: glibc then keeps freed blocks instead of giving each back to
 * the kernel and faulting it in again. Once a process, before the first large transfer.
 */
export function warmUp(): void {
  release(Buffer.allocUnsafeSlow(WARM_UP));
}
