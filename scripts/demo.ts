/**
 * `npm run demo`: two people, a private server, one file (of `--mb N` megabytes); and with `--keep`, a place to
 * try more.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startProsody } from './prosody.ts';

const BIN = fileURLToPath(new URL('../bin/jet', import.meta.url));
const { values } = parseArgs({
  options: { keep: { type: 'boolean', default: false }, mb: { type: 'string', default: '300' } },
});
const { keep } = values;
const BYTES = Number(values.mb) * 1e6;
if (!Number.isSafeInteger(BYTES) || BYTES < 1e6) throw new Error('--mb takes a number from 1 on');

const folder = await mkdtemp(join(tmpdir(), 'jet-demo-'));
const children = new Set<ChildProcess>();
let stopServer: () => Promise<void> = () => Promise.resolve();

let interrupted = false;
let cleaning: Promise<void> | undefined;

/** The same however often it is asked for. */
const cleanUp = () => (cleaning ??= sweep());

async function sweep(): Promise<void> {
  for (const child of children) child.kill('SIGTERM');
  await stopServer();
  await rm(folder, { recursive: true, force: true });
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    interrupted = true;
    void cleanUp().then(() => process.kill(process.pid, signal));
  });
}

/** Milliseconds between two pictures of a bar where nothing can be redrawn. */
const EVERY_MS = 500;

/** What both sides print, each line behind the name of who said it; bars are redrawn where they can be. */
class Board {
  readonly #current = new Map<string, string>();
  #drawn = 0;
  #shown = 0;

  /** A line that stays. */
  line(who: string, text: string): void {
    this.#erase();
    this.#current.delete(who);
    console.log(`${who} | ${text}`);
    this.#draw();
  }

  /** A line that will be redrawn. */
  redraw(who: string, text: string): void {
    if (process.stdout.isTTY) {
      this.#erase();
      this.#current.set(who, text);
      this.#draw();
    } else if (Date.now() - this.#shown >= EVERY_MS && text.includes('%')) {
      this.#shown = Date.now();
      console.log(`${who} | ${text}`);
    }
  }

  /** What was to be redrawn goes: whoever said it has ended. */
  end(who: string): void {
    this.#erase();
    this.#current.delete(who);
    this.#draw();
  }

  #erase(): void {
    if (this.#drawn > 0) process.stdout.write(`\x1b[${this.#drawn}A\x1b[J`);
    this.#drawn = 0;
  }

  #draw(): void {
    const width = process.stdout.columns || 80;
    for (const [who, text] of this.#current) console.log(`${who} | ${text}`.slice(0, width - 1));
    this.#drawn = this.#current.size;
  }
}

const board = new Board();

const ESCAPE = String.fromCharCode(27);
/** Moves to the start of a line, or clears it: what comes next is drawn over it. */
const RETURNS = new RegExp(`${ESCAPE}\\[[0-9]*[GJK]`, 'g');
const ESCAPES = new RegExp(`${ESCAPE}\\[[0-9;?]*[A-Za-z]`, 'g');

/** Reads what a terminal would: a line feed ends a line, a carriage return begins it anew. */
function show(who: string, child: ChildProcess): void {
  let rest = '';
  child.stdout?.on('data', (data: Buffer) => {
    rest += data.toString();
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    const last = (line: string) =>
      line
        .replace(RETURNS, '\r')
        .replace(ESCAPES, '')
        .trimEnd()
        .split('\r')
        .filter((part) => part.trim() !== '')
        .at(-1);
    for (const line of lines) {
      const text = last(line);
      if (text !== undefined) board.line(who, text);
    }
    const text = last(rest);
    if (text !== undefined) board.redraw(who, text);
    if (rest.length > 65_536) rest = '';
  });
}

/** Runs `jet` in a terminal of its own (util-linux `script`), as a person would see it. */
function jet(who: string, home: string, env: Record<string, string>, args: string[]) {
  console.log(`${who} $ jet ${args.join(' ')}`);
  const quoted = [BIN, ...args].map((arg) => `'${arg}'`).join(' ');
  const columns = (process.stdout.columns || 100) - who.length - 4;
  const child = spawn('script', ['-qefc', `stty cols ${columns}; exec ${quoted}`, '/dev/null'], {
    cwd: home,
    env: { ...process.env, ...env, TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  children.add(child);
  show(who, child);
  return new Promise<number | null>((resolve) => {
    child.once('close', (status) => {
      children.delete(child);
      board.end(who);
      resolve(status);
    });
  });
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function makeFile(file: string): Promise<void> {
  const handle = await open(file, 'w');
  const block = Buffer.alloc(1_000_000);
  for (let done = 0; done < BYTES; done += block.length) await handle.write(randomFillSync(block));
  await handle.close();
}

async function demo(): Promise<void> {
  console.log('Starting a private XMPP server on this machine …');
  const server = await startProsody();
  stopServer = () => server.stop();
  const people = await Promise.all(
    ['alice', 'bob'].map(async (name) => {
      const home = join(folder, name);
      await mkdir(home, { mode: 0o700 });
      await server.addAccount(name, `${name}-password`);
      const env = {
        JET_HOME: home,
        JET_JID: `${name}@${server.domain}`,
        JET_PASSWORD: `${name}-password`,
        JET_SERVER: `127.0.0.1:${server.port}`,
        JET_CA_FILE: server.caFile,
      };
      return { name, home, env, jid: env.JET_JID };
    }),
  );
  const [alice, bob] = people;
  if (alice === undefined || bob === undefined) return;
  await server.befriend('alice', 'bob');

  const file = join(alice.home, 'holiday.mp4');
  console.log(`Making a file of ${BYTES / 1e6} MB …\n`);
  await makeFile(file);

  const receiving = jet('bob  ', bob.home, bob.env, ['receive', '--yes', '--once']);
  const sent = await jet('alice', alice.home, alice.env, ['send', file, bob.jid]);
  const received = await receiving;
  if (interrupted) return;
  const [before, after] = await Promise.all([sha256(file), sha256(join(bob.home, 'holiday.mp4'))]);
  console.log(`\nSHA-256 of what alice sent:  ${before}`);
  console.log(`SHA-256 of what bob holds:   ${after}`);
  if (sent !== 0 || received !== 0 || before !== after) {
    process.exitCode = 1;
    console.log('The files differ or a side failed: this should not happen.');
    return;
  }
  console.log('The same file, verified; the server saw only ciphertext.\n');
  if (keep) {
    console.log('The server stays until Ctrl-C. Go on in two terminals:\n');
    for (const person of people) {
      console.log(`# ${person.name}`);
      const exports = Object.entries(person.env).map(([key, value]) => `${key}='${value}'`);
      console.log(`export ${exports.join(' ')}`);
      console.log(`cd '${person.home}'\n`);
    }
    console.log(`# bob, then alice:\n${BIN} receive\n${BIN} send holiday.mp4 ${bob.jid}`);
    await new Promise<never>(() => setInterval(() => undefined, 1 << 30));
  }
  console.log('Next: `npm run demo -- --keep` leaves the server running for you to try');
  console.log('`jet send`, `jet receive`, `jet devices` and `jet trust` as alice and bob.');
}

try {
  await demo();
} catch (error) {
  // What is missed because it was cleaned away is no error.
  if (!(interrupted as boolean)) throw error;
} finally {
  await cleanUp();
}
