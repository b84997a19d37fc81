/** Dino 0.4 without a screen: on a display and a D-Bus session of its own, driven by the plugin `dino_driver.c`. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Answer, Client, ClientEnd, ClientOptions } from './client.ts';
import { Lines, logged, type Told } from './lines.ts';

const run = promisify(execFile);
const SOURCE = fileURLToPath(new URL('./dino_driver.c', import.meta.url));
/** A display and the compiled driver, for every Dino of a run. */
export interface DinoStage {
  readonly display: string;
  readonly plugins: string;
  remove(): Promise<void>;
}

/** Opens a display that nobody else has, and compiles the driver. */
export async function dinoStage(): Promise<DinoStage> {
  const plugins = await mkdtemp(join(tmpdir(), 'jet-dino-driver-'));
  const packages = ['gio-2.0', 'gio-unix-2.0', 'gmodule-2.0', 'gee-0.8'];
  const { stdout } = await run('pkg-config', ['--cflags', '--libs', ...packages]);
  const { stdout: machine } = await run('gcc', ['-print-multiarch']);
  const libraries = `/usr/lib/${machine.trim()}/dino-im`;
  await run('gcc', [
    ...['-O1', '-fPIC', '-shared', '-o', join(plugins, 'driver.so'), SOURCE],
    ...stdout.trim().split(/\s+/),
    ...[`-L${libraries}`, '-l:libdino.so.0', '-l:libxmpp-vala.so.0', `-Wl,-rpath,${libraries}`],
  ]);
  const args = ['-displayfd', '3', '-screen', '0', '800x600x24', '-nolisten', 'tcp'];
  const screen = spawn('Xvfb', args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  const told = screen.stdio[3];
  if (told === null || told === undefined) throw new Error('Xvfb has no pipe');
  const [number] = (await once(told, 'data')) as [Buffer];
  return {
    display: `:${number.toString().trim()}`,
    plugins,
    remove: async () => {
      const ended = once(screen, 'exit');
      screen.kill();
      await ended;
      await rm(plugins, { recursive: true, force: true });
    },
  };
}

/** Makes an account's client; it is not started yet. */
export async function dino(options: ClientOptions, stage: DinoStage): Promise<Client> {
  const folder = await mkdtemp(join(tmpdir(), `jet-dino-${options.name}-`));
  for (const name of ['config', 'data', 'cache', 'run'])
    await mkdir(join(folder, name), { mode: 0o700 });
  return new Dino(options, stage, folder);
}

class Dino implements Client {
  readonly kind = 'dino';
  readonly name: string;
  readonly jid: string;
  readonly #options: ClientOptions;
  readonly #stage: DinoStage;
  readonly #folder: string;
  #lines: Lines | undefined;
  #answer: Answer = 'accept';

  constructor(options: ClientOptions, stage: DinoStage, folder: string) {
    this.#options = options;
    this.#stage = stage;
    this.#folder = folder;
    this.name = options.name;
    this.jid = `${options.name}@${options.server.domain}`;
  }

  async start(): Promise<void> {
    const { server, password } = this.#options;
    const at = (name: string) => join(this.#folder, name);
    const lines = new Lines({
      program: 'dbus-run-session',
      args: ['--', 'dino-im', '--gapplication-service', '--print-xmpp=no-ansi;all'],
      cwd: this.#folder,
      env: {
        PATH: '/usr/bin:/bin',
        HOME: this.#folder,
        LANG: 'C.UTF-8',
        DISPLAY: this.#stage.display,
        GDK_BACKEND: 'x11',
        GSK_RENDERER: 'cairo',
        GTK_A11Y: 'none',
        GSETTINGS_BACKEND: 'memory',
        NO_AT_BRIDGE: '1',
        G_MESSAGES_DEBUG: 'libdino xmpp-vala OMEMO',
        XDG_CONFIG_HOME: at('config'),
        XDG_DATA_HOME: at('data'),
        XDG_CACHE_HOME: at('cache'),
        XDG_RUNTIME_DIR: at('run'),
        DINO_PLUGIN_DIR: this.#stage.plugins,
        DRIVER_LOG: at('client.log'),
        DRIVER_JID: this.jid,
        DRIVER_PASSWORD: password,
        DRIVER_RESOURCE: 'dino',
        DRIVER_SERVER_PORT: String(server.port),
        DRIVER_CA: server.caFile,
      },
      write: (id, what, words) => [id, what, ...Object.values(words).map(String)].join('\t'),
    });
    this.#lines = lines;
    await lines.heard(({ event }) => event === 'connected');
    await this.answer(this.#answer);
  }

  async stop(): Promise<void> {
    await this.#lines?.end();
    this.#lines = undefined;
  }

  async kill(): Promise<void> {
    await this.#lines?.kill();
    this.#lines = undefined;
  }

  async answer(how: Answer): Promise<void> {
    this.#answer = how;
    await this.#lines?.ask('answer', { how });
  }

  async acquainted(jid: string): Promise<void> {
    const text = `session for decryption with device from ${jid}/`;
    await logged(join(this.#folder, 'client.log'), text, 60_000);
  }

  async send(path: string, to: string): Promise<void> {
    const bare = to.split('/')[0] ?? to;
    await this.#running.ask('send', { path, to: bare });
  }

  async cancel(): Promise<void> {
    await this.#running.ask('cancel');
  }

  mark(): number {
    return this.#lines?.told.length ?? 0;
  }

  async ended(mark: number, file: string): Promise<ClientEnd> {
    // What Dino sends is `complete` for it as soon as it has stored a copy: there the return counts.
    const over = ({ event, sent, state, file: of }: Told) =>
      of === file &&
      (event === 'sent' ||
        (event === 'transfer' && (state === 'failed' || (state === 'complete' && sent === false))));
    const end = await this.#running.heard(over, mark);
    return { ok: end['state'] !== 'failed', words: JSON.stringify(end) };
  }

  async received(file: string): Promise<string | undefined> {
    const is = (told: Told) =>
      told['file'] === file && told['sent'] === false && told['state'] === 'complete';
    const path = this.#lines?.told.findLast(is)?.['path'];
    if (typeof path !== 'string') return undefined;
    const whole = join(this.#folder, 'data/dino/files', path);
    return stat(whole).then(
      () => whole,
      () => undefined,
    );
  }

  messages(mark: number): readonly string[] {
    const told = this.#lines?.told.slice(mark) ?? [];
    return told.filter(({ event }) => event === 'message').map(({ body }) => String(body));
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  logFiles(): readonly string[] {
    return [join(this.#folder, 'client.log')];
  }

  get #running(): Lines {
    if (this.#lines === undefined) throw new Error('Dino does not run');
    return this.#lines;
  }
}
