/** What `jet share` serves, found and hashed while the account logs in: neither needs the other. */
import { randomId } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import { Exit, JetError } from '../core/errors.ts';
import { Hasher } from '../files/hashing.ts';
import type { Store } from '../store/store.ts';
import { Catalogue } from '../transfer/catalogue.ts';
import { sharedFiles } from './shared-files.ts';
import type { Filling, OnEvent, ShareOptions, Ui } from './types.ts';

/** Milliseconds between two words on how far it is. */
const TOLD_MS = 200;

/**
 * Begins to fill a catalogue.
 *
 * @param open - the store, which is closed again when all is there
 */
export function fill(
  open: () => Store,
  clock: Clock,
  paths: readonly string[],
  options: Pick<ShareOptions, 'links' | 'exclude'>,
  ui: Pick<Ui, 'notice'>,
  on: OnEvent,
  signal: AbortSignal,
): Filling {
  const ending = new AbortController();
  const told = { ui, on, signal: AbortSignal.any([signal, ending.signal]) };
  const catalogue = filled(open, clock, paths, options, told);
  // Whoever serves it hears of a failure; until then nobody does.
  const settled = catalogue.then(
    () => undefined,
    () => undefined,
  );
  return {
    catalogue,
    stop: () => {
      ending.abort();
      return settled;
    },
  };
}

/** Hashes what is not known yet. @throws JetError (exit 8) when there is nothing to share */
async function filled(
  open: () => Store,
  clock: Clock,
  paths: readonly string[],
  options: Pick<ShareOptions, 'links' | 'exclude'>,
  { ui, on, signal }: { ui: Pick<Ui, 'notice'>; on: OnEvent; signal: AbortSignal },
): Promise<Catalogue> {
  const id = randomId();
  const refused = (path: string, error: Error) =>
    ui.notice('not-shared', `${path}: ${error.message}`);
  let shown = -Infinity;
  const store = open();
  try {
    const catalogue = new Catalogue(store, clock, new Hasher());
    await catalogue.add(sharedFiles(paths, options, refused), {
      signal,
      refused,
      onProgress: (bytes) => {
        const now = clock.monotonic();
        if (now - shown < TOLD_MS) return;
        shown = now;
        const what = `the hashes of what is shared (${Math.floor(bytes / 1e6)} MB so far)`;
        on({ id, time: clock.now(), event: 'waiting', what });
      },
    });
    if (catalogue.size === 0)
      throw new JetError(
        Exit.localFile,
        'nothing-to-share',
        'None of these can be shared. Name files or folders that you may read.',
      );
    return catalogue;
  } finally {
    store.close();
  }
}
