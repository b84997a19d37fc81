/** What a `jet send` was given, looked at before anybody is asked for anything. */
import { basename } from 'node:path';
import { asError } from '../core/errors.ts';
import { FileSource } from '../files/source.ts';
import type { Sendable } from './send.ts';

/** One thing to offer; opened when its turn comes, and again when it has to be offered again. */
export interface Item {
  /** For the user. */
  readonly label: string;
  /** @throws JetError (exit 8) */
  open(): Promise<Sendable>;
}

/** What can be sent, and what cannot. */
export interface Gathered {
  readonly items: readonly Item[];
  readonly refused: readonly { readonly label: string; readonly error: Error }[];
}

/** Looks at everything that was named. */
export async function gather(paths: readonly string[]): Promise<Gathered> {
  const items: Item[] = [];
  const refused: { label: string; error: Error }[] = [];
  for (const path of paths) {
    const label = basename(path);
    try {
      await (await FileSource.open(path)).close();
      items.push({ label, open: () => FileSource.open(path) });
    } catch (error) {
      refused.push({ label: path, error: asError(error) });
    }
  }
  return { items, refused };
}
