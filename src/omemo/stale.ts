/** Which devices of our own account are of no use any more (`jet devices --prune`). */
import { readBundle } from './bundle.ts';
import { parseDeviceList } from './devicelist.ts';
import { dayOfMark } from './mark.ts';
import { bundleNode, markNode, NODE_DEVICES } from './names.ts';
import type { PepPort } from './pep-port.ts';

/** A jet that took no step for so long counts as gone, in ms. */
const SILENT_MS = 90 * 86_400_000;

/** A device that may be taken off the list. */
export interface StaleDevice {
  readonly id: number;
  /** `no-bundle`: nobody can encrypt to it; `silent`: a jet that was not used for 90 days. */
  readonly why: 'no-bundle' | 'silent';
}

/**
 * The stale devices of our list. A chat client whose bundle is there is never stale: nothing shows
 * whether it is used.
 *
 * @param own - the device that is never stale
 * @throws StanzaError: what cannot be read is not called stale
 */
export async function staleDevices(
  pep: PepPort,
  own: number | undefined,
  now: number,
): Promise<StaleDevice[]> {
  const stale: StaleDevice[] = [];
  for (const id of parseDeviceList(await pep.fetch(null, NODE_DEVICES))) {
    if (id === own) continue;
    const seen = dayOfMark(await pep.fetch(null, markNode(id)));
    if (readBundle(await pep.fetch(null, bundleNode(id))) === undefined) {
      stale.push({ id, why: 'no-bundle' });
    } else if (seen !== undefined && now - seen > SILENT_MS) {
      stale.push({ id, why: 'silent' });
    }
  }
  return stale;
}
