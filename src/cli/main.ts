/** The command line. Each command's own file is loaded when it runs, so that help stays fast. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import type { ExitStatus } from '../core/errors.ts';
import type { DeviceFlags } from './commands/devices.ts';
import type { FetchFlags } from './commands/fetch.ts';
import type { ReceiveFlags } from './commands/receive.ts';
import type { SendFlags } from './commands/send.ts';
import type { ShareFlags } from './commands/share.ts';
import type { Context } from './context.ts';

const packageFile = new URL('../../package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };

/** Every command may have to wait for a connection slot; those that meet others show it in their own help, too. */
const WAIT = ['-w, --wait <seconds>', 'how long to wait for others, or forever'] as const;

const program = new Command('jet')
  .description('Encrypted file transfer from the shell, from one XMPP address to another.')
  .version(version, '-V, --version')
  .option('--account <jid>', 'the saved account to use')
  .option('--server <host:port>', 'connect here; tls://host:port for direct TLS')
  .option('--ca-file <pem>', "certificates to trust in place of the system's")
  .option('--proxy <url>', 'socks5://host:port for every connection')
  .option('--ephemeral', 'take this device off the list at the end')
  .option('--slots <n>', 'connections at once of all jet processes of an account (default: 4)')
  .option(...WAIT)
  .option('-q, --quiet', 'errors and changes of trust only')
  .option('-v, --verbose', 'also what is said to the server, secrets struck out')
  .option('--json', 'one JSON object a line on stdout')
  .option('--no-color', 'no colours')
  .addHelpText(
    'after',
    `
Examples:
  $ jet login alice@example.org
  $ jet receive --out ~/Downloads
  $ jet send report.pdf bob@example.org`,
  )
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'jet: ')) });

const routed = (command: Command) =>
  command
    .option(...WAIT)
    .option('--route <kind>', 'only direct, proxy or ibb')
    .option('--no-direct', 'never tell or use an address of this machine')
    .option('--ports <range>', 'listen for direct connections here, such as 40000-40100')
    .option('--all-interfaces', 'offer the addresses of container bridges, too')
    .option('--limit-rate <bytes>', 'bytes a second, such as 500k or 2M')
    .option('--verified-only', 'only devices whose fingerprint was compared');

const several = (value: string, before: string[] = []) => [...before, value];

const withPassword = (command: Command) =>
  command
    .option('--password-file <file>', 'its first line is the password')
    .option('--password-command <command>', 'its first line of output is the password')
    .option('--keyring', "keep the password in the system's keyring");

/** Runs a command in its surroundings, which are loaded only now. */
async function run(
  command: Command,
  action: (context: Context) => Promise<ExitStatus>,
  idleIsDone = false,
): Promise<void> {
  const { perform } = await import('./context.ts');
  await perform(command.optsWithGlobals(), action, idleIsDone);
}

withPassword(
  program.command('login <jid>').description('save an account, checked by connecting'),
).action((jid: string, flags: object, self: Command) =>
  run(self, async (c) => (await import('./commands/login.ts')).login(c, jid, flags)),
);
withPassword(
  program.command('register <jid>').description('make an account on a server that allows it'),
).action((jid: string, flags: object, self: Command) =>
  run(self, async (c) => (await import('./commands/register.ts')).register(c, jid, flags)),
);
program
  .command('accounts')
  .description('list the saved accounts')
  .action((_: object, self: Command) =>
    run(self, async (c) => (await import('./commands/accounts.ts')).accounts(c)),
  );
program
  .command('logout')
  .description('forget an account and take its device off the list')
  .action((_: object, self: Command) =>
    run(self, async (c) => (await import('./commands/logout.ts')).logout(c)),
  );
program
  .command('contacts [action] [jid]')
  .description('list contacts; add JID; remove JID')
  .action((action: string | undefined, jid: string | undefined, _: object, self: Command) =>
    run(self, async (c) => (await import('./commands/contacts.ts')).contacts(c, action, jid)),
  );
routed(
  program
    .command('send [items...]')
    .usage('[options] ITEM... JID')
    .description('offer files, folders, - (standard input) or a text, and send them'),
)
  .option('--to <jid>', 'the recipient; every argument is a file then')
  .option('--text <text>', 'send this, too, as a file: text.txt', several)
  .option('--name <name>', 'what the other side calls the one item, the text, or standard input')
  .option('--links', 'take symbolic links in folders along that stay inside them')
  .option('--exclude <glob>', 'leave these out of folders', several)
  .addHelpText(
    'after',
    `
Examples:
  $ jet send report.pdf bob@example.org
  $ jet send *.jpg bob@example.org
  $ jet send report.pdf 'xmpp:bob@example.org?omemo-sid-ID=FINGERPRINT'
  $ jet send --text 'The build is done.' bob@example.org
  $ tar c src | jet send --name src.tar - bob@example.org
  $ jet send --to bob@example.org -- -odd-name.txt`,
  )
  .action((items: string[], flags: SendFlags, self: Command) =>
    run(self, async (c) => (await import('./commands/send.ts')).send(c, items, flags)),
  );
routed(
  program
    .command('receive [jids...]')
    .description('wait for offers; only from these addresses when any is given'),
)
  .option('-y, --yes', 'accept without asking, as far as trust allows')
  .option('--once', 'end after the first accepted transfer')
  .option('--stdout', 'write the data of the one file to standard output')
  .option('-o, --out <folder>', 'where files land (default: here)')
  .option('--on-conflict <what>', 'rename, overwrite, skip or fail')
  .option('--max-size <bytes>', 'decline larger files, such as 20M or 1G')
  .addHelpText(
    'after',
    `
Examples:
  $ jet receive
  $ jet receive --yes --once --out incoming alice@example.org`,
  )
  .action((jids: string[], flags: ReceiveFlags, self: Command) =>
    run(self, async (c) => (await import('./commands/receive.ts')).receive(c, jids, flags), true),
  );
routed(
  program
    .command('share [paths...]')
    .usage('[options] PATH...')
    .description('let others fetch files by their hashes'),
)
  .option('--to <jid>', 'who may fetch; as often as you like', several)
  .option('--contacts', 'every contact may fetch')
  .option('--allow-plain <jid>', 'who may ask without sealed elements', several)
  .option('--until <time>', 'end then: a time, or a span such as 8h')
  .option('--count <n>', 'end when so many files were taken')
  .option('--links', 'share what symbolic links in folders lead to, too')
  .option('--exclude <glob>', 'leave these out of folders', several)
  .option('--print-unit', 'print a systemd user unit, and do nothing else')
  .addHelpText(
    'after',
    `
Examples:
  $ jet share report.pdf --to bob@example.org
  $ jet share ~/Public --contacts --until 8h`,
  )
  .action((paths: string[], flags: ShareFlags, self: Command) =>
    run(self, async (c) => (await import('./commands/share.ts')).share(c, paths, flags), true),
  );
routed(
  program
    .command('fetch [words...]')
    .usage('[options] HASH... JID')
    .description('pull files that a contact shares'),
)
  .option('--list', 'print what may be fetched')
  .option('--range <range>', 'only these bytes: START-END, both inclusive, or START-')
  .option('--stdout', 'write the data to standard output')
  .option('-o, --out <path>', 'the file, or a folder that is there (default: here)')
  .option('--on-conflict <what>', 'rename, overwrite, skip or fail')
  .addHelpText(
    'after',
    `
Examples:
  $ jet fetch --list bob@example.org
  $ jet fetch sha-256:0fde71fa… bob@example.org
  $ jet fetch --range 0-1023 --stdout sha-256:0fde71fa… bob@example.org | xxd`,
  )
  .action((words: string[], flags: FetchFlags, self: Command) =>
    run(self, async (c) => (await import('./commands/fetch.ts')).fetch(c, words, flags)),
  );
routed(
  program.command('resume [ids...]').description('go on with what was interrupted, on either side'),
)
  .option('--list', 'print what can be gone on with')
  .addHelpText(
    'after',
    `
Examples:
  $ jet resume
  $ jet resume 025fe22e`,
  )
  .action((ids: string[], flags: { list?: true }, self: Command) =>
    run(self, async (c) => (await import('./commands/resume.ts')).resume(c, ids, flags)),
  );
program
  .command('transfers [action] [ids...]')
  .usage('[options] [forget ID... | clean]')
  .description('what went where, how far, and how it ended')
  .action((action: string | undefined, ids: string[], _: object, self: Command) =>
    run(self, async (c) => (await import('./commands/transfers.ts')).transfers(c, action, ids)),
  );
program
  .command('devices [jid]')
  .description('fingerprints of a contact, or our own')
  .option('--prune', 'take those of our own devices off the list that are of no use any more')
  .option('--remove <id...>', 'take these of our own devices off the list')
  .option('-y, --yes', 'do not ask before --prune')
  .action((jid: string | undefined, flags: DeviceFlags, self: Command) =>
    run(self, async (c) => (await import('./commands/devices.ts')).devices(c, jid, flags)),
  );
program
  .command('trust <jid> [fingerprint...]')
  .description('trust a device whose fingerprint was compared')
  .option('--plain', 'only forget that it is a jet: it need not seal elements any more')
  .addHelpText(
    'after',
    `
Examples:
  $ jet trust bob@example.org FINGERPRINT
  $ jet trust 'xmpp:bob@example.org?omemo-sid-ID=FINGERPRINT'`,
  )
  .action((jid: string, words: string[], flags: { plain?: true }, self: Command) =>
    run(self, async (c) => (await import('./commands/trust.ts')).trust(c, jid, words, flags)),
  );
program
  .command('distrust <jid> [fingerprint...]')
  .description('refuse a device from now on')
  .action((jid: string, words: string[], _: object, self: Command) =>
    run(self, async (c) => (await import('./commands/distrust.ts')).distrust(c, jid, words)),
  );

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}
