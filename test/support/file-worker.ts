/** What `children.ts` runs. Prints results, or the code of a JetError. */
import { fstatSync, readdirSync, type Stats } from 'node:fs';
import { connect } from 'node:net';
import { JetError } from '../../src/core/errors.ts';
import { encodePart } from '../../src/files/identity.ts';
import { Landing } from '../../src/files/landing.ts';
import { warmUp } from '../../src/files/memory.ts';
import { placeNew } from '../../src/files/place.ts';
import { FileSource } from '../../src/files/source.ts';
import { spool } from '../../src/files/spool.ts';
import { aes128gcm } from '../../src/jet/ciphers.ts';
import { freshSecret } from '../../src/jet/secret.ts';
import { receiveStream, sendStream } from '../../src/transfer/pump.ts';
import { byteStream, socketPair } from './sockets.ts';

async function landing(target: string, size: number): Promise<Landing> {
  const made = await Landing.open({ target, size, onConflict: 'overwrite' });
  if (made === undefined) throw new Error('skipped');
  return made;
}

function statOf(fd: number): Stats | undefined {
  try {
    return fstatSync(fd);
  } catch {
    return undefined;
  }
}

const commands: Record<string, (...args: string[]) => Promise<string>> = {
  /** Opens a landing and gives it up. */
  async land(target = '') {
    await (await landing(target, 10)).abort('remove');
    return 'landed';
  },

  async read(path = '') {
    await (await FileSource.open(path)).close();
    return 'read';
  },

  /** Takes an input that never ends; says the mode and the number of names of its file. */
  async spool(folder = '') {
    async function* input() {
      await Promise.resolve();
      yield Buffer.from('abc');
      for (const fd of readdirSync('/proc/self/fd')) {
        const stats = statOf(Number(fd));
        if (stats?.size !== 3 || !stats.isFile()) continue;
        process.stdout.write(`${(stats.mode & 0o777).toString(8)} ${String(stats.nlink)}\n`);
      }
      setInterval(() => undefined, 1000);
      await new Promise(() => undefined);
    }
    await spool(input(), { name: 'n', folder });
    return 'taken';
  },

  async place(part = '', path = '') {
    try {
      return String(await placeNew(part, path));
    } catch (error) {
      return error instanceof Error && 'code' in error ? String(error.code) : 'failed';
    }
  },

  /** Writes bytes of value 7, and tells how far it is, until it is killed. */
  async checkpoints(target = '', bytes = '', how = '') {
    if (how !== 'checkpoint' && how !== 'reached') throw new Error('checkpoint or reached');
    const sink = await landing(target, Number(bytes));
    for (let n = 1; ; n++) {
      // More than a block, less than two: the end lies inside one, and writes are under way.
      await sink.write(Buffer.alloc(1_500_001, 7));
      const { written, identity } = await sink[how]();
      process.stdout.write(`${String(written)} ${encodePart(identity)}\ncheckpoint ${String(n)}\n`);
      await sink.write(Buffer.alloc(300_001, 7));
    }
  },

  /** Receives from a port; says `some` when bytes have landed, and goes on until it is killed. */
  async receive(port = '', target = '', bytes = '', key = '', iv = '') {
    const size = Number(bytes);
    const duplex = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true });
    const secret = { key: Buffer.from(key, 'hex'), iv: Buffer.from(iv, 'hex') };
    let said = false;
    await receiveStream({
      bytestream: byteStream(duplex),
      cipher: aes128gcm,
      secret,
      sink: await landing(target, size),
      size,
      onProgress: (landed) => {
        if (landed >= size / 4 && !said) process.stdout.write('some\n');
        said ||= landed >= size / 4;
      },
    });
    return 'all';
  },

  /** Both ends of a transfer in one process; prints the memory that was resident before and at the most, in bytes. */
  async pump(from = '', target = '') {
    warmUp();
    const source = await FileSource.open(from);
    const [a, b] = await socketPair();
    const secret = freshSecret(aes128gcm);
    const sink = await landing(target, source.size);
    const before = process.memoryUsage.rss();
    let most = 0;
    const onProgress = () => {
      most = Math.max(most, process.memoryUsage.rss());
    };
    const common = { cipher: aes128gcm, secret, onProgress };
    const [sent, got] = await Promise.all([
      sendStream({ ...common, source, bytestream: byteStream(a) }),
      receiveStream({ ...common, sink, size: source.size, bytestream: byteStream(b) }),
    ]);
    await sink.finish();
    await source.close();
    a.destroy();
    b.destroy();
    return JSON.stringify({ before, most, same: sent.sha256.equals(got.sha256), bytes: got.bytes });
  },
};

const [command = '', ...args] = process.argv.slice(2);
try {
  process.stdout.write(`${String(await commands[command]?.(...args))}\n`);
} catch (error) {
  if (!(error instanceof JetError)) throw error;
  process.stdout.write(`${error.code}\n`);
}
