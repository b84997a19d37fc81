/** A keyring of its own: a session bus and GNOME's secret service in it, unlocked, for one shell script. */
import { spawn, spawnSync } from 'node:child_process';
import { JetProcess, type JetHome } from './jet.ts';

/** Whether Debian's dbus and gnome-keyring are there. */
export function hasKeyring(): boolean {
  return ['dbus-run-session', 'gnome-keyring-daemon'].every(
    (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0,
  );
}

/** Runs a shell script; the keyring dies with it. `$JET` is the program. */
export function withKeyring(home: JetHome, script: string): JetProcess {
  const unlock = 'echo login | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1';
  return new JetProcess(
    spawn('dbus-run-session', ['--', 'sh', '-ec', `${unlock}\n${script}`], {
      cwd: home.home,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...home.environment,
        JET: new URL('../../bin/jet', import.meta.url).pathname,
        XDG_RUNTIME_DIR: home.home,
      },
    }),
  );
}
