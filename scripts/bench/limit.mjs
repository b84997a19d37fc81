#!/usr/bin/env node
// One limit of the machine, by itself: `limit.mjs gcm|sha256|disk|sink|source BYTES [FILE|PORT [DSTADDR]]`.
// Prints {rate} in MB/s. `sink` prints its {port} first; with DSTADDR both ends go to a SOCKS5 proxy (XEP-0065)
// at PORT, print {ready}, and the source waits for a line on its standard input.
import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { connect, createServer } from 'node:net';

const [what, count, where, dstaddr] = process.argv.slice(2);
const bytes = Number(count);
const BLOCK = 1 << 20;
const say = (began) =>
  console.log(JSON.stringify({ rate: bytes / 1e3 / (performance.now() - began) }));

/** A block of 256 KiB again and again; the output is freed at once, and malloc keeps it, as in jet and the reference. */
async function gcm() {
  const block = randomBytes(BLOCK / 4);
  const cipher = createCipheriv('aes-128-gcm', randomBytes(16), randomBytes(12));
  const { port1, port2 } = new MessageChannel();
  port2.close();
  port1.close();
  await new Promise(setImmediate);
  const free = ({ buffer }) => port1.postMessage(undefined, [buffer]);
  free(Buffer.allocUnsafeSlow(32 * BLOCK - 65_536));
  const began = performance.now();
  for (let done = 0; done < bytes; done += block.length) free(cipher.update(block));
  say(began);
}

function sha256() {
  const block = randomBytes(BLOCK);
  const hash = createHash('sha256');
  const began = performance.now();
  for (let done = 0; done < bytes; done += block.length) hash.update(block);
  hash.digest();
  say(began);
}

/** Eight writes of 1 MiB at a time, past the page cache where the file system allows it. */
async function disk() {
  const { buffer } = new WebAssembly.Memory({ initial: (8 * BLOCK) / 65_536 });
  const { O_WRONLY, O_CREAT, O_EXCL, O_DIRECT } = fs.constants;
  const flags = O_WRONLY | O_CREAT | O_EXCL;
  let handle;
  try {
    handle = await fs.promises.open(where, flags | O_DIRECT, 0o600);
  } catch {
    fs.rmSync(where, { force: true });
    handle = await fs.promises.open(where, flags, 0o600);
  }
  const whole = Math.ceil(bytes / BLOCK) * BLOCK;
  let at = 0;
  const began = performance.now();
  const lane = async (_, i) => {
    const block = Buffer.from(buffer, i * BLOCK, BLOCK).fill(i + 1);
    while (at < whole) {
      const position = at;
      at += BLOCK;
      await handle.write(block, 0, BLOCK, position);
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  await handle.sync();
  say(began);
  await handle.close();
  fs.rmSync(where);
}

/** Connects to a bytestream at a SOCKS5 proxy, its name in place of an address. */
async function proxied() {
  const socket = connect({ host: '127.0.0.1', port: Number(where) });
  const name = Buffer.from(dstaddr);
  const hear = (length) =>
    new Promise((resolve) => {
      const look = () => {
        if (socket.read(length) === null) return;
        socket.off('readable', look);
        resolve();
      };
      socket.on('readable', look);
    });
  // The proxy reads one request a segment.
  socket.write(Buffer.from([5, 1, 0]));
  await hear(2);
  socket.write(Buffer.concat([Buffer.from([5, 1, 0, 3, name.length]), name, Buffer.from([0, 0])]));
  await hear(7 + name.length);
  console.log(JSON.stringify({ ready: true }));
  return socket;
}

/** Counts what comes, until all is there. */
function swallow(socket) {
  let left = bytes;
  let began;
  socket.on('data', (chunk) => {
    began ??= performance.now();
    left -= chunk.length;
    if (left > 0) return;
    say(began);
    socket.destroy();
  });
}

async function sink() {
  if (dstaddr !== undefined) {
    swallow(await proxied());
    return;
  }
  const server = createServer((socket) => {
    server.close();
    swallow(socket);
  });
  server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
}

async function source() {
  const block = Buffer.allocUnsafeSlow(BLOCK);
  const socket = dstaddr === undefined ? connect(Number(where), '127.0.0.1') : await proxied();
  if (dstaddr !== undefined) await new Promise((resolve) => process.stdin.once('data', resolve));
  process.stdin.destroy();
  socket.on('error', () => undefined);
  for (let left = bytes; left > 0; left -= block.length)
    if (!socket.write(block.subarray(0, Math.min(left, block.length))))
      await new Promise((resolve) => socket.once('drain', resolve));
  socket.end();
}

await { gcm, sha256, disk, sink, source }[what]();
