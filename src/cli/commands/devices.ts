/** `jet devices [JID]`, `jet devices --prune`, `jet devices --remove ID...` */
import type { Device, StaleDevice } from '../../app/types.ts';
import { Exit, type ExitStatus, JetError } from '../../core/errors.ts';
import { fingerprintUri } from '../../omemo/uri.ts';
import { type Address, parseBareAddress, usage } from '../arguments.ts';
import { type Context, withAccount } from '../context.ts';
import { formatFingerprint } from '../format.ts';
import { canAsk, confirm } from '../prompt.ts';
import { qrCode } from '../qr.ts';

/** What may be done to our own list. */
export interface DeviceFlags {
  readonly prune?: true;
  readonly remove?: readonly string[];
  readonly yes?: true;
}

/** Lists the devices of a contact, or our own with this one's QR code; or takes some of ours off the list. */
export async function devices(
  context: Context,
  name: string | undefined,
  flags: DeviceFlags,
): Promise<ExitStatus> {
  const { prune: prunes, remove, yes } = flags;
  if ((prunes || remove) && (name !== undefined || (prunes && remove))) {
    throw usage(
      'devices-arguments',
      '--prune and --remove stand alone: they change the list of your own account.',
    );
  }
  if (remove) return removeNamed(context, remove);
  return prunes ? prune(context, yes === true) : list(context, name);
}

/** Fingerprints in the address are compared with what is listed; nothing is pinned. */
async function list(context: Context, name: string | undefined): Promise<ExitStatus> {
  const address = name === undefined ? undefined : parseBareAddress(name);
  const { owner, found } = await withAccount(context, async (account) => ({
    owner: address?.jid ?? account.jid.bare,
    found: await account.devices(address?.jid),
  }));
  for (const device of found) {
    const { id, fingerprint, trust, own, listed } = device;
    if (context.settings.on('json')) {
      process.stdout.write(`${JSON.stringify({ jid: owner.toString(), ...device })}\n`);
      continue;
    }
    const shown = fingerprint === undefined ? 'no key to be had' : formatFingerprint(fingerprint);
    const state = own ? 'this device' : (trust ?? 'undecided');
    process.stdout.write(`${id}  ${shown}  ${state}${listed ? '' : ', not listed'}\n`);
    if (fingerprint === undefined) continue;
    const uri = fingerprintUri(owner, id, fingerprint);
    process.stdout.write(`  ${uri}\n`);
    if (own && process.stdout.isTTY) process.stdout.write(`${await qrCode(uri)}\n`);
  }
  if (address !== undefined) compare(address, found);
  return Exit.done;
}

/** @throws JetError (exit 6) when a device does not have the key that was written for it */
function compare({ jid, devices }: Address, found: readonly Device[]): void {
  for (const { device, fingerprint } of devices) {
    const shown = found.find(({ id }) => id === device);
    if (shown?.listed === true && shown.fingerprint === fingerprint) continue;
    const instead =
      shown?.fingerprint === undefined ? 'has no key to be had' : `has ${shown.fingerprint}`;
    throw new JetError(
      Exit.security,
      'other-key',
      `The device ${device} of ${jid.toString()} does not have the key that was written, ${fingerprint}: it ${shown?.listed === true ? instead : 'is not listed'}. Compare it with the owner once more.`,
    );
  }
}

async function removeNamed(context: Context, words: readonly string[]): Promise<ExitStatus> {
  const ids = words.map((word) => {
    if (!/^[1-9][0-9]{0,9}$/.test(word)) {
      throw usage('not-a-device', `${word} is no device: jet devices shows their numbers.`);
    }
    return Number(word);
  });
  await withAccount(context, async (account) => {
    await account.removeDevices(ids);
    tell(context, account.jid.bare.toString(), ids);
  });
  return Exit.done;
}

async function prune(context: Context, unasked: boolean): Promise<ExitStatus> {
  if (!unasked && !canAsk()) {
    throw usage('nobody-to-ask', 'There is no terminal to ask at: use --yes to prune unasked.');
  }
  await withAccount(context, async (account) => {
    const chosen: number[] = [];
    for (const device of await account.staleDevices()) {
      if (unasked || (await agrees(context, device))) chosen.push(device.id);
    }
    if (chosen.length > 0) await account.removeDevices(chosen);
    tell(context, account.jid.bare.toString(), chosen);
  });
  return Exit.done;
}

function agrees(context: Context, { id, why }: StaleDevice): Promise<boolean> {
  const reason =
    why === 'no-bundle'
      ? 'has published no keys, so nobody can encrypt to it'
      : 'is a jet that was not used for 90 days';
  return context.terminal.still(() =>
    confirm(`The device ${id} ${reason}. Take it off the list?`, context.signals.abort),
  );
}

function tell(context: Context, jid: string, removed: readonly number[]): void {
  for (const id of removed) {
    const line = context.settings.on('json') ? JSON.stringify({ jid, id, removed: true }) : id;
    process.stdout.write(`${line}\n`);
  }
  if (removed.length === 0) context.terminal.line('No device was taken off the list.');
}
