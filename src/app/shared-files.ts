/** From the paths that a user names to the files that are shared. */
import { lstat, stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { asError } from '../core/errors.ts';
import { walk, type Walked, type WalkOptions } from '../files/walk.ts';
import type { Shared } from '../transfer/catalogue.ts';

/**
 * Files as they are, folders with all that they hold, some at once.
 *
 * @param refused - is told what cannot be shared, and why
 */
export async function* sharedFiles(
  paths: readonly string[],
  options: Pick<WalkOptions, 'links' | 'exclude'>,
  refused: (path: string, error: Error) => void,
): AsyncGenerator<readonly Shared[], void, undefined> {
  const skipped = (path: string, why: string) => refused(path, new Error(why));
  for (const named of paths) {
    const path = resolve(named);
    try {
      const isFolder = (await lstat(path)).isDirectory() || (await stat(path)).isDirectory();
      if (!isFolder) {
        yield [{ path, name: basename(path) }];
        continue;
      }
      const walked = walk(path, { ...options, skipped, identify: true });
      for await (const slice of walked) yield slice.filter(isFile).map(shared);
    } catch (error) {
      refused(named, asError(error));
    }
  }
}

function isFile({ kind }: Walked): boolean {
  return kind === 'file';
}

function shared({ source: path, path: name, identity }: Walked): Shared {
  return identity === undefined ? { path, name } : { path, name, identity };
}
