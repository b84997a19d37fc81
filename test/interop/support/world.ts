/** A server with a client of another project and as many accounts of jet as a run needs. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { appendFile, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { startProsody, type Prosody } from '../../../scripts/prosody.ts';
import { jetHome, type JetHome } from '../../support/jet.ts';
import type { Client } from './client.ts';
import { dino, dinoStage, type DinoStage } from './dino.ts';
import { libervia } from './libervia.ts';

const PASSWORD = 'secret';
/** Where the runner wants the outcomes, a JSON object a line. */
const RECORD = process.env['JET_INTEROP_RECORD'];
/** Where the runner wants the logs of what failed. */
const LOGS = process.env['JET_INTEROP_LOGS'];

/** What came of one try, for docs/interop.md. */
export interface Entry {
  readonly client: string;
  readonly direction: string;
  readonly path: string;
  /** What happened on the way; empty where nothing did. */
  readonly mishap: string;
  /** In the words of the table. */
  readonly outcome: string;
}

/** All that a test file needs. */
export class World {
  readonly server: Prosody;
  readonly client: Client;
  readonly folder: string;
  readonly #stage: DinoStage | undefined;
  readonly #homes: JetHome[] = [];
  #strangers: number;
  #files = 0;

  private constructor(
    server: Prosody,
    client: Client,
    folder: string,
    stage: DinoStage | undefined,
    strangers: number,
  ) {
    this.server = server;
    this.client = client;
    this.folder = folder;
    this.#stage = stage;
    this.#strangers = strangers;
  }

  /** @param strangers - accounts that the client has never dealt with: one for each first contact */
  static async open(kind: Client['kind'], strangers: number): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'jet-interop-'));
    // Dino never closes a stream, and Prosody's own way of waiting keeps the end of a proxied one back.
    const server = await startProsody({ backend: 'event', modules: ['stanza_debug'] });
    await server.addAccount('client', PASSWORD);
    for (let i = 0; i <= strangers; i++) {
      await server.addAccount(`jet${i}`, PASSWORD);
      await server.befriend('client', `jet${i}`);
    }
    const stage = kind === 'dino' ? await dinoStage() : undefined;
    const account = { server, name: 'client', password: PASSWORD };
    const client = stage === undefined ? await libervia(account) : await dino(account, stage);
    const world = new World(server, client, folder, stage, strangers);
    try {
      await client.start();
    } catch (error) {
      await world.keep(`${kind} start`, {});
      await world.close();
      throw error;
    }
    return world;
  }

  /** An account of jet: the known one, or one that the client has never dealt with. */
  async jet(first: boolean): Promise<JetHome> {
    const number = first ? this.#strangers-- : 0;
    if (number < 0) throw new Error('no account is left for a first contact');
    return this.home(`jet${number}`);
  }

  /** A home of its own, so a device of its own, of any account. */
  async home(name: string): Promise<JetHome> {
    const home = await jetHome(this.server, name, PASSWORD);
    this.#homes.push(home);
    return home;
  }

  /** A file of random bytes in a folder of its own. */
  async file(name: string, size: number): Promise<string> {
    const folder = join(this.folder, String(this.#files++));
    await mkdir(folder);
    const path = join(folder, name);
    if (size <= 8_000_000) await writeFile(path, randomBytes(size));
    else await writeLarge(path, size);
    return path;
  }

  /** An empty folder. */
  async out(): Promise<string> {
    const folder = join(this.folder, String(this.#files++));
    await mkdir(folder);
    return folder;
  }

  /** Keeps what shows why a test failed. */
  async keep(test: string, texts: Readonly<Record<string, string>>): Promise<void> {
    if (LOGS === undefined) return;
    const folder = join(LOGS, test.replace(/[^A-Za-z0-9]+/g, '-').slice(0, 100));
    await mkdir(folder, { recursive: true });
    for (const file of this.client.logFiles())
      await copyFile(file, join(folder, basename(file))).catch(() => undefined);
    await writeFile(join(folder, 'prosody.log'), await this.server.logText());
    for (const [name, text] of Object.entries(texts)) await writeFile(join(folder, name), text);
  }

  async close(): Promise<void> {
    await this.client.remove();
    await this.#stage?.remove();
    await this.server.stop();
    for (const home of this.#homes) await home.remove();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Notes what came of a try. */
export async function record(entry: Entry): Promise<void> {
  if (RECORD !== undefined) await appendFile(RECORD, `${JSON.stringify(entry)}\n`);
}

/** SHA-256 of a file in hexadecimal digits; `none` where there is no file. */
export async function digest(path: string | undefined): Promise<string> {
  if (path === undefined) return 'none';
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function writeLarge(path: string, size: number): Promise<void> {
  const stream = createWriteStream(path);
  const block = randomBytes(1024 * 1024);
  for (let left = size; left > 0; left -= block.length) {
    // Each block differs from the others, so that one in a wrong place shows.
    block.writeUInt32BE(left % 0xffff_ffff, 0);
    const part = Buffer.from(block.subarray(0, Math.min(left, block.length)));
    if (!stream.write(part)) await once(stream, 'drain');
  }
  stream.end();
  await once(stream, 'close');
}
