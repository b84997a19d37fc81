/** What a jet says of itself in disco#info (XEP-0128, docs/sealed.md §3): its device, and what it waits for. */
import { NS_SEALED } from '../jet/sealed.ts';
import type { DiscoForm } from '../xmpp/disco.ts';

const DEVICE = 'omemo-device';
const WAITS_FOR = 'waits-for';

/** What a jet can be told. `offer`: it takes files; `request`: it shares some; `resume`: it goes on with either. */
export type WaitsFor = 'offer' | 'request' | 'resume';

/** A peer as disco shows it. */
export interface JetPeer {
  readonly features: ReadonlySet<string>;
  readonly forms: readonly DiscoForm[];
}

/** The form of a jet that waits. */
export function jetForm(device: number, waitsFor: readonly WaitsFor[]): DiscoForm {
  return {
    type: NS_SEALED,
    fields: [
      { name: DEVICE, values: [String(device)] },
      { name: WAITS_FOR, values: waitsFor },
    ],
  };
}

/**
 * The device of a peer that is a jet: it has the feature and names one. A lie here only makes the
 * transfer fail.
 *
 * @returns undefined for a plain peer
 */
export function jetDevice(peer: JetPeer): number | undefined {
  const [text = '', more] = values(peer, DEVICE);
  const device = /^[0-9]{1,10}$/.test(text) && more === undefined ? Number(text) : 0;
  return device > 0 && device < 2 ** 31 ? device : undefined;
}

/** Whether a peer that is a jet waits for this; of any other program nothing is known. */
export function mayWaitFor(peer: JetPeer, what: WaitsFor): boolean {
  return jetDevice(peer) === undefined || values(peer, WAITS_FOR).includes(what);
}

function values(peer: JetPeer, field: string): readonly string[] {
  if (!peer.features.has(NS_SEALED)) return [];
  const form = peer.forms.find(({ type }) => type === NS_SEALED);
  return form?.fields.find(({ name }) => name === field)?.values ?? [];
}
