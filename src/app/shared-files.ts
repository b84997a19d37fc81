/** From the paths that a user names to the files that are shared. */
import { lstat, stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { asError } from '../core/errors.ts';
import { walk, type WalkOptions } from '../files/walk.ts';
import type { Shared } from '../transfer/catalogue.ts';

/**
 * Files as they are, folders with all that they hold.
 *
 * @param refused - is told what cannot be shared, and why
 */
export async function* sharedFiles(
  paths: readonly string[],
  options: Pick<WalkOptions, 'links' | 'exclude'>,
  refused: (path: string, error: Error) => void,
): AsyncGenerator<Shared, void, undefined> {
  const skipped = (path: string, why: string) => refused(path, new Error(why));
  for (const named of paths) {
    const path = resolve(named);
    try {
      const isFolder = (await lstat(path)).isDirectory() || (await stat(path)).isDirectory();
      if (!isFolder) {
        yield { path, name: basename(path) };
        continue;
      }
      const walked = walk(path, { ...options, skipped, identify: true });
      for await (const { kind, source, path: name, identity } of walked)
        if (kind === 'file') yield { path: source, name, ...(identity && { identity }) };
    } catch (error) {
      refused(named, asError(error));
    }
  }
}
