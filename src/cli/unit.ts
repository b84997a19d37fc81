/** A systemd user unit that runs a command of this program as a service. */
import { realpathSync } from 'node:fs';
import type { HomeFolders } from '../app/types.ts';

/** The unit as text; `WORDS` in it is for the user to replace. */
export function unitOf(command: 'share' | 'receive', home: HomeFolders): string {
  const program = realpathSync(process.argv[1] ?? 'jet');
  const words = {
    share: 'share --contacts %h/Public',
    receive: 'receive --yes --out %h/Downloads',
  }[command];
  const own = process.env['JET_HOME'] === undefined ? [] : [`Environment=JET_HOME=${home.config}`];
  return [
    `# Save as ~/.config/systemd/user/jet-${command}.service after changing the command as you like, then:`,
    `#   systemctl --user daemon-reload && systemctl --user enable --now jet-${command}`,
    '[Unit]',
    `Description=jet ${command}`,
    'Wants=network-online.target',
    'After=network-online.target',
    '',
    '[Service]',
    ...own,
    `ExecStart=${process.execPath} ${program} ${words}`,
    'Restart=on-failure',
    'RestartSec=30',
    '',
    '[Install]',
    'WantedBy=default.target',
    '',
  ].join('\n');
}
