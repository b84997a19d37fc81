/** Settings: flag, then environment, then config.toml, then the default. */
import { readFileSync } from 'node:fs';
import type { OnConflict, PortRange, ProxyAddress, ServerAddress } from '../app/types.ts';
import { messageOf, systemCode } from '../core/errors.ts';
import type { Route } from '../jingle/transport.ts';
import { usage } from './arguments.ts';

/** Every setting by its long flag, with the kind of its value. */
export const SETTINGS = {
  account: 'text',
  jid: 'text',
  server: 'text',
  'ca-file': 'text',
  proxy: 'text',
  ephemeral: 'switch',
  slots: 'text',
  quiet: 'switch',
  verbose: 'switch',
  json: 'switch',
  'no-color': 'switch',
  wait: 'text',
  route: 'text',
  'no-direct': 'switch',
  ports: 'text',
  'all-interfaces': 'switch',
  'limit-rate': 'text',
  'verified-only': 'switch',
  out: 'text',
  'on-conflict': 'text',
  'max-size': 'text',
} as const satisfies Record<string, 'text' | 'switch'>;

/** Servers allow few sessions an account, and its chat clients need some. */
const DEFAULT_SLOTS = 4;
const MOST_SLOTS = 64;

/** The name of a setting. */
export type Key = keyof typeof SETTINGS;

/** A value with where it came from, for messages. */
interface Found {
  readonly value: string | boolean;
  readonly origin: string;
  readonly source: 'flag' | 'environment' | 'file';
}

const isKey = (key: string): key is Key => Object.hasOwn(SETTINGS, key);

/** `on-conflict` → `JET_ON_CONFLICT`. */
export function variableOf(key: string): string {
  return `JET_${key.replaceAll('-', '_').toUpperCase()}`;
}

/** Settings as they hold for this run. */
export class Settings {
  readonly #flags: Readonly<Record<string, unknown>>;
  readonly #env: NodeJS.ProcessEnv;
  readonly #file: ReadonlyMap<Key, string | boolean>;
  readonly #path: string;

  /** @param flags - commander's values: camel case, `--no-x` as `x: false` */
  constructor(
    flags: Readonly<Record<string, unknown>>,
    env: NodeJS.ProcessEnv,
    file: ReadonlyMap<Key, string | boolean>,
    path = 'config.toml',
  ) {
    this.#flags = flags;
    this.#env = env;
    this.#file = file;
    this.#path = path;
  }

  /** The value and its origin, or undefined when it is set nowhere. */
  find(key: Key): Found | undefined {
    const flag = this.#flag(key);
    if (flag !== undefined) return { value: flag, origin: `--${key}`, source: 'flag' };
    const name = variableOf(key);
    const text = this.#env[name];
    if (text !== undefined && text !== '') {
      const value = SETTINGS[key] === 'switch' ? readSwitch(text, name) : text;
      return { value, origin: name, source: 'environment' };
    }
    const value = this.#file.get(key);
    if (value === undefined) return undefined;
    return { value, origin: `${key} in ${this.#path}`, source: 'file' };
  }

  text(key: Key): string | undefined {
    const value = this.find(key)?.value;
    return typeof value === 'string' ? value : undefined;
  }

  on(key: Key): boolean {
    return this.find(key)?.value === true;
  }

  /** The account meant: a flag, then JET_JID before JET_ACCOUNT, then the file's. */
  account(): { readonly name: string; readonly origin: string } | undefined {
    const found = (['account', 'jid'] as const)
      .map((key) => this.find(key))
      .filter((f) => f !== undefined);
    const order = { flag: 0, environment: 1, file: 2 };
    const best = found
      .sort((a, b) => order[a.source] - order[b.source])
      .filter((f, _, all) => f.source === all[0]?.source)
      .at(-1);
    return best && { name: String(best.value), origin: best.origin };
  }

  /** Milliseconds; Infinity for `forever`. */
  wait(fallback: number): number {
    return this.#read('wait', parseWait, 'seconds (such as 30) or forever') ?? fallback;
  }

  /** How many connections the processes of an account have at once. */
  slots(): number {
    return this.#read('slots', parseSlots, 'a number from 1 to 64') ?? DEFAULT_SLOTS;
  }

  route(): Route['kind'] | undefined {
    return this.#read('route', (t) => oneOf(t, ['direct', 'proxy', 'ibb']), 'direct, proxy or ibb');
  }

  /** Where direct connections of the other side are listened for. */
  ports(): PortRange | undefined {
    return this.#read('ports', parsePorts, 'a port or a range such as 40000-40100');
  }

  onConflict(): OnConflict {
    const names = ['rename', 'overwrite', 'skip', 'fail'] as const;
    return (
      this.#read('on-conflict', (t) => oneOf(t, names), 'rename, overwrite, skip or fail') ??
      'rename'
    );
  }

  /** Bytes, or bytes a second. */
  size(key: 'max-size' | 'limit-rate'): number | undefined {
    return this.#read(key, parseSize, 'a number of bytes such as 500k, 20M or 1G');
  }

  server(): ServerAddress | undefined {
    return this.#read('server', parseServer, 'host:port or tls://host:port');
  }

  proxy(): ProxyAddress | undefined {
    const proxy = this.#read('proxy', parseProxy, 'socks5://host:port');
    if (proxy && this.find('proxy')?.source === 'flag' && proxy.user !== undefined)
      throw usage(
        'proxy-credentials',
        'Credentials in --proxy are seen by every user of this machine: put them into JET_PROXY or config.toml.',
      );
    return proxy;
  }

  #read<T>(key: Key, parse: (text: string) => T | undefined, expected: string): T | undefined {
    const found = this.find(key);
    if (!found) return undefined;
    const value = parse(String(found.value));
    // The value of a proxy may hold a password: it is never repeated.
    const shown = key === 'proxy' ? '' : `, not "${String(found.value)}"`;
    if (value === undefined)
      throw usage('bad-setting', `${found.origin} must be ${expected}${shown}.`);
    return value;
  }

  #flag(key: Key): string | boolean | undefined {
    const camel = (text: string) => text.replace(/-(.)/g, (_, c: string) => c.toUpperCase());
    if (key.startsWith('no-')) return this.#flags[camel(key.slice(3))] === false ? true : undefined;
    const value = this.#flags[camel(key)];
    return typeof value === 'string' || value === true ? value : undefined;
  }
}

/** Reads config.toml; a missing file is an empty one. @throws JetError (exit 2) naming file and line */
export async function readConfig(path: string): Promise<Map<Key, string | boolean>> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return new Map();
    throw usage('config-unreadable', `Cannot read ${path}: ${messageOf(error)}.`);
  }
  const { parse, TomlError } = await import('smol-toml');
  let table: Record<string, unknown>;
  try {
    table = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = (error.message.split('\n')[0] ?? '').replace(/^Invalid TOML document: /, '');
    throw usage(
      'config-broken',
      `${path}, line ${error.line}: ${what}. Correct the line or remove it.`,
    );
  }
  return checkConfig(table, text, path);
}

function checkConfig(
  table: Record<string, unknown>,
  text: string,
  path: string,
): Map<Key, string | boolean> {
  const settings = new Map<Key, string | boolean>();
  for (const [key, value] of Object.entries(table)) {
    const line =
      text.split('\n').findIndex((l) =>
        l
          .trim()
          .replace(/^["'[]/, '')
          .startsWith(key),
      ) + 1;
    const fail = (what: string) => usage('config-broken', `${path}, line ${line}: ${what}`);
    if (!isKey(key)) throw fail(`"${key}" is no setting; docs/commands.md lists them.`);
    if (SETTINGS[key] === 'switch') {
      if (typeof value !== 'boolean') throw fail(`${key} must be true or false.`);
      settings.set(key, value);
    } else {
      if (typeof value !== 'string' && typeof value !== 'number')
        throw fail(`${key} must be a text in quotes or a number.`);
      settings.set(key, String(value));
    }
  }
  return settings;
}

function readSwitch(text: string, name: string): boolean {
  if (/^(?:1|true|yes|on)$/i.test(text)) return true;
  if (/^(?:0|false|no|off)$/i.test(text)) return false;
  throw usage('bad-setting', `${name} must be 1 or 0, not "${text}".`);
}

function oneOf<T extends string>(text: string, names: readonly T[]): T | undefined {
  return names.find((name) => name === text);
}

/** Seconds or `forever`, as milliseconds. */
export function parseWait(text: string): number | undefined {
  if (text === 'forever') return Infinity;
  return /^\d{1,6}(?:\.\d{1,3})?$/.test(text) ? Number(text) * 1000 : undefined;
}

/** 1 to 64. */
export function parseSlots(text: string): number | undefined {
  const slots = /^[0-9]{1,2}$/.test(text) ? Number(text) : 0;
  return slots >= 1 && slots <= MOST_SLOTS ? slots : undefined;
}

/** A positive number of bytes with an optional k, M, G or T (powers of 1000; Ki, Mi … of 1024). */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)(?:([kmgt])(i?))?b?$/i.exec(text);
  if (!match) return undefined;
  const power = match[2] === undefined ? 0 : 'kmgt'.indexOf(match[2].toLowerCase()) + 1;
  const bytes = Math.round(Number(match[1]) * (match[3] ? 1024 : 1000) ** power);
  return bytes >= 1 && Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** `host:port` with STARTTLS, `tls://host:port` with direct TLS; an IPv6 address in brackets. */
export function parseServer(text: string): ServerAddress | undefined {
  const directTls = text.startsWith('tls://');
  const match = /^(\[[0-9a-fA-F:.]+\]|[^\s:/@[\]]+):(\d{1,5})$/.exec(
    directTls ? text.slice(6) : text,
  );
  const port = Number(match?.[2]);
  if (!match?.[1] || !(port >= 1 && port <= 65535)) return undefined;
  return { host: match[1].replace(/^\[|\]$/g, ''), port, directTls };
}

/** `socks5://[user:password@]host:port`. */
export function parseProxy(text: string): ProxyAddress | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^socks5h?:$/.test(url.protocol) || url.hostname === '') return undefined;
  if ((url.pathname !== '' && url.pathname !== '/') || url.search !== '' || url.hash !== '')
    return undefined;
  const port = url.port === '' ? 1080 : Number(url.port);
  if (port === 0) return undefined;
  try {
    return {
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port,
      ...(url.username === '' ? {} : { user: decodeURIComponent(url.username) }),
      ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
    };
  } catch {
    return undefined; // A broken percent escape.
  }
}

/** `40000` or `40000-40100`: ports of 1 to 65,535, the first not above the last. */
export function parsePorts(text: string): PortRange | undefined {
  const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return first >= 1 && first <= last && last <= 65_535 ? { first, last } : undefined;
}
