/** Which name everything in a received tree gets: safe, and never that of something else in it. */
import { Exit, JetError } from '../core/errors.ts';
import { alternativeName, foldName, safeInnerName, safeName } from './names.ts';

/** Deepest path, in segments. */
const MAX_DEPTH = 200;
/** Longest path as it came, in bytes of UTF-8. */
const MAX_PATH_BYTES = 4096;

/** Gives names in the order in which it is asked: the same list has the same names every time. */
export class TreeNames {
  /** Local paths by the peer's; the first of several with one path. */
  readonly #local = new Map<string, string>();
  readonly #folders = new Map<string, string>();
  readonly #taken = new Set<string>();
  /** Which alternative of a name comes next: a list of equal names must not take for ever. */
  readonly #next = new Map<string, number>();
  #left: number;

  /** @param most - entries, implied folders among them */
  constructor(most: number) {
    this.#left = most;
  }

  /**
   * The local path of a folder: one for one path, and for the folders that lead to it.
   *
   * @throws JetError (exit 9) `unsafe-path`, `too-many-entries`
   */
  folder(path: string): string {
    return this.#folder(segmentsOf(path));
  }

  /** The local path of a file or a link; another one each time. @throws as `folder` */
  leaf(path: string): string {
    const segments = segmentsOf(path);
    return this.#name(this.#folder(segments.slice(0, -1)), segments);
  }

  /** Where what the peer has at a path is here; what is not there would have that name. */
  find(path: string): string {
    const known = this.#folders.get(path) ?? this.#local.get(path);
    if (known !== undefined) return known;
    const slash = path.lastIndexOf('/');
    const name = safeInnerName(path.slice(slash + 1));
    return slash < 0 ? name : `${this.find(path.slice(0, slash))}/${name}`;
  }

  #folder(segments: readonly string[]): string {
    if (segments.length === 0) return '';
    const path = segments.join('/');
    const known = this.#folders.get(path);
    if (known !== undefined) return known;
    const local = this.#name(this.#folder(segments.slice(0, -1)), segments);
    this.#folders.set(path, local);
    return local;
  }

  #name(folder: string, segments: readonly string[]): string {
    if (this.#left-- <= 0)
      throw new JetError(
        Exit.remoteFile,
        'too-many-entries',
        'The other side offers a folder with too many files. Ask for an archive of it.',
      );
    const last = segments.at(-1) ?? '';
    const wanted = segments.length === 1 ? safeName(last) : safeInnerName(last);
    const memo = `${folder}/${foldName(wanted)}`;
    for (let n = this.#next.get(memo) ?? 0; ; n++) {
      const name = n === 0 ? wanted : alternativeName(wanted, n);
      const key = n === 0 ? memo : `${folder}/${foldName(name)}`;
      if (this.#taken.has(key)) continue;
      this.#taken.add(key);
      this.#next.set(memo, n + 1);
      const local = folder === '' ? name : `${folder}/${name}`;
      const path = segments.join('/');
      if (!this.#local.has(path)) this.#local.set(path, local);
      return local;
    }
  }
}

function segmentsOf(path: string): string[] {
  const segments = path.split('/');
  const none = (segment: string) => segment === '' || segment === '.' || segment === '..';
  if (
    Buffer.byteLength(path) > MAX_PATH_BYTES ||
    segments.length > MAX_DEPTH ||
    segments.some(none)
  )
    throw new JetError(
      Exit.remoteFile,
      'unsafe-path',
      `The other side gave a file the path "${path.slice(0, 200)}", which leads out of its folder or is none. Do not take it.`,
    );
  return segments;
}
