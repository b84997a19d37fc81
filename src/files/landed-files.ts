/** What of a folder, or of batches, has landed, and where: by that it is known when it comes again. */
import { deflateSync, inflateSync } from 'node:zlib';
import {
  decodeSource,
  encodeSource,
  identityAt,
  isUnchanged,
  type SourceIdentity,
} from './identity.ts';
import type { TreeEntry } from './walk.ts';

/** Most files that are remembered of a folder; of a larger one nothing is. */
const MOST = 200_000;
/** Most files that are remembered of batches, of all that came into one folder: the oldest are forgotten. */
const MOST_BATCHED = 20_000;
/** Most bytes that what is remembered has once it is inflated. */
const MOST_BYTES = 256 * 1024 * 1024;
/** Files that are looked at at once. */
const AT_ONCE = 64;

type FileEntry = TreeEntry & { readonly kind: 'file' };

/** A file of a list that lies here. */
export interface Placed {
  readonly entry: FileEntry;
  /** Absolute. */
  readonly place: string;
}

/** What is known of a file that has landed. */
export interface Known {
  readonly place: string;
  readonly file: SourceIdentity;
}

interface Remembered extends Known {
  /** As it is remembered. */
  readonly line: string;
  readonly size: number;
  readonly mtime: number;
}

/** Where a file of a name and size may have landed alone, and what it was then. */
export type LandedAlone = (name: string, size: number) => readonly Known[];

/** The files of one folder that one identity key has landed. No other file is looked at. */
export class LandedFiles {
  readonly #byPath = new Map<string, Remembered>();
  readonly #byPlace = new Map<string, Known>();
  readonly #alone: LandedAlone;

  /**
   * Reads what `rememberFiles` wrote; of anything else nothing is known.
   *
   * @param alone - asked for what is not remembered
   */
  constructor(bytes: Uint8Array, alone: LandedAlone = () => []) {
    this.#alone = alone;
    for (const line of inflated(bytes).split('\n')) {
      const [path, size, mtime, place, identity] = parsed(line);
      const file = typeof identity === 'string' ? decodeSource(identity) : undefined;
      if (typeof path !== 'string' || typeof size !== 'number' || typeof mtime !== 'number')
        continue;
      if (typeof place !== 'string' || file === undefined) continue;
      const known = { line, size, mtime, place, file };
      this.#byPath.set(path, known);
      this.#byPlace.set(place, known);
    }
  }

  /** Where each of the files lies, unchanged on both sides since it landed; undefined for those that do not. */
  async find(entries: readonly FileEntry[]): Promise<(string | undefined)[]> {
    const places: (string | undefined)[] = [];
    for (let at = 0; at < entries.length; at += AT_ONCE)
      places.push(
        ...(await Promise.all(
          entries.slice(at, at + AT_ONCE).map(async ({ path, size, mtime }) => {
            const known = this.#byPath.get(path);
            if (known === undefined) return this.#foundAlone(path, size);
            if (known.size !== size || known.mtime !== mtime) return undefined;
            return (await isUnchanged(known.place, known.file)) ? known.place : undefined;
          }),
        )),
      );
    return places;
  }

  /** Where a file of this name and size lies, unchanged since it landed. */
  async named(path: string, size: number): Promise<string | undefined> {
    const known = this.#byPath.get(path);
    if (known?.size !== size) return undefined;
    return (await isUnchanged(known.place, known.file)) ? known.place : undefined;
  }

  /** All but these, as it is remembered; the newest last. */
  without(paths: ReadonlySet<string>): string[] {
    return [...this.#byPath].filter(([path]) => !paths.has(path)).map(([, { line }]) => line);
  }

  async #foundAlone(path: string, size: number): Promise<string | undefined> {
    for (const known of this.#alone(path, size)) {
      if (!(await isUnchanged(known.place, known.file))) continue;
      this.#byPlace.set(known.place, known);
      return known.place;
    }
    return undefined;
  }

  /** Whether what lies at this place is one of the files, unchanged since it landed. */
  async has(place: string): Promise<boolean> {
    const known = this.#byPlace.get(place);
    return known !== undefined && (await isUnchanged(place, known.file));
  }
}

/**
 * What is to be remembered of files that have landed; undefined of more than are remembered.
 *
 * @param earlier - what stays known beside them
 */
export async function rememberFiles(
  placed: readonly Placed[],
  earlier?: LandedFiles,
): Promise<Buffer | undefined> {
  if (placed.length > MOST) return undefined;
  const room = Math.max(0, MOST_BATCHED - placed.length);
  const others = earlier?.without(new Set(placed.map(({ entry }) => entry.path))) ?? [];
  const lines: string[] = others.slice(Math.max(0, others.length - room));
  for (let at = 0; at < placed.length; at += AT_ONCE) {
    const some = placed.slice(at, at + AT_ONCE).map(async ({ entry, place }) => {
      const file = await identityAt(place);
      if (file === undefined) return [];
      const { path, size, mtime } = entry;
      return [JSON.stringify([path, size, mtime, place, encodeSource(file)])];
    });
    lines.push(...(await Promise.all(some)).flat());
  }
  return deflateSync(lines.join('\n'));
}

function parsed(line: string): readonly unknown[] {
  try {
    const value: unknown = JSON.parse(line);
    return Array.isArray(value) ? value : [];
  } catch {
    return [];
  }
}

function inflated(bytes: Uint8Array): string {
  try {
    return inflateSync(bytes, { maxOutputLength: MOST_BYTES }).toString();
  } catch {
    return '';
  }
}
