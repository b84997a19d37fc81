/** What every command runs in: settings, terminal, signals, and the one way a command ends. */
import type { AccountSettings, HomeFolders, OpenAccount, Ui } from '../app/types.ts';
import { Exit, type ExitStatus, JetError, messageOf } from '../core/errors.ts';
import { Jid } from '../core/jid.ts';
import { passwordOf, readAccounts, type SavedAccount } from './accounts.ts';
import { usage } from './arguments.ts';
import { Interrupted, quietOnBrokenPipe, Signals } from './exit.ts';
import { escapeText } from './escape.ts';
import { formatFingerprint, formatSize } from './format.ts';
import { configPath, homeFolders, prepareHome } from './home.ts';
import { toJson } from './json.ts';
import { findPassword, takePassword } from './password.ts';
import { canAsk, confirm } from './prompt.ts';
import { readConfig, Settings } from './settings.ts';
import { messageBytes } from './test-limit.ts';
import { Terminal } from './terminal.ts';

/** The surroundings of a command. */
export interface Context {
  readonly settings: Settings;
  readonly terminal: Terminal;
  readonly signals: Signals;
  readonly home: HomeFolders;
  /** Where `--json` goes: stdout, or stderr when that holds data. */
  readonly events: NodeJS.WriteStream;
  /** JET_PASSWORD, which is out of the environment by now. */
  readonly password: string | undefined;
}

/** Milliseconds that a command which ends by itself waits for others. */
export const WAIT_MS = 30_000;

/** Runs a command and ends the process with its status. */
export async function perform(
  flags: Readonly<Record<string, unknown>>,
  command: (context: Context) => Promise<ExitStatus>,
  idleIsDone = false,
): Promise<void> {
  const password = takePassword(process.env);
  let terminal: Terminal | undefined;
  let verbose = flags['verbose'] === true;
  let json = flags['json'] === true;
  const data = flags['stdout'] === true || flags['list'] === true;
  const events = data ? process.stderr : process.stdout;
  const signals = new Signals(() => terminal?.restore());
  quietOnBrokenPipe(signals.unread);
  // Also an error that nobody awaited is one sentence.
  process.on('uncaughtException', (error) => {
    terminal?.restore();
    report(error, { terminal, verbose, json, events, status: Exit.internal });
    process.exit(Exit.internal);
  });
  let status: ExitStatus;
  try {
    const home = homeFolders(process.env);
    const path = configPath(home);
    const settings = new Settings(flags, process.env, await readConfig(path), path);
    verbose = settings.on('verbose');
    json = settings.on('json');
    const plain = settings.on('no-color') || (process.env['NO_COLOR'] ?? '') !== '';
    terminal = await Terminal.open({ quiet: settings.on('quiet'), color: !plain });
    prepareHome(home);
    status = await command({ settings, terminal, signals, home, events, password });
  } catch (error) {
    status = error instanceof JetError ? error.exit : Exit.internal;
    if (!(error instanceof Interrupted)) report(error, { terminal, verbose, json, events, status });
  }
  terminal?.restore();
  signals.finish(status, idleIsDone);
}

function report(
  error: unknown,
  how: {
    terminal: Terminal | undefined;
    verbose: boolean;
    json: boolean;
    events: NodeJS.WriteStream;
    status: ExitStatus;
  },
): void {
  const known = error instanceof JetError;
  const message = known
    ? error.message
    : `Internal error: ${messageOf(error)}. Please report it with the output of the same command under --verbose.`;
  if (how.json) {
    const code = known ? error.code : 'internal';
    const event = {
      event: 'error',
      id: 'jet',
      time: Date.now(),
      code,
      message,
      exit: how.status,
    } as const;
    how.events.write(`${toJson(event)}\n`);
  }
  const lines = [escapeText(message)];
  if (how.verbose && error instanceof Error)
    lines.push(...(error.stack ?? '').split('\n').slice(1).map(escapeText));
  for (const line of lines) {
    if (how.terminal) how.terminal.error(line);
    else process.stderr.write(`jet: ${line}\n`);
  }
}

/** The saved account meant by the settings, or the only one. */
export function chosenAccount(context: Context): { jid: Jid; saved?: SavedAccount } {
  const accounts = readAccounts(context.home);
  const named = context.settings.account();
  if (named) {
    const jid = Jid.parse(named.name);
    if (!jid || jid.local === '')
      throw usage(
        'not-a-jid',
        `${named.origin} must be an XMPP address such as you@example.org, not "${named.name}".`,
      );
    const saved = accounts.find((a) => a.jid.sameBare(jid));
    return { jid: jid.bare, ...(saved ? { saved } : {}) };
  }
  const [only, another] = accounts;
  if (!only)
    throw new JetError(
      Exit.account,
      'no-account',
      'No account: run jet login JID, or set JET_JID and JET_PASSWORD.',
    );
  if (another)
    throw usage('which-account', 'Several accounts are saved: choose one with --account JID.');
  return { jid: only.jid, saved: only };
}

/**
 * What is needed to open an account, its password looked up only when it is asked for.
 *
 * @param lasting - see {@link withAccount}
 */
export function accountSettings(
  context: Context,
  jid: Jid,
  password: () => Promise<string>,
  lasting = false,
): AccountSettings {
  const { settings, terminal, home } = context;
  const server = settings.server();
  const proxy = settings.proxy();
  const caFile = settings.text('ca-file');
  const mostBytes = messageBytes(process.env);
  return {
    jid: jid.bare,
    password,
    home,
    ephemeral: settings.on('ephemeral'),
    slots: {
      most: settings.slots(),
      lasting,
      wait: settings.wait(lasting ? Infinity : WAIT_MS),
      say: (what) => {
        if (settings.on('json'))
          context.events.write(
            `${toJson({ event: 'waiting', id: 'jet', time: Date.now(), what })}\n`,
          );
        terminal.line(`Waiting for ${escapeText(what)}.`);
      },
    },
    ...(server ? { server } : {}),
    ...(proxy ? { proxy } : {}),
    ...(caFile === undefined ? {} : { caFile }),
    ...(mostBytes === undefined ? {} : { mostBytes }),
    ...(settings.on('verbose') ? { log: (line: string) => terminal.line(escapeText(line)) } : {}),
  };
}

/**
 * Opens the account, lends it, and closes it whatever happens.
 *
 * @param lasting - the command waits for others, perhaps for ever
 */
export async function withAccount<T>(
  context: Context,
  action: (account: OpenAccount) => Promise<T>,
  lasting = false,
): Promise<T> {
  const { jid, saved } = chosenAccount(context);
  const password = async () => {
    if (context.password !== undefined) return context.password;
    if (saved) return passwordOf(saved);
    return askPassword(context, jid);
  };
  const settings = accountSettings(context, jid, password, lasting);
  const { explain, openAccount } = await import('../app.ts');
  context.terminal.waiting(`Connecting as ${jid.toString()}`);
  const { abort } = context.signals;
  try {
    const account = await openAccount(settings, userInterface(context), abort);
    context.terminal.waiting(undefined);
    try {
      return await action(account);
    } finally {
      await account.close();
    }
  } catch (error) {
    // What fails because the connection was ended on purpose is no failure.
    abort.throwIfAborted();
    throw explain(error);
  }
}

/** Asks for the password of an account, or takes it from the environment. */
export function askPassword(
  context: Context,
  jid: Jid,
  flags: { passwordFile?: string; passwordCommand?: string } = {},
): Promise<string> {
  return context.terminal.still(() =>
    findPassword(flags, context.password, `Password of ${jid.toString()}: `, {
      warn: (message) => context.terminal.line(message),
      signal: context.signals.abort,
    }),
  );
}

/** The person as the application knows them. */
export function userInterface({ terminal, settings, signals, events }: Context): Ui {
  return {
    interactive: canAsk(),
    confirmOffer: ({ peer, name, files, batch, size, fingerprint }, signal) =>
      terminal.still(() => {
        terminal.line(`Fingerprint of the sender: ${formatFingerprint(fingerprint)}`);
        const folder =
          files === undefined ? '' : `${batch === true ? '' : 'a folder of '}${files} files, `;
        const what = `${escapeText(peer.toString())} offers ${folder}${escapeText(name)} (${formatSize(size)}).`;
        return confirm(`${what} Accept?`, signal);
      }),
    confirmTrust: ({ peer, deviceId, fingerprint }, signal = signals.abort) =>
      terminal.still(() => {
        terminal.line(
          `${escapeText(peer.toString())} has a new device ${deviceId}: ${formatFingerprint(fingerprint)}`,
        );
        return confirm('Did you compare this fingerprint, and trust it?', signal);
      }),
    notice: (code, message, trust = false) => {
      if (settings.on('json'))
        events.write(
          `${toJson({ event: 'notice', id: 'jet', time: Date.now(), code, message })}\n`,
        );
      terminal.line(escapeText(message), trust);
    },
  };
}
