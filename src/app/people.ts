/** Contacts and their devices: the roster, the device lists and what is trusted of them. */
import { Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { parseDeviceList } from '../omemo/devicelist.ts';
import { NODE_DEVICES } from '../omemo/names.ts';
import type { Contact, Device, StaleDevice } from './types.ts';
import type { Workbench } from './workbench.ts';

/** @see OpenAccount.contacts */
export async function contacts(bench: Workbench): Promise<readonly Contact[]> {
  await answerRequests(bench);
  return bench.roster.contacts.map(({ jid, name, subscription, asked }) => ({
    jid,
    subscription,
    pending: asked,
    ...(name !== '' && { name }),
  }));
}

/** @see OpenAccount.addContact */
export async function addContact(bench: Workbench, jid: Jid): Promise<void> {
  await bench.roster.add(jid);
  await answerRequests(bench);
}

/** @see OpenAccount.removeContact */
export async function removeContact({ roster }: Workbench, jid: Jid): Promise<boolean> {
  if (!roster.contacts.some((contact) => contact.jid.sameBare(jid))) return false;
  await roster.remove(jid);
  return true;
}

/** @see OpenAccount.devices */
export async function devices(bench: Workbench, jid?: Jid): Promise<readonly Device[]> {
  const omemo = bench.openOmemo(false);
  const own = bench.connection.jid.bare;
  const whose = jid?.bare ?? own;
  const mine = whose.equals(own) ? await omemo.ensureDevice() : undefined;
  const listed = parseDeviceList(await bench.pep.fetch(whose, NODE_DEVICES));
  const pins = omemo.devices(whose);
  const unseen = pins.filter(({ device }) => device === undefined || !listed.includes(device));
  const shown = await Promise.all(
    listed.map(async (id): Promise<Device> => {
      if (id === mine?.id) {
        return { id, fingerprint: mine.fingerprint, own: true, listed: true };
      }
      const pin = pins.find(({ device }) => device === id);
      const fingerprint = pin?.fingerprint ?? (await omemo.shownKey(whose, id));
      return {
        id,
        ...(fingerprint !== undefined && { fingerprint }),
        // A key may have been judged before it was seen under any device.
        trust: pins.find((known) => known.fingerprint === fingerprint)?.state ?? 'undecided',
        own: false,
        listed: true,
      };
    }),
  );
  const named = new Set(shown.map(({ fingerprint }) => fingerprint));
  return [
    ...shown,
    ...unseen
      .filter(({ fingerprint }) => !named.has(fingerprint))
      .map(({ device, fingerprint, state }): Device => ({
        id: device ?? 0,
        fingerprint,
        trust: state,
        own: false,
        listed: false,
      })),
  ];
}

/** @see OpenAccount.staleDevices */
export function staleDevices(bench: Workbench): Promise<readonly StaleDevice[]> {
  return bench.openOmemo(false).staleDevices();
}

/** @see OpenAccount.removeDevices */
export async function removeDevices(bench: Workbench, ids: readonly number[]): Promise<void> {
  const omemo = bench.openOmemo(false);
  const own = bench.connection.jid.bare;
  const listed = parseDeviceList(await bench.pep.fetch(own, NODE_DEVICES));
  for (const id of ids) {
    if (id === omemo.device?.id) {
      throw new JetError(
        Exit.usage,
        'own-device',
        `${id} is this device: jet logout takes it off the list.`,
      );
    }
    if (!listed.includes(id)) {
      throw new JetError(
        Exit.usage,
        'no-such-device',
        `There is no device ${id} on the list of ${own.toString()}: jet devices shows them.`,
      );
    }
  }
  await omemo.removeDevices(new Set(ids));
}

/** Requests of contacts reach only who is available; the roster that comes after them shows the answers. */
async function answerRequests({ presence, roster }: Workbench): Promise<void> {
  await presence.available();
  await roster.load();
  await roster.load();
}
