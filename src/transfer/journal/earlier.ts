/** What is missing of a file that is offered once more: what has landed, or come, is not sent again. */
import { dirname, resolve } from 'node:path';
import { isUnchanged, sameSource } from '../../files/identity.ts';
import { pathsIn, type TransferRow } from './journal-row.ts';
import type { Recorder, Records } from './recorder.ts';

/**
 * Where a file lies that this identity key has landed in the folder, unchanged since. No other file is looked
 * at: it would tell the sender what is here.
 *
 * @param recorder - of the new offer
 * @param offered - as it came
 */
export async function landedEarlier(
  { journal }: Records,
  recorder: Recorder,
  out: string,
  { name, size }: { readonly name: string; readonly size: number },
): Promise<string | undefined> {
  for (const { path, file, state } of sameFile(journal, recorder, out)) {
    if (state !== 'done' || path === undefined || file === undefined) continue;
    if (await isUnchanged(path, file)) return path;
  }
  return recorder.landedFiles(pathsIn(out))?.named(name, size);
}

/** Takes the part over that an interrupted transfer of the same file, or folder, has left in the folder. */
export function takesPart({ journal }: Records, recorder: Recorder, out: string): boolean {
  const { options } = recorder.row();
  const left = sameFile(journal, recorder, out)
    .filter(({ state, part, adopted }) => state === 'interrupted' && part !== undefined && adopted)
    .find((row) => row.options['tree'] === options['tree']);
  if (left === undefined) return false;
  journal.inherit(left.key, recorder.key);
  const { landing, there } = left.options;
  if (landing === true)
    recorder.note({ options: { ...options, landing, ...(there !== undefined && { there }) } });
  return true;
}

/** A send has arrived: what was interrupted of the same file, to the same device, is nothing to go on with. */
export function forgetEarlier({ journal }: Records, { key, ...sent }: TransferRow): void {
  const { account, peer, identity, path, file, options } = sent;
  if (path === undefined) return;
  for (const row of journal.list({ account, states: ['interrupted'] })) {
    const same = row.direction === 'send' && row.peer === peer && row.identity === identity;
    if (!same || row.key === key || row.path !== path) continue;
    const sameBytes =
      file === undefined
        ? options['tree'] !== undefined && row.options['tree'] === options['tree']
        : row.file !== undefined && sameSource(row.file, file);
    if (sameBytes) journal.forget(row.key);
  }
}

function sameFile(journal: Records['journal'], recorder: Recorder, out: string): TransferRow[] {
  const { key, account, identity, name, size } = recorder.row();
  if (identity === undefined || size === undefined) return [];
  const folder = resolve(out);
  return journal
    .received(account, identity, name, size)
    .filter((row) => row.key !== key && row.path !== undefined)
    .filter(({ path = '' }) => dirname(resolve(path)) === folder);
}
