/**
 * `npm run acceptance`: the packed program, installed into an empty prefix, over a private server: large
 * files on every route, many transfers in a row, many at once. `--quick` makes all of it smaller;
 * `--bin PATH` takes a `jet` that is installed already.
 */
import { execFile } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { jetHome, type JetHome, type JetProcess, type Outcome } from '../test/support/jet.ts';
import { startProsody } from './prosody.ts';

/** Most resident memory that a process may ever have had, in bytes. */
const MAX_PEAK = 150_000_000;
/** Milliseconds between two looks at a process's memory. */
const SAMPLE_MS = 50;
/** A guard against hanging, never a measure. */
const GUARD_MS = 1_800_000;

const { values: flags } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, bin: { type: 'string' } },
});
const LARGE = flags.quick ? 100_000_000 : 1024 ** 3;
const IN_A_ROW = flags.quick ? 10 : 200;
const AT_ONCE = flags.quick ? 4 : 20;

const root = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);

/** A line of the table. */
interface Result {
  readonly title: string;
  /** Empty when all went well. */
  readonly faults: readonly string[];
  readonly bytes: number;
  /** Milliseconds from the first sender's start to the last one's end. */
  readonly wall: number;
  /** Milliseconds that bytes flowed, as the program says; 0 where it is not shown. */
  readonly flow: number;
  /** Bytes. */
  readonly senderPeak: number;
  readonly receiverPeak: number;
}

/** A sender that has ended. */
interface Sent {
  readonly outcome: Outcome;
  readonly peak: number;
  readonly route: string | undefined;
  readonly flow: number;
}

/** Looks at VmHWM, the peak that the kernel keeps, until the process has ended. */
class Peak {
  bytes = 0;
  readonly #timer: NodeJS.Timeout;

  constructor({ child, ended }: JetProcess) {
    const look = () => {
      this.bytes = Math.max(this.bytes, child.pid === undefined ? 0 : peakOf(child.pid));
    };
    this.#timer = setInterval(look, SAMPLE_MS);
    void ended.then(() => clearInterval(this.#timer));
  }
}

function peakOf(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
  } catch {
    return 0;
  }
}

async function makeFile(path: string, bytes: number): Promise<void> {
  const handle = await open(path, 'wx');
  const block = Buffer.alloc(Math.min(bytes, 1024 ** 2));
  for (let left = bytes; left > 0; left -= block.length)
    await handle.write(randomFillSync(block), 0, Math.min(left, block.length));
  await handle.close();
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** The object of an event's line in what `--json` printed. */
function eventOf(stdout: string, event: string): Record<string, unknown> | undefined {
  for (const line of stdout.split('\n')) {
    if (!line.startsWith('{')) continue;
    const parsed = JSON.parse(line) as Record<string, unknown>;
    if (parsed['event'] === event) return parsed;
  }
  return undefined;
}

async function install(folder: string): Promise<string> {
  console.error('Packing, and installing into an empty prefix …');
  const dist = join(root, 'dist');
  const built = existsSync(dist);
  await run('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: root });
  // A checkout runs its sources only as long as there is no build.
  if (!built) await rm(dist, { recursive: true, force: true });
  const archive = (await readdir(folder)).find((name) => name.endsWith('.tgz'));
  if (archive === undefined) throw new Error('npm pack made no archive.');
  const prefix = join(folder, 'prefix');
  const quiet = ['--silent', '--no-audit', '--no-fund'];
  await run('npm', ['install', ...quiet, '--global', '--prefix', prefix, join(folder, archive)]);
  const bin = join(prefix, 'bin/jet');
  if (!existsSync(bin)) throw new Error('The package brought no program.');
  return bin;
}

/** Alice sends, bob receives. */
class Trial {
  readonly #bin: string;
  readonly #alice: JetHome;
  readonly #bob: JetHome;
  readonly #folder: string;
  #count = 0;

  constructor(bin: string, alice: JetHome, bob: JetHome, folder: string) {
    this.#bin = bin;
    this.#alice = alice;
    this.#bob = bob;
    this.#folder = folder;
  }

  /** One file over one kind of route. */
  async one(route: 'direct' | 'proxy' | 'ibb', bytes: number): Promise<Result> {
    const { out, files } = await this.#prepare(bytes, 1);
    const receiving = this.#receive(out, ['--once', '--route', route]);
    const began = performance.now();
    const sent = await Promise.all(files.map((file) => this.#send(file, ['--route', route])));
    const wall = performance.now() - began;
    // A receiver that has taken nothing would wait for ever.
    if (sent.some(({ outcome }) => outcome.status !== 0)) receiving.process.child.kill('SIGTERM');
    const received = await receiving.process.ended;
    const faults = await this.#faults(files, out, sent, received);
    const taken = sent[0]?.route;
    if (taken !== route) faults.push(`the route was ${String(taken)}`);
    const title = `${megabytes(bytes)} MB, ${route}`;
    return this.#result(title, { faults, bytes, wall, sent, peak: receiving.peak });
  }

  /** Many files to one waiting receiver; `width` at a time. */
  async many(count: number, width: number): Promise<Result> {
    const size = 100_000;
    const { out, files } = await this.#prepare(size, count);
    const receiving = this.#receive(out, []);
    const sent: Sent[] = [];
    const left = [...files];
    const began = performance.now();
    const lane = async () => {
      for (let file = left.shift(); file !== undefined; file = left.shift())
        sent.push(await this.#send(file, ['--wait', '120']));
    };
    await Promise.all(Array.from({ length: width }, lane));
    const wall = performance.now() - began;
    receiving.process.child.kill('SIGTERM');
    const received = await receiving.process.ended;
    const faults = await this.#faults(files, out, sent, received);
    const title = `${count} × 100 kB, ${width === 1 ? 'in a row' : 'at once'}`;
    return this.#result(title, { faults, bytes: size * count, wall, sent, peak: receiving.peak });
  }

  async #prepare(bytes: number, count: number): Promise<{ out: string; files: string[] }> {
    const folder = join(this.#folder, String(this.#count++));
    const out = join(folder, 'out');
    await mkdir(out, { recursive: true });
    const files = Array.from({ length: count }, (_, n) => join(folder, `file-${n}.bin`));
    for (const file of files) await makeFile(file, bytes);
    return { out, files };
  }

  #receive(out: string, args: readonly string[]): { process: JetProcess; peak: Peak } {
    const all = ['receive', '--yes', '--out', out, ...args];
    const process = this.#bob.start(all, { bin: this.#bin, guard: GUARD_MS });
    return { process, peak: new Peak(process) };
  }

  async #send(file: string, args: readonly string[]): Promise<Sent> {
    const all = ['send', '--json', ...args, file, this.#bob.jid];
    const process = this.#alice.start(all, { bin: this.#bin, guard: GUARD_MS });
    const peak = new Peak(process);
    const outcome = await process.ended;
    const route = eventOf(outcome.stdout, 'start')?.['route'] as { kind?: string } | undefined;
    const flow = Number(eventOf(outcome.stdout, 'end')?.['elapsed'] ?? 0);
    return { outcome, peak: peak.bytes, route: route?.kind, flow };
  }

  /** What is not as it should be; the files are removed. */
  async #faults(
    files: readonly string[],
    out: string,
    sent: readonly Sent[],
    received: Outcome,
  ): Promise<string[]> {
    const faults: string[] = [];
    for (const { outcome } of sent)
      if (outcome.status !== 0) faults.push(`a sender ${ending(outcome)}`);
    if (received.status !== 0) faults.push(`the receiver ${ending(received)}`);
    const before = await Promise.all(files.map(sha256));
    const landed = (await readdir(out)).map((name) => join(out, name));
    const after = await Promise.all(landed.map(sha256));
    if (before.sort().join() !== after.sort().join())
      faults.push(`${landed.length} landed of ${files.length}, or the SHA-256 differ`);
    await rm(out, { recursive: true });
    await Promise.all(files.map((file) => rm(file)));
    return faults;
  }

  #result(
    title: string,
    of: {
      readonly faults: readonly string[];
      readonly bytes: number;
      readonly wall: number;
      readonly sent: readonly Sent[];
      readonly peak: Peak;
    },
  ): Result {
    const senderPeak = Math.max(...of.sent.map(({ peak }) => peak));
    const receiverPeak = of.peak.bytes;
    const faults = [...of.faults];
    for (const [who, peak] of [
      ['sender', senderPeak],
      ['receiver', receiverPeak],
    ] as const) {
      if (peak === 0) faults.push(`the memory of the ${who} was never seen`);
      if (peak >= MAX_PEAK) faults.push(`the ${who} needed ${megabytes(peak)} MB`);
    }
    const flow = of.sent.length === 1 ? (of.sent[0]?.flow ?? 0) : 0;
    return { title, faults, bytes: of.bytes, wall: of.wall, flow, senderPeak, receiverPeak };
  }
}

function ending({ status, signal, stderr }: Outcome): string {
  return `ended with ${String(status ?? signal)}: ${stderr.trim().split('\n').at(-1) ?? ''}`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}

function row(result: Result): string {
  const { title, faults, wall, flow, bytes, senderPeak, receiverPeak } = result;
  const rate = flow > 0 ? (bytes / 1e3 / flow).toFixed(1) : '';
  const cells = [
    title,
    faults.length === 0 ? 'same SHA-256' : 'FAILED',
    (wall / 1000).toFixed(1),
    rate,
    megabytes(senderPeak),
    megabytes(receiverPeak),
  ];
  return `| ${cells.join(' | ')} |`;
}

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'jet-acceptance-'));
  const server = await startProsody();
  try {
    const bin = flags.bin ?? (await install(folder));
    await server.addAccount('alice', 'secret-a');
    await server.addAccount('bob', 'secret-b');
    await server.befriend('alice', 'bob');
    const alice = await jetHome(server, 'alice', 'secret-a');
    const bob = await jetHome(server, 'bob', 'secret-b');
    const trial = new Trial(bin, alice, bob, folder);
    const results: Result[] = [];
    for (const next of [
      () => trial.one('direct', LARGE),
      () => trial.one('proxy', LARGE),
      () => trial.one('ibb', 5_000_000),
      () => trial.many(IN_A_ROW, 1),
      () => trial.many(AT_ONCE, AT_ONCE),
    ]) {
      const result = await next();
      results.push(result);
      console.error(row(result));
      for (const fault of result.faults) console.error(`  ${fault}`);
    }
    console.log('\n| transfer | result | seconds | MB/s | sender, peak MB | receiver, peak MB |');
    console.log('| --- | --- | ---: | ---: | ---: | ---: |');
    for (const result of results) console.log(row(result));
    const failed = results.filter(({ faults }) => faults.length > 0);
    for (const { title, faults } of failed) console.log(`\n${title}: ${faults.join('; ')}`);
    process.exitCode = failed.length === 0 ? 0 : 1;
    await alice.remove();
    await bob.remove();
  } finally {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

await main();
