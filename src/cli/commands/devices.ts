/** `jet devices [JID]` */
import type { Device } from '../../app/types.ts';
import { Exit, type ExitStatus, JetError } from '../../core/errors.ts';
import { fingerprintUri } from '../../omemo/uri.ts';
import { type Address, parseBareAddress } from '../arguments.ts';
import { type Context, withAccount } from '../context.ts';
import { formatFingerprint } from '../format.ts';
import { qrCode } from '../qr.ts';

/**
 * Lists the devices of a contact, or our own with this one's QR code. Fingerprints in the address are
 * compared with what is listed; nothing is pinned.
 */
export async function devices(context: Context, name: string | undefined): Promise<ExitStatus> {
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
