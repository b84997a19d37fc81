/** XEP-0384 0.3 §4.2 and §4.3: the list of an account's devices; other clients' entries are kept as they are. */
import { type Element, xml } from '../xmpp/xml.ts';
import { randomInt } from '../core/bytes.ts';
import { type Clock, sleep } from '../core/clock.ts';
import { Exit, JetError } from '../core/errors.ts';
import { ITEM_ID, NODE_DEVICES, NS_OMEMO, parseId } from './names.ts';
import type { PepPort } from './pep-port.ts';

/** Most devices of one account that are looked at; the rest of a longer list is ignored. */
export const MAX_DEVICES = 100;
/** Publishing is repeated this often when another client writes at the same moment. */
const ATTEMPTS = 4;

/**
 * The ids of a list: each once, malformed entries left out, an absent or foreign payload is empty.
 *
 * @param known - ids that come first and count however long the list is
 */
export function parseDeviceList(
  list: Element | undefined,
  known: ReadonlySet<number> = new Set(),
): number[] {
  if (!list?.is('list', NS_OMEMO)) return [];
  const first = new Set<number>();
  const others = new Set<number>();
  for (const entry of list.getChildren('device')) {
    const id = parseId(entry.attrs['id']);
    if (id === undefined) continue;
    if (known.has(id)) first.add(id);
    else if (others.size < MAX_DEVICES) others.add(id);
  }
  return [...first, ...others];
}

/** The same list with some devices added or taken away; whatever else it holds stays. */
export function editDeviceList(
  list: Element | undefined,
  change: { readonly add?: number; readonly remove?: ReadonlySet<number> },
): Element {
  const edited = xml('list', { xmlns: NS_OMEMO });
  const before = list?.is('list', NS_OMEMO) ? list.getChildElements() : [];
  for (const entry of before) {
    const id = entry.name === 'device' ? parseId(entry.attrs['id']) : undefined;
    if (id === undefined || !change.remove?.has(id)) edited.append(entry);
  }
  if (change.add !== undefined && !isListed(list, change.add)) {
    edited.append(xml('device', { id: change.add }));
  }
  return edited;
}

/** True when the whole list, however long, names the device. */
export function isListed(list: Element | undefined, id: number): boolean {
  if (!list?.is('list', NS_OMEMO)) return false;
  return list.getChildren('device').some((entry) => parseId(entry.attrs['id']) === id);
}

/**
 * Brings our list on the server to hold `add` and not to hold `remove`: read, write, read back. There
 * is no compare-and-swap in PEP, so the caller holds the lock against our own other processes.
 *
 * @returns whether anything had to be written
 * @throws JetError (exit 3, `device-list`) when the server does not keep what was written;
 * StanzaError as it comes (a list that cannot be read is never overwritten)
 */
export async function publishDeviceList(
  pep: PepPort,
  clock: Clock,
  change: { readonly add?: number; readonly remove?: ReadonlySet<number> },
): Promise<boolean> {
  for (let attempt = 0; attempt <= ATTEMPTS; attempt++) {
    const list = await pep.fetch(null, NODE_DEVICES);
    const complete = change.add === undefined || isListed(list, change.add);
    const clean = ![...(change.remove ?? [])].some((id) => isListed(list, id));
    if (complete && clean) return attempt > 0;
    if (attempt === ATTEMPTS) break;
    // Not in step with the other writer, or both would go on undoing each other's.
    if (attempt > 0) await sleep(clock, 250 * 2 ** attempt + randomInt(0, 250));
    await pep.publish(NODE_DEVICES, ITEM_ID, editDeviceList(list, change));
  }
  throw new JetError(
    Exit.account,
    'device-list',
    'The server does not keep the list of OMEMO devices: another client changes it all the time, or the server has no personal eventing. Try again, or ask its operator.',
  );
}
