/** A `jet` as it is installed: the compiled sources of a checkout in a folder of their own. */
import { cp, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runs } from './processes.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Compiled and ready to start. */
export interface Program {
  readonly folder: string;
  readonly bin: string;
}

/**
 * Compiles a checkout.
 *
 * @param into - a folder that is not there yet
 * @param main - what stands in for its main module
 */
export async function build(
  into: string,
  { checkout = ROOT, main }: { readonly checkout?: string; readonly main?: string } = {},
): Promise<Program> {
  await mkdir(join(into, 'bin'), { recursive: true });
  await cp(join(checkout, 'bin/jet'), join(into, 'bin/jet'));
  await cp(join(checkout, 'package.json'), join(into, 'package.json'));
  const words = [join(into, 'dist'), checkout, ...(main === undefined ? [] : [main])];
  await runs([process.execPath, join(ROOT, 'scripts/build.mjs'), ...words]);
  await symlink(join(ROOT, 'node_modules'), join(into, 'node_modules'));
  return { folder: into, bin: join(into, 'bin/jet') };
}
