#!/usr/bin/env node
// A path with a delay and a rate, without root: listens on ports of its own and passes bytes on after
// `delay` milliseconds each way, at most `rate` bytes a second each way, at most `window` bytes on their way.
// TCP ends here on both sides, so what is seen through it is what the protocols above it wait for. A
// connection's first bytes wait one round trip more, as those of a real handshake would.
// Argument: JSON {delay, rate, window, routes: [{host, port} | {socks: true, near: [ports]}]}, where what goes
// to a near port passes at once; prints {ports}.
import { connect, createServer } from 'node:net';

const { delay: far, rate, window = 6_000_000, routes } = JSON.parse(process.argv[2] ?? '{}');

/** Passes one direction on. */
function pass(from, to, opened, delay) {
  const queue = [];
  let held = 0;
  let free = 0;
  let timer;
  const due = () => {
    const now = performance.now();
    const entry = queue[0];
    const time = entry.time + delay;
    return Math.max(time, free) - now;
  };
  const step = () => {
    timer = undefined;
    while (queue.length > 0) {
      const wait = due();
      if (wait > 0.5) {
        timer = setTimeout(step, wait);
        return;
      }
      const { bytes, end } = queue.shift();
      if (rate) free = Math.max(free, performance.now()) + (bytes?.length ?? 0) / (rate / 1000);
      if (end) {
        to.end();
        return;
      }
      held -= bytes.length;
      if (held < window) from.resume();
      if (!to.write(bytes)) {
        to.once('drain', step);
        return;
      }
    }
  };
  const add = (entry) => {
    queue.push({ ...entry, time: Math.max(performance.now(), opened + 2 * delay) });
    if (queue.length === 1 && timer === undefined && !to.writableNeedDrain) step();
  };
  from.on('data', (bytes) => {
    held += bytes.length;
    if (held >= window) from.pause();
    add({ bytes });
  });
  from.on('end', () => add({ end: true }));
}

function join(near, place, rest, delay) {
  const opened = performance.now();
  const there = connect({ ...place, allowHalfOpen: true, noDelay: true });
  for (const [one, other] of [
    [near, there],
    [there, near],
  ]) {
    one.on('error', () => other.destroy());
    one.on('close', () => {
      if (!one.readableEnded) other.destroy();
    });
  }
  pass(near, there, opened, delay);
  pass(there, near, opened, delay);
  if (rest.length > 0) near.unshift(rest);
}

/** The server's side of SOCKS5 without authentication; its own round trips cost nothing. */
function socks(near, nearPorts) {
  let seen = Buffer.alloc(0);
  let greeted = false;
  const read = (bytes) => {
    seen = Buffer.concat([seen, bytes]);
    if (!greeted && seen.length >= 2 && seen.length >= 2 + seen[1]) {
      seen = seen.subarray(2 + seen[1]);
      greeted = true;
      near.write(Buffer.from([5, 0]));
    }
    const length = seen[3] === 1 ? 10 : seen[3] === 3 ? 7 + (seen[4] ?? 0) : 22;
    if (!greeted || seen.length < 5 || seen.length < length) return;
    near.off('data', read);
    near.pause();
    const port = seen.readUInt16BE(length - 2);
    const host =
      seen[3] === 1 ? [...seen.subarray(4, 8)].join('.') : seen.subarray(5, length - 2).toString();
    near.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
    join(near, { host, port }, seen.subarray(length), nearPorts.includes(port) ? 0 : far);
    near.resume();
  };
  near.on('data', read);
  near.on('error', () => undefined);
}

const ports = await Promise.all(
  routes.map(
    (route) =>
      new Promise((resolve) => {
        const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) =>
          route.socks ? socks(near, route.near ?? []) : join(near, route, Buffer.alloc(0), far),
        );
        server.listen(0, '127.0.0.1', () => resolve(server.address().port));
      }),
  ),
);
console.log(JSON.stringify({ ports }));
