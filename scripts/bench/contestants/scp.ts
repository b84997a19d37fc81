/** scp to an sshd of our own, with the cipher that is fastest here. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { Contestant, Stage } from '../contestant.ts';
import { freePort, listening } from '../ports.ts';
import { Running, runs, Watch } from '../processes.ts';

const SSHD = '/usr/sbin/sshd';
const CIPHER = 'aes128-gcm@openssh.com';

/** @see Entrant */
export async function scp(stage: Stage): Promise<Contestant> {
  const folder = join(stage.folder, 'ssh');
  await mkdir(folder);
  const at = (name: string) => join(folder, name);
  const port = await freePort();
  for (const name of ['host', 'user'])
    await runs(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', at(name)]);
  const hostKey = (await readFile(at('host.pub'), 'utf8')).trim();
  const settings = [
    ...[`Port ${port}`, 'ListenAddress 127.0.0.1', `HostKey ${at('host')}`, 'PidFile none'],
    ...['UsePAM no', 'StrictModes no', `AuthorizedKeysFile ${at('user.pub')}`],
    ...['PasswordAuthentication no', 'KbdInteractiveAuthentication no'],
    ...['PermitRootLogin prohibit-password', 'Subsystem sftp internal-sftp'],
  ];
  await writeFile(at('sshd_config'), `${settings.join('\n')}\n`);
  // As root it wants a folder to shut its children in; otherwise it has none.
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
  const sshd = new Running([SSHD, '-D', '-e', '-f', at('sshd_config')], { serves: true });
  await listening(port);
  return {
    name: 'scp',
    title: `scp -c ${CIPHER}`,
    delayed: true,
    run: async (file, out, path) => {
      const through = await path.through(port);
      await writeFile(at('known_hosts'), `[127.0.0.1]:${through} ${hostKey}\n`);
      const landed = join(out, 'landed');
      const options = [
        ...['-F', 'none', '-i', at('user'), '-P', String(through), '-c', CIPHER, '-q', '-B'],
        ...['-o', `UserKnownHostsFile=${at('known_hosts')}`, '-o', 'IdentitiesOnly=yes'],
      ];
      const { pid } = sshd.child;
      if (pid === undefined) throw new Error('sshd does not run');
      const watch = new Watch(pid);
      const to = `${userInfo().username}@127.0.0.1:${landed}`;
      const sent = await runs(['scp', ...options, file, to]);
      const used = watch.stop();
      return {
        landed,
        run: {
          wall: sent.ended - sent.began,
          roles: [
            { role: 'sender', cpu: sent.cpu, peak: sent.peak },
            { role: 'receiver', ...used },
          ],
        },
      };
    },
    close: async () => {
      await sshd.stop();
    },
  };
}
