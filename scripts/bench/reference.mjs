#!/usr/bin/env node
// The yardstick: what plain Node can do with one AES-128-GCM message over one TCP connection, disk to disk,
// hashed on both sides, without sessions, events or choices. `reference.mjs receive FILE` prints its port;
// `reference.mjs send FILE PORT [HOST]`. On the wire: size (8 bytes), IV (12), ciphertext, tag (16), end;
// back comes SHA-256 (32). Each prints a JSON line with its data phase in milliseconds. With a shared key:
// this is a measure, not a program to send anything with.
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { connect, createServer } from 'node:net';
import { MessageChannel } from 'node:worker_threads';

const [role, file, port, host = '127.0.0.1'] = process.argv.slice(2);
const KEY = Buffer.alloc(16, 0x5a);
const MIB = 1 << 20;
const HEAD = 20;
const BLOCKS = 8;
const SLICE = MIB / 4;

const drain = new MessageChannel();
drain.port1.close();
/** Frees memory at once: what is transferred to a closed port is gone. */
const free = (buffer) => {
  if (buffer.length > 0 && buffer.length === buffer.buffer.byteLength)
    drain.port2.postMessage(null, [buffer.buffer]);
};
await new Promise(setImmediate);
// One large block, freed: glibc keeps freed blocks of that size from now on.
free(Buffer.allocUnsafeSlow(32 * MIB - 65_536));

const write = (socket, bytes) => {
  const more = socket.write(bytes, () => free(bytes));
  if (socket.writableLength === 0) free(bytes);
  return more;
};

function send() {
  const fd = fs.openSync(file, 'r');
  const { size } = fs.fstatSync(fd);
  const socket = connect({ host, port: Number(port), noDelay: true, allowHalfOpen: true });
  socket.once('connect', async () => {
    const began = performance.now();
    const iv = randomBytes(12);
    const head = Buffer.alloc(HEAD);
    head.writeBigUInt64BE(BigInt(size));
    iv.copy(head, 8);
    socket.write(head);
    const cipher = createCipheriv('aes-128-gcm', KEY, iv);
    const hash = createHash('sha256');
    const block = Buffer.allocUnsafeSlow(MIB);
    for (let at = 0, turn = 1; at < size; turn++) {
      const got = fs.readSync(fd, block, 0, Math.min(MIB, size - at), at);
      if (got === 0) throw new Error('the file became shorter');
      at += got;
      const plain = block.subarray(0, got);
      hash.update(plain);
      const more = write(socket, cipher.update(plain));
      if (!more) await new Promise((resolve) => socket.once('drain', resolve));
      else if (turn % 4 === 0) await new Promise(setImmediate);
    }
    cipher.final();
    socket.end(cipher.getAuthTag());
    const back = [];
    for await (const bytes of socket) back.push(bytes);
    const digest = hash.digest();
    const same = Buffer.concat(back).equals(digest);
    console.log(JSON.stringify({ same, data: performance.now() - began }));
    process.exitCode = same ? 0 : 1;
  });
}

function receive() {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    server.close();
    new Receiver(socket);
  });
  server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
}

class Receiver {
  head = Buffer.alloc(0);
  tag = Buffer.alloc(16);
  tagged = 0;
  left = 0;
  filled = 0;
  position = 0;
  writing = 0;
  over = false;
  hash = createHash('sha256');

  constructor(socket) {
    this.socket = socket;
    socket.on('data', (bytes) => this.take(bytes));
    socket.on('end', () => {
      this.over = true;
      if (this.filled > 0) this.put();
      this.finish();
    });
  }

  start() {
    this.began = performance.now();
    this.size = this.left = Number(this.head.readBigUInt64BE(0));
    this.gcm = createDecipheriv('aes-128-gcm', KEY, this.head.subarray(8, HEAD));
    const { O_WRONLY, O_CREAT, O_EXCL, O_DIRECT } = fs.constants;
    const flags = O_WRONLY | O_CREAT | O_EXCL;
    this.direct = this.size >= 4 * MIB;
    try {
      this.fd = fs.openSync(`${file}.part`, this.direct ? flags | O_DIRECT : flags, 0o600);
    } catch (error) {
      if (error.code !== 'EINVAL') throw error;
      this.direct = false;
      fs.rmSync(`${file}.part`, { force: true });
      this.fd = fs.openSync(`${file}.part`, flags, 0o600);
    }
    // Memory of WebAssembly begins at a page, as O_DIRECT wants it.
    const { buffer } = new WebAssembly.Memory({ initial: (BLOCKS * MIB) / 65_536 });
    this.idle = Array.from({ length: BLOCKS }, (_, i) => Buffer.from(buffer, i * MIB, MIB));
    this.block = this.idle.pop();
  }

  take(bytes) {
    if (this.gcm === undefined) {
      this.head = Buffer.concat([this.head, bytes]);
      if (this.head.length < HEAD) return;
      bytes = this.head.subarray(HEAD);
      this.start();
    }
    const body = bytes.subarray(0, Math.min(this.left, bytes.length));
    this.left -= body.length;
    for (let at = 0; at < body.length; at += SLICE) {
      const plain = this.gcm.update(body.subarray(at, at + SLICE));
      this.hash.update(plain);
      for (let from = 0; from < plain.length;) {
        const copied = plain.copy(this.block, this.filled, from);
        from += copied;
        this.filled += copied;
        if (this.filled === MIB) this.put();
      }
      free(plain);
    }
    this.tagged += bytes.copy(this.tag, this.tagged, body.length);
  }

  /** Writes the block; there is always another one, for reading stops while only one is idle. */
  put() {
    const { block, filled, position } = this;
    const length = this.direct ? Math.ceil(filled / 4096) * 4096 : filled;
    this.position += filled;
    this.filled = 0;
    this.writing++;
    this.block = this.idle.pop();
    if (this.idle.length < 2) this.socket.pause();
    const go = (done) =>
      fs.write(this.fd, block, done, length - done, position + done, (error, written) => {
        if (error) throw error;
        if (done + written < length) return go(done + written);
        this.writing--;
        this.idle.push(block);
        this.block ??= this.idle.pop();
        if (this.over) this.finish();
        else if (this.idle.length >= 2) this.socket.resume();
      });
    go(0);
  }

  finish() {
    if (this.writing > 0) return;
    this.gcm.setAuthTag(this.tag);
    this.gcm.final();
    if (this.position !== this.size) throw new Error('not the size that was announced');
    fs.ftruncateSync(this.fd, this.size);
    fs.fsyncSync(this.fd);
    fs.closeSync(this.fd);
    fs.renameSync(`${file}.part`, file);
    const data = performance.now() - this.began;
    this.socket.end(this.hash.digest());
    console.log(JSON.stringify({ data }));
  }
}

if (role === 'send') send();
else receive();
