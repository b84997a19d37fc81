/** `jet register JID` (XEP-0077) */
import type { ExitStatus } from '../../core/errors.ts';
import type { Context } from '../context.ts';
import { enrol, type LoginFlags } from './login.ts';

/** Makes an account on a server that allows it, then saves it. */
export function register(context: Context, name: string, flags: LoginFlags): Promise<ExitStatus> {
  return enrol(context, name, flags, 'Registered and logged in', async (settings, signal) => {
    const { registerAccount } = await import('../../app.ts');
    await registerAccount(settings, signal);
  });
}
