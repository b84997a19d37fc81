/** XEP-0384 0.3 (legacy OMEMO): its namespace, its PEP nodes, and the range of a device id. */

/** Namespace of every element of legacy OMEMO, and value of `security@type` (XEP-0396 §4). */
export const NS_OMEMO = 'eu.siacs.conversations.axolotl';
/** PEP node of the device list. */
export const NODE_DEVICES = `${NS_OMEMO}.devicelist`;
/** Namespace of ours for what no other client reads: the mark of a device's state. */
export const NS_STATE = 'urn:xmpp:jet-transfer:state:0';
/** Item id that clients publish singletons under. */
export const ITEM_ID = 'current';
/** Largest device id: clients keep them in signed 32 bits. */
export const MAX_DEVICE = 2 ** 31 - 1;

/** PEP node of a device's bundle. */
export function bundleNode(device: number): string {
  return `${NS_OMEMO}.bundles:${device}`;
}

/** PEP node of a device's mark, readable by the account alone. */
export function markNode(device: number): string {
  return `${NS_STATE}:${device}`;
}

/** PEP node that whoever goes on from a mark makes before. */
export function claimNode(device: number, mark: string): string {
  return `${NS_STATE}:${device}:${mark}`;
}

/** Reads a device or key id from an attribute; undefined when it is no positive integer of 31 bits. */
export function parseId(text: string | undefined): number | undefined {
  if (text === undefined || !/^[0-9]{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id >= 1 && id <= MAX_DEVICE ? id : undefined;
}
