/** Page-aligned memory, and reads that a file opened with O_DIRECT takes as well as any other. */
import { Exit, JetError } from '../core/errors.ts';

/** The one part of the global that is used here; the compiler's library for Node lacks it. */
declare const WebAssembly: {
  Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};

/** What O_DIRECT wants address, length and offset to be multiples of. */
export const ALIGNMENT = 4096;
const PAGE = 65_536;

/** What is read from: an open file. */
export interface Reading {
  read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number }>;
}

/** The multiple of ALIGNMENT at or below `position`. */
export function alignDown(position: number): number {
  return position - (position % ALIGNMENT);
}

/** The multiple of ALIGNMENT at or above `position`. */
export function alignUp(position: number): number {
  return alignDown(position + ALIGNMENT - 1);
}

/** `count` buffers of `size` bytes (a multiple of ALIGNMENT) whose addresses are multiples of it. */
export function alignedBuffers(count: number, size: number): Buffer[] {
  // The memory of WebAssembly is the only one that starts at a page.
  const pages = Math.max(1, Math.ceil((count * size) / PAGE));
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer;
  return Array.from({ length: count }, (_, i) => Buffer.from(memory, i * size, size));
}

/** One buffer of `size` bytes (a multiple of ALIGNMENT) at an aligned address. */
export function alignedBuffer(size: number): Buffer {
  return alignedBuffers(1, size)[0] ?? Buffer.alloc(0);
}

/**
 * Reads from `position` up to `end`, at most what the buffer holds from the aligned position on.
 *
 * @param buffer - one of `alignedBuffers`
 * @returns the bytes, a view of the buffer; fewer than asked for only when the buffer is full
 * @throws JetError (exit 8) `file-shortened` when the file ends before; the system's error
 */
export async function readAligned(
  file: Reading,
  buffer: Buffer,
  position: number,
  end: number,
): Promise<Buffer> {
  const from = alignDown(position);
  const wanted = Math.min(end - from, buffer.length);
  for (let done = 0; done < wanted;) {
    const { bytesRead } = await file.read(buffer, done, alignUp(wanted) - done, from + done);
    // A short read inside the file goes on from the last aligned byte; nothing more is its end.
    const ended = done + bytesRead < wanted && bytesRead < ALIGNMENT;
    if (ended) throw shortened();
    done += done + bytesRead < wanted ? alignDown(bytesRead) : bytesRead;
  }
  return buffer.subarray(position - from, wanted);
}

function shortened(): JetError {
  const message = 'a file became shorter while it was read. Start again once nothing changes it.';
  return new JetError(Exit.localFile, 'file-shortened', message);
}
