/**
 * A private Prosody for the demo and the tests: the system's package, run as the current user in a
 * temporary folder, on loopback, with a certificate authority of its own.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeAuthority, makeCertificate } from './certificates.ts';
import { freePorts } from './ports.ts';

const run = promisify(execFile);

/** Milliseconds that the server may take until it listens. */
const START_MS = 20_000;

/** What a test or the demo may want different. */
export interface ProsodyOptions {
  /** Default `jet.test`. */
  readonly domain?: string;
  /** Offer a SOCKS5 proxy (XEP-0065); default true. */
  readonly proxy65?: boolean;
  /** Address that the proxy tells to others; default `127.0.0.1`, where it listens. */
  readonly proxyAddress?: string;
  /** Allow in-band registration (XEP-0077); default false. */
  readonly registration?: boolean;
  /**
   * Bytes a second for each client stream, as in the package's default `limits`; default none. In whole
   * thousands: what Prosody reads without a `k` it takes for ten times as much.
   */
  readonly c2sRate?: number;
  /** How it waits for sockets; default the package's. */
  readonly backend?: 'epoll' | 'event' | 'select';
  /** Modules besides the default ones. */
  readonly modules?: readonly string[];
  /** Default modules to leave out. */
  readonly without?: readonly string[];
  /** A folder of further modules. */
  readonly plugins?: string;
  /** Lua lines appended to the host's section. */
  readonly extra?: string;
  /** Other servers that it talks to; default none. */
  readonly federation?: Federation;
}

/** What a server needs to talk to others of this machine; see test/support/federation.ts. */
export interface Federation {
  /** Loopback address of everything that it listens on. */
  readonly address: string;
  /** Port for other servers. */
  readonly port: number;
  /** A folder with `ca.key` and `ca.crt`, by which all of them are certified. */
  readonly authority: string;
}

/** A running server. */
export interface Prosody {
  readonly domain: string;
  /** Loopback address of its ports. */
  readonly address: string;
  /** STARTTLS. */
  readonly port: number;
  readonly directTlsPort: number;
  readonly proxyPort: number;
  readonly caFile: string;
  readonly folder: string;
  addAccount(name: string, password: string): Promise<void>;
  /** Makes both accounts contacts of each other; before either is online. */
  befriend(a: string, b: string): Promise<void>;
  /** Makes an address, of any server, a contact of an account; before that is online. */
  know(name: string, contact: string): Promise<void>;
  logText(): Promise<string>;
  restart(): Promise<void>;
  /** Kills it as a crash would, without farewell. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

/** Whether the package is there. */
export async function hasProsody(): Promise<boolean> {
  return run('prosodyctl', ['--help']).then(
    () => true,
    (error: unknown) => !(error instanceof Error && 'code' in error && error.code === 'ENOENT'),
  );
}

/** Starts a server; it ends with this process at the latest. */
export async function startProsody(options: ProsodyOptions = {}): Promise<Prosody> {
  const domain = options.domain ?? 'jet.test';
  const folder = await mkdtemp(join(tmpdir(), 'jet-prosody-'));
  await chmod(folder, 0o700);
  await mkdir(join(folder, 'data'));
  const { address = '127.0.0.1', authority } = options.federation ?? {};
  if (authority === undefined) await makeAuthority(folder);
  else
    for (const name of ['ca.key', 'ca.crt'])
      await copyFile(join(authority, name), join(folder, name));
  await makeCertificate(folder, domain);
  const [port = 0, directTlsPort = 0, proxyPort = 0] = await freePorts(3, address);
  const config = join(folder, 'prosody.cfg.lua');
  await writeFile(
    config,
    configuration(folder, domain, { port, directTlsPort, proxyPort }, options),
  );

  const server = new Server(config, folder, { host: address, port });
  await server.start();
  const ctl = (...args: string[]) => run('prosodyctl', ['--config', config, ...args]);
  return {
    domain,
    address,
    port,
    directTlsPort,
    proxyPort,
    caFile: join(folder, 'ca.crt'),
    folder,
    addAccount: async (name, password) => {
      await ctl('register', name, domain, password);
    },
    befriend: async (a, b) => {
      await writeRoster(folder, domain, a, `${b}@${domain}`);
      await writeRoster(folder, domain, b, `${a}@${domain}`);
    },
    know: (name, contact) => writeRoster(folder, domain, name, contact),
    logText: () => readFile(join(folder, 'prosody.log'), 'utf8'),
    restart: async () => {
      await server.end('SIGTERM');
      await server.start();
    },
    crash: () => server.end('SIGKILL'),
    stop: async () => {
      await server.end('SIGTERM');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

class Server {
  readonly #config: string;
  readonly #folder: string;
  readonly #at: Place;
  #child: ChildProcess | undefined;

  constructor(config: string, folder: string, at: Place) {
    this.#config = config;
    this.#folder = folder;
    this.#at = at;
  }

  async start(): Promise<void> {
    // The shell watches its standard input: when this process dies, even by SIGKILL, the server ends too.
    const watch =
      'prosody --config "$1" -F & p=$!; trap "kill $p" TERM; (cat >/dev/null; kill $p) <&3 & wait $p; wait $p';
    const child = spawn('sh', ['-c', `exec 3<&0; ${watch}`, 'sh', this.#config], {
      cwd: this.#folder,
      stdio: ['pipe', 'ignore', 'pipe'],
      detached: true,
    });
    this.#child = child;
    let complaint = '';
    child.stderr.on('data', (data: Buffer) => (complaint += data.toString()));
    const deadline = Date.now() + START_MS;
    while (!(await answers(this.#at))) {
      if (child.exitCode !== null || Date.now() > deadline) {
        await this.end('SIGKILL');
        const log = await readFile(join(this.#folder, 'prosody.log'), 'utf8').catch(() => '');
        throw new Error(`Prosody did not start: ${complaint}${log.slice(-2000)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const { pid } = child;
    const guard = setTimeout(() => process.kill(-pid, 'SIGKILL'), 5000);
    process.kill(-pid, signal);
    await ended;
    clearTimeout(guard);
    while (await answers(this.#at)) await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

interface Place {
  readonly host: string;
  readonly port: number;
}

function answers({ host, port }: Place): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}

const MODULES = [
  ...['roster', 'saslauth', 'tls', 'disco', 'pep', 'ping', 'posix', 'presence', 'message', 'iq'],
  ...['carbons', 'blocklist', 'smacks'],
];

function configuration(
  folder: string,
  domain: string,
  ports: { port: number; directTlsPort: number; proxyPort: number },
  options: ProsodyOptions,
): string {
  const without = new Set(options.without);
  const address = options.federation?.address ?? '127.0.0.1';
  const modules = [
    ...MODULES,
    ...(options.registration === true ? ['register_ibr'] : []),
    ...(options.c2sRate === undefined ? [] : ['limits']),
    ...(options.modules ?? []),
  ].filter((name) => !without.has(name));
  const host = JSON.stringify(domain);
  const lines = [
    'run_as_root = true',
    options.backend === undefined ? '' : `network_backend = "${options.backend}"`,
    `pidfile = "${folder}/prosody.pid"`,
    `data_path = "${folder}/data"`,
    `certificates = "${folder}"`,
    options.plugins === undefined ? '' : `plugin_paths = { ${JSON.stringify(options.plugins)} }`,
    `modules_enabled = { ${modules.map((name) => `"${name}"`).join('; ')} }`,
    ...federated(folder, options.federation),
    `interfaces = { "${address}" }`,
    `local_interfaces = { "${address}" }`,
    `c2s_ports = { ${ports.port} }`,
    `c2s_direct_tls_ports = { ${ports.directTlsPort} }`,
    's2s_direct_tls_ports = { }',
    'http_ports = { }',
    'https_ports = { }',
    `proxy65_ports = { ${ports.proxyPort} }`,
    `proxy65_interfaces = { "${address}" }`,
    'c2s_require_encryption = true',
    `allow_registration = ${String(options.registration === true)}`,
    'authentication = "internal_hashed"',
    'storage = "internal"',
    options.c2sRate === undefined
      ? ''
      : `limits = { c2s = { rate = "${options.c2sRate / 1000}kb/s" } }`,
    `ssl = { key = "${folder}/server.key"; certificate = "${folder}/server.crt" }`,
    `c2s_direct_tls_ssl = { key = "${folder}/server.key"; certificate = "${folder}/server.crt" }`,
    `log = { { levels = { min = "debug" }, to = "file", filename = "${folder}/prosody.log" } }`,
    `VirtualHost ${host}`,
    options.proxy65 === false ? '' : `  disco_items = { { "proxy.${domain}", "SOCKS5 proxy" } }`,
    options.extra ?? '',
    options.proxy65 === false
      ? ''
      : `Component "proxy.${domain}" "proxy65"\n  proxy65_address = "${options.proxyAddress ?? address}"\n  proxy65_acl = { ${host} }`,
  ];
  return `${lines.filter((line) => line !== '').join('\n')}\n`;
}

/** Other servers are believed by their certificates alone. */
function federated(folder: string, federation: Federation | undefined): string[] {
  if (federation === undefined) return ['modules_disabled = { "s2s" }', 's2s_ports = { }'];
  return [
    `s2s_ports = { ${federation.port} }`,
    's2s_require_encryption = true',
    's2s_secure_auth = true',
    `s2s_ssl = { cafile = "${folder}/ca.crt" }`,
  ];
}

async function writeRoster(
  folder: string,
  domain: string,
  owner: string,
  contact: string,
): Promise<void> {
  // How Prosody's internal storage escapes a name of a file.
  const escaped = domain.replace(/[^A-Za-z0-9]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
  const roster = join(folder, 'data', escaped, 'roster');
  await mkdir(roster, { recursive: true });
  const file = join(roster, `${owner}.dat`);
  const before = await readFile(file, 'utf8').catch(
    () => 'return {\n[false] = { version = 1; };\n};\n',
  );
  const entry = `["${contact}"] = { subscription = "both"; groups = {}; };`;
  await writeFile(file, before.replace(/\};\s*$/, `${entry}\n};\n`));
}
