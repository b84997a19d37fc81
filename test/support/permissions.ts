/** Files that may not be read, also where the tests are root's. */
import { execFileSync } from 'node:child_process';
import { isRoot } from './children.ts';

const CAPABILITIES = '-dac_override,-dac_read_search';

/** Runs a program as root whom permissions bind like others (`setpriv` of util-linux). */
export const BOUND = ['setpriv', `--bounding-set=${CAPABILITIES}`, `--inh-caps=${CAPABILITIES}`];

/** Whether that can be done here. */
export const canBind = isRoot && runs([...BOUND, 'true']);

function runs([command = '', ...args]: readonly string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
