/** A folder that comes again: which bytes of its stream lie here already, and which are to come. */
import { blanks, blocksOf } from '../../files/blocks.ts';
import type { LandedFiles } from '../../files/landed-files.ts';
import type { TreeEntry } from '../../files/walk.ts';
import { joined } from './doubt.ts';
import type { Extent } from '../sealed.ts';

/** A file of the stream, and where it lies. */
interface Segment {
  readonly start: number;
  readonly size: number;
  readonly place: string | undefined;
}

/** What lies here of one stream. */
export class LandedBefore {
  readonly #files: readonly Segment[];
  /** What is to come, in order. The end of the stream, which says what became of the files, is in the last one. */
  readonly #gaps: readonly Extent[];
  readonly #size: number;

  private constructor(files: readonly Segment[], gaps: readonly Extent[], size: number) {
    this.#files = files;
    this.#gaps = gaps;
    this.#size = size;
  }

  /**
   * Looks at what has landed of the files.
   *
   * @param head - bytes of the list, which are there
   * @param size - bytes of the stream
   */
  static async of(
    landed: LandedFiles,
    entries: readonly TreeEntry[],
    head: number,
    size: number,
  ): Promise<LandedBefore> {
    const listed = entries.filter((entry) => entry.kind === 'file');
    const places = await landed.find(listed);
    const files: Segment[] = [];
    const missing: Extent[] = [];
    let start = head;
    let gap = head;
    for (const [n, { size: bytes }] of listed.entries()) {
      const place = places[n];
      files.push({ start, size: bytes, place });
      if (place !== undefined && bytes > 0) {
        if (start > gap) missing.push({ offset: gap, length: start - gap });
        gap = start + bytes;
      }
      start += bytes;
    }
    if (size > gap) missing.push({ offset: gap, length: size - gap });
    return new LandedBefore(files, joined(missing), size);
  }

  /** What is to come next behind `position`. */
  gapAt(position: number): { readonly start: number; readonly end: number } {
    const gap = this.#gaps.find(({ offset, length }) => offset + length > position);
    if (gap === undefined) return { start: position, end: this.#size };
    return { start: Math.max(position, gap.offset), end: gap.offset + gap.length };
  }

  /**
   * The bytes from `from` up to `to`, which is no gap. What cannot be read any more comes as zeros: the proof
   * of the whole tells.
   */
  async *read(from: number, to: number): AsyncGenerator<Buffer, void, undefined> {
    for (const { start, size, place } of this.#files) {
      if (start + size <= from || size === 0) continue;
      if (start >= to) return;
      yield* readAnyway(place, Math.max(0, from - start), Math.min(size, to - start));
    }
  }
}

async function* readAnyway(
  place: string | undefined,
  from: number,
  to: number,
): AsyncGenerator<Buffer, void, undefined> {
  let at = from;
  if (place !== undefined)
    try {
      for await (const block of blocksOf(place, from, to)) {
        at += block.length;
        yield block;
      }
    } catch {
      // As where nothing lies.
    }
  yield* blanks(to - at);
}
