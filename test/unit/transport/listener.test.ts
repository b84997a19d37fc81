import fc from 'fast-check';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock, within } from '../../../src/core/clock.ts';
import { Jid } from '../../../src/core/jid.ts';
import { dial, race } from '../../../src/transport/s5b/connector.ts';
import { destination, destinations } from '../../../src/transport/s5b/dstaddr.ts';
import { readMessage } from '../../../src/transport/s5b/handshake.ts';
import { Listener } from '../../../src/transport/s5b/listener.ts';
import type { Candidate } from '../../../src/transport/s5b/machine.ts';
import { FakeClock, settle } from '../../support/clock.ts';

const undo: (() => void)[] = [];
afterEach(() => {
  for (const action of undo.splice(0)) action();
});

function jid(text: string): Jid {
  const parsed = Jid.parse(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

async function listening(clock = systemClock): Promise<Listener> {
  const listener = await Listener.open(clock);
  undo.push(() => listener.close());
  return listener;
}

async function client(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  undo.push(() => socket.destroy());
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

async function read(socket: Socket, length: number): Promise<Buffer> {
  for (;;) {
    const chunk = socket.read(length) as Buffer | null;
    if (chunk !== null) return chunk;
    await once(socket, 'readable');
  }
}

const GREETING = Buffer.from([5, 1, 0]);
const alice = jid('alice@example.org/a');
const bob = jid('bob@example.org/b');
const orders = destinations('sid', alice, bob);
const dialling = { clock: systemClock, socks: undefined, loopback: true };

function request(name: string): Buffer {
  return Buffer.concat([
    Buffer.from([5, 1, 0, 3, name.length]),
    Buffer.from(name),
    Buffer.alloc(2),
  ]);
}

describe('listener', () => {
  it.each(orders)('takes a client that sends byte by byte (%s)', async (name) => {
    const listener = await listening();
    const taken = new Promise<Socket>((resolve) => listener.expect(orders, resolve));
    const socket = await client(listener.port);
    for (const byte of GREETING) socket.write(Buffer.from([byte]));
    expect(await read(socket, 2)).toEqual(Buffer.from([5, 0]));
    for (const byte of request(name)) socket.write(Buffer.from([byte]));
    const reply = await read(socket, 47);
    expect(reply.subarray(0, 5)).toEqual(Buffer.from([5, 0, 0, 3, 40]));
    expect(reply.subarray(5, 45).toString()).toBe(name);
    expect(reply.readUInt16BE(45)).toBe(0);
    const accepted = await taken;
    undo.push(() => accepted.destroy());
    socket.write('hello');
    expect((await read(accepted, 5)).toString()).toBe('hello');
  });

  it('keeps what follows the request, and the other half after an end', async () => {
    const listener = await listening();
    const taken = new Promise<Socket>((resolve) => listener.expect(orders, resolve));
    const socket = await client(listener.port);
    socket.end(Buffer.concat([GREETING, request(orders[0]), Buffer.from('data')]));
    const accepted = await taken;
    undo.push(() => accepted.destroy());
    expect((await read(accepted, 4)).toString()).toBe('data');
    await read(socket, 2 + 47);
    accepted.end('answer');
    expect((await read(socket, 6)).toString()).toBe('answer');
  });

  it.each([
    ['another version', Buffer.from([4, 1, 0])],
    ['no method that is offered', Buffer.from([5, 1, 2])],
    ['an unknown destination', Buffer.concat([GREETING, request('0'.repeat(40))])],
    ['another command', Buffer.concat([GREETING, Buffer.from([5, 2, 0, 3, 0, 0, 0])])],
    ['another kind of address', Buffer.concat([GREETING, Buffer.from([5, 1, 0, 1, 0, 0, 0])])],
  ])('drops %s', async (_, bytes) => {
    // At once, and not when the time for a handshake is over.
    const listener = await listening(new FakeClock());
    listener.expect(orders, () => expect.unreachable());
    const socket = await client(listener.port);
    socket.write(bytes);
    socket.resume();
    await once(socket, 'close');
  });

  it('has at most 64 unfinished handshakes, and takes others when these are over', async () => {
    const listener = await listening();
    listener.expect(orders, (socket) => undo.push(() => socket.destroy()));
    const silent: Socket[] = [];
    for (let n = 0; n < 64; n++) silent.push(await client(listener.port));
    const more = await client(listener.port);
    more.resume();
    await once(more, 'close');
    const [first] = silent;
    first?.write(Buffer.concat([GREETING, request(orders[0])]));
    if (first) await read(first, 2 + 47);
    const next = await client(listener.port);
    next.write(GREETING);
    expect(await read(next, 2)).toEqual(Buffer.from([5, 0]));
  });

  it.each(['greeting', 'request'] as const)(
    'never waits for more than 262 bytes of a %s',
    (stage) => {
      fc.assert(
        fc.property(
          fc.uint8Array({ minLength: 262, maxLength: 262 }),
          fc.boolean(),
          (bytes, right) => {
            // The beginning of a message that is not refused at once.
            const begun = stage === 'greeting' ? [5] : [5, 1, 0, 3];
            const held = Buffer.from(right ? [...begun, ...bytes].slice(0, 262) : bytes);
            expect(readMessage(stage, held).kind).not.toBe('more');
          },
        ),
      );
    },
  );

  it('drops a client that stays silent', async () => {
    const clock = new FakeClock();
    const listener = await listening(clock);
    const socket = await client(listener.port);
    socket.resume();
    while (clock.pending === 0) await settle();
    const closed = once(socket, 'close');
    await clock.advance(10_000);
    await closed;
    expect(clock.pending).toBe(0);
  });

  it('reads a handshake whatever follows it', () => {
    const bytes = Buffer.concat([request('AB'), Buffer.from('rest')]);
    expect(readMessage('request', bytes)).toMatchObject({ destination: 'ab', length: 9 });
    expect(readMessage('request', bytes.subarray(0, 8))).toEqual({ kind: 'more' });
  });
});

describe('connector', () => {
  const candidate = (cid: string, port: number, host = '127.0.0.1'): Candidate => ({
    cid,
    host,
    port,
    jid: bob.toString(),
    priority: 1,
    type: 'direct',
  });

  /** A port that refuses, and one that accepts and says nothing. */
  async function dead(): Promise<{ closed: number; silent: number }> {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      undo.push(() => socket.destroy());
    }).listen(0, '127.0.0.1');
    undo.push(() => server.close());
    await once(server, 'listening');
    const gone = createServer().listen(0, '127.0.0.1');
    await once(gone, 'listening');
    const closed = (gone.address() as AddressInfo).port;
    gone.close();
    await once(gone, 'close');
    return { closed, silent: (server.address() as AddressInfo).port };
  }

  it('reaches a living candidate past dead ones', async () => {
    const listener = await listening();
    const taken = new Promise<Socket>((resolve) => listener.expect(orders, resolve));
    const { closed, silent } = await dead();
    const candidates = [
      candidate('s', silent),
      candidate('c', closed),
      candidate('l', listener.port),
    ];
    const abort = new AbortController();
    const { winner } = race(dialling, candidates, orders[1], abort.signal, () => undefined);
    const reached = await winner;
    expect(reached?.candidate.cid).toBe('l');
    const accepted = await taken;
    undo.push(
      () => accepted.destroy(),
      () => reached?.socket.destroy(),
    );
    accepted.end('bytes');
    if (reached !== undefined) expect((await read(reached.socket, 5)).toString()).toBe('bytes');
    expect(reached?.socket.writable).toBe(true);
  });

  it('never has two connections to one proxy, which would join them', async () => {
    let open = 0;
    let most = 0;
    let all = 0;
    const server = createServer((socket) => {
      all++;
      most = Math.max(most, ++open);
      socket.on('error', () => undefined);
      socket.on('close', () => open--);
      socket.once('data', () => {
        socket.write(Buffer.from([5, 0]));
        // Later than the other candidate would have been tried.
        socket.once('data', (request) =>
          setTimeout(
            () => socket.write(Buffer.concat([Buffer.from([5, 0]), request.subarray(2)])),
            500,
          ),
        );
      });
    }).listen(0, '127.0.0.1');
    undo.push(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const proxies = ['a', 'b'].map((cid) => ({
      ...candidate(cid, port),
      ...{ type: 'proxy' as const, jid: 'proxy.example.org' },
    }));
    const abort = new AbortController();
    const reached = await race(dialling, proxies, orders[0], abort.signal, () => undefined).winner;
    undo.push(() => reached?.socket.destroy());
    await settle(40);
    expect([reached?.candidate.cid, most, all]).toEqual(['a', 1, 1]);
  });

  it('ends at once when what is left cannot win', async () => {
    const { silent } = await dead();
    const abort = new AbortController();
    const running = race(
      dialling,
      [candidate('s', silent)],
      orders[0],
      abort.signal,
      () => undefined,
    );
    running.narrow(() => false);
    expect(await running.winner).toBeUndefined();
  });

  /** Fails in time when it does not settle: on a clock that stands still nothing else would end it. */
  const soon = <T>(promise: Promise<T>): Promise<T> =>
    within(systemClock, 1_000, promise, () => new Error('it hangs'));

  it.each(['given up', 'hung up by the other side', 'ended by the other side'])(
    'ends at once when it is %s while the SOCKS client is loaded',
    async (what) => {
      let load = () => {};
      const loading = new Promise<void>((resolve) => (load = resolve));
      vi.resetModules();
      vi.doMock('../../../src/xmpp/socks.ts', async (original) => {
        await loading;
        return original();
      });
      const fresh = await import('../../../src/transport/s5b/connector.ts');
      vi.doUnmock('../../../src/xmpp/socks.ts');
      const sockets: Socket[] = [];
      const server = createServer((socket) => sockets.push(socket.on('error', () => undefined)));
      server.listen(0, '127.0.0.1');
      undo.push(() => server.close());
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const abort = new AbortController();
      const still = { ...dialling, clock: new FakeClock() };
      const dialled = fresh.dial(still, { host: '127.0.0.1', port }, orders[0], abort.signal);
      const failed = expect(soon(dialled)).rejects.toThrow(
        /^(given up|closed|Socket closed|read ECONNRESET)$/,
      );
      await once(server, 'connection');
      await settle();
      if (what === 'given up') abort.abort(new Error(what));
      // Both are told to whoever listens then, and never again.
      else if (what.startsWith('hung up')) sockets[0]?.resetAndDestroy();
      else sockets[0]?.end();
      await settle(40);
      load();
      await failed;
    },
  );

  it('does not wait for a streamhost that hangs up', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end();
    }).listen(0, '127.0.0.1');
    undo.push(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const still = { ...dialling, clock: new FakeClock() };
    const { signal } = new AbortController();
    const dialled = dial(still, { host: '127.0.0.1', port }, orders[0], signal);
    await expect(soon(dialled)).rejects.toThrow('closed');
  });

  it('connects to no loopback address unless the server is there', async () => {
    const { silent } = await dead();
    for (const host of [
      '127.0.0.1',
      '::1',
      '::ffff:127.0.0.1',
      'localhost',
      '169.254.1.1',
      '224.0.0.1',
    ])
      await expect(
        dial(
          { ...dialling, loopback: false },
          { host, port: silent },
          'x',
          new AbortController().signal,
        ),
      ).rejects.toThrow('no address');
  });

  // A name is not looked up here.
  it.each(['192.0.2.7', 'stream.invalid'])(
    'goes through the proxy of the user to %s',
    async (host) => {
      const listener = await listening();
      const taken = new Promise<Socket>((resolve) => listener.expect(orders, resolve));
      const seen: string[] = [];
      const server = createServer((socket) => {
        socket.once('data', () => {
          socket.write(Buffer.from([5, 0]));
          socket.once('data', (data) => {
            const [, , , type, length = 0] = data;
            const name = type === 3;
            const at = name
              ? data.subarray(5, 5 + length).toString()
              : data.subarray(4, 8).join('.');
            seen.push(`${at}:${data.readUInt16BE(name ? 5 + length : 8)}`);
            const onward = connect(listener.port, '127.0.0.1', () => {
              socket.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
              socket.pipe(onward).pipe(socket);
            });
          });
        });
      }).listen(0, '127.0.0.1');
      undo.push(() => server.close());
      await once(server, 'listening');
      const socks = { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
      const target = { host, port: 4444 };
      const abort = new AbortController();
      const socket = await dial({ ...dialling, socks }, target, orders[0], abort.signal);
      const accepted = await taken;
      undo.push(
        () => socket.destroy(),
        () => accepted.destroy(),
      );
      expect(seen).toEqual([`${host}:4444`]);
      socket.write('ping');
      expect((await read(accepted, 4)).toString()).toBe('ping');
    },
  );

  it('names a stream by id, offerer and the other', () => {
    expect(destination('sid', alice, bob)).toMatch(/^[0-9a-f]{40}$/);
    expect(orders[0]).not.toBe(orders[1]);
  });
});
