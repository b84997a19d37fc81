/** `jet devices [JID]` */
import { Exit, type ExitStatus } from '../../core/errors.ts';
import { fingerprintUri, groupFingerprint } from '../../omemo/uri.ts';
import { parseBareAddress } from '../arguments.ts';
import { type Context, withAccount } from '../context.ts';
import { qrCode } from '../qr.ts';

/** Lists the devices of a contact, or our own with this one's QR code. */
export async function devices(context: Context, name: string | undefined): Promise<ExitStatus> {
  const jid = name === undefined ? undefined : parseBareAddress(name);
  const { owner, found } = await withAccount(context, async (account) => ({
    owner: jid ?? account.jid.bare,
    found: await account.devices(jid),
  }));
  for (const device of found) {
    const { id, fingerprint, trust, own, listed } = device;
    if (context.settings.on('json')) {
      process.stdout.write(`${JSON.stringify({ jid: owner.toString(), ...device })}\n`);
      continue;
    }
    const shown = fingerprint === undefined ? 'no key to be had' : groupFingerprint(fingerprint);
    const state = own ? 'this device' : (trust ?? 'undecided');
    process.stdout.write(`${id}  ${shown}  ${state}${listed ? '' : ', not listed'}\n`);
    if (fingerprint === undefined) continue;
    const uri = fingerprintUri(owner, id, fingerprint);
    process.stdout.write(`  ${uri}\n`);
    if (own && process.stdout.isTTY) process.stdout.write(`${await qrCode(uri)}\n`);
  }
  return Exit.done;
}
