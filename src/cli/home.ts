/** Where configuration, state and keys are kept. */
import { chmodSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import envPaths from 'env-paths';
import type { HomeFolders } from '../app/types.ts';
import { Exit, JetError, messageOf } from '../core/errors.ts';

/** The folders of `JET_HOME`, or the system's for this user. */
export function homeFolders(env: NodeJS.ProcessEnv): HomeFolders {
  const home = env['JET_HOME'];
  if (home !== undefined && home !== '') {
    const folder = resolve(home);
    return { config: folder, data: folder };
  }
  const paths = envPaths('jet', { suffix: '' });
  return { config: paths.config, data: paths.data };
}

/** Makes the folders, readable by the user alone (0700). */
export function prepareHome(home: HomeFolders): void {
  for (const folder of [home.config, home.data]) {
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      chmodSync(folder, 0o700);
    } catch (error) {
      throw new JetError(
        Exit.localFile,
        'home-unusable',
        `Cannot use the folder ${folder}: ${messageOf(error)}. Make it writable, or set JET_HOME.`,
        { cause: error },
      );
    }
  }
}

/** The path of the configuration file. */
export function configPath(home: HomeFolders): string {
  return join(home.config, 'config.toml');
}
