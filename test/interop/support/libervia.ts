/** Libervia 0.9 without a screen: its backend on a D-Bus session of its own, driven by `libervia_driver.py`. */
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Answer, Client, ClientEnd, ClientOptions } from './client.ts';
import { Lines, logged, type Told } from './lines.ts';

const DRIVER = fileURLToPath(new URL('./libervia_driver.py', import.meta.url));

/** A bus that is nobody else's. */
const BUS = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:tmpdir=/tmp</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`;

/** Makes an account's client; it is not started yet. */
export async function libervia(options: ClientOptions): Promise<Libervia> {
  const folder = await mkdtemp(join(tmpdir(), `jet-libervia-${options.name}-`));
  for (const name of ['config', 'data', 'cache', 'run', 'received'])
    await mkdir(join(folder, name), { mode: 0o700 });
  await writeFile(join(folder, 'bus.conf'), BUS);
  const settings = ['[DEFAULT]', 'log_level = debug', 'bridge = dbus', `log_dir = ${folder}`];
  await writeFile(join(folder, 'libervia.conf'), `${settings.join('\n')}\n`);
  return new Libervia(options, folder);
}

/** One account of it. */
export class Libervia implements Client {
  readonly kind = 'libervia';
  readonly name: string;
  readonly jid: string;
  readonly #options: ClientOptions;
  readonly #folder: string;
  #lines: Lines | undefined;
  #answer: Answer = 'accept';

  constructor(options: ClientOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
    this.name = options.name;
    this.jid = `${options.name}@${options.server.domain}`;
  }

  async start(): Promise<void> {
    const at = (name: string) => join(this.#folder, name);
    await rm(join(this.#folder, 'data/libervia/libervia.pid'), { force: true });
    const lines = new Lines({
      program: 'dbus-run-session',
      args: [`--config-file=${at('bus.conf')}`, '--', '/usr/bin/python3', DRIVER, at('client.log')],
      cwd: this.#folder,
      env: {
        PATH: '/usr/bin:/bin',
        HOME: this.#folder,
        LANG: 'C.UTF-8',
        XDG_CONFIG_HOME: at('config'),
        XDG_DATA_HOME: at('data'),
        XDG_CACHE_HOME: at('cache'),
        XDG_RUNTIME_DIR: at('run'),
      },
    });
    this.#lines = lines;
    const first = await lines.heard(({ event }) => event === 'ready' || event === 'broken');
    if (first['event'] === 'broken') throw new Error(`Libervia: ${JSON.stringify(first)}`);
    const { server, password } = this.#options;
    await lines.ask('open', { jid: this.jid, password, port: server.port });
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
    await this.#lines?.ask('answer', { how, folder: join(this.#folder, 'received') });
  }

  async acquainted(jid: string): Promise<void> {
    const text = `Encryption session has been set for ${jid} with OLDMEMO`;
    await logged(join(this.#folder, 'client.log'), text, 60_000);
  }

  /** Opens a session with an account, as a person does before the first encrypted file to it. */
  async encrypt(jid: string): Promise<void> {
    await this.#running.ask('encrypt', { jid });
  }

  async send(path: string, to: string): Promise<void> {
    const result = await this.#running.ask('send', { path, to });
    if (result === null || typeof result !== 'object' || !('progress' in result))
      throw new Error(`Libervia did not send: ${JSON.stringify(result)}`);
  }

  cancel(): Promise<void> {
    return Promise.reject(new Error('Libervia 0.9 cannot break off a transfer'));
  }

  mark(): number {
    return this.#lines?.told.length ?? 0;
  }

  async ended(mark: number, file: string): Promise<ClientEnd> {
    const lines = this.#running;
    // The name is told at the start alone; what never began has none.
    const nameOf = (transfer: unknown) => {
      const is = (told: Told) => told['state'] === 'started' && told['transfer'] === transfer;
      const path = (lines.told.find(is)?.['detail'] as Told | undefined)?.['name'];
      return typeof path === 'string' ? basename(path) : file;
    };
    const over = ({ event, state, transfer }: Told) =>
      event === 'progress' && state !== 'started' && nameOf(transfer) === file;
    const end = await lines.heard(over, mark);
    return { ok: end['state'] === 'finished', words: JSON.stringify(end['detail']) };
  }

  async received(file: string): Promise<string | undefined> {
    const path = join(this.#folder, 'received', file);
    return stat(path).then(
      () => path,
      () => undefined,
    );
  }

  messages(mark: number): readonly string[] {
    const told = this.#lines?.told.slice(mark) ?? [];
    return told.filter(({ event }) => event === 'message').map(({ body }) => JSON.stringify(body));
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  logFiles(): readonly string[] {
    return [join(this.#folder, 'client.log')];
  }

  get #running(): Lines {
    if (this.#lines === undefined) throw new Error('Libervia does not run');
    return this.#lines;
  }
}
