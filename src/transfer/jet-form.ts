/** How a jet says in disco#info (XEP-0128) which device an envelope for it is to be made for (docs/sealed.md §3). */
import { NS_SEALED } from '../jet/sealed.ts';
import type { DiscoForm } from '../xmpp/disco.ts';

const DEVICE = 'omemo-device';

/** The form that names our device. */
export function jetForm(device: number): DiscoForm {
  return { type: NS_SEALED, fields: [{ name: DEVICE, values: [String(device)] }] };
}

/**
 * The device of a peer that is a jet: it has the feature and names one. A lie here only makes the
 * transfer fail.
 *
 * @returns undefined for a plain peer
 */
export function jetDevice(peer: {
  readonly features: ReadonlySet<string>;
  readonly forms: readonly DiscoForm[];
}): number | undefined {
  if (!peer.features.has(NS_SEALED)) return undefined;
  const form = peer.forms.find(({ type }) => type === NS_SEALED);
  const [text = '', more] = form?.fields.find(({ name }) => name === DEVICE)?.values ?? [];
  const device = /^[0-9]{1,10}$/.test(text) && more === undefined ? Number(text) : 0;
  return device > 0 && device < 2 ** 31 ? device : undefined;
}
