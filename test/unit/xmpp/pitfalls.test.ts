/** What \@xmpp/client 0.14 does or leaves undone on its own, and must not come through: a test for each. */
import dns from 'node:dns';
import { connect as tcp, createServer, type AddressInfo, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { expect, onTestFinished, test, vi } from 'vitest';
import { systemClock, type Clock } from '../../../src/core/clock.ts';
import { connect } from '../../../src/xmpp/connect.ts';
import { CONNECT_TIMEOUT } from '../../../src/xmpp/socket.ts';
import { STEP_TIMEOUT } from '../../../src/xmpp/stream.ts';
import { xml } from '../../../src/xmpp/xml.ts';
import { address } from '../../support/address.ts';
import { selfSigned } from '../../support/certificate.ts';
import { FakeClock } from '../../support/clock.ts';
import { startXmppServer, type ServerOptions } from '../../support/xmpp-server.ts';

const certificate = selfSigned('home.example');
const peer = address('juliet@away.example/x');
const romeo = address('romeo@home.example');

function logIn(port: number, clock: Clock = systemClock, host = '127.0.0.1', tls = true) {
  return connect({
    ...{ jid: romeo, password: () => 'secret', ca: certificate.cert, clock },
    server: { host, port, tls },
  });
}

async function serve(options: Partial<ServerOptions> = {}) {
  const plain = { certificate, password: 'secret', mechanisms: ['SCRAM-SHA-256'] };
  const server = await startXmppServer({ ...plain, ...options });
  onTestFinished(() => server.stop());
  return server;
}

/** A server of which each connection is handed to `take`. */
async function listen(take: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    take(socket);
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** A connection that is passed on to another port. */
function pass(near: Socket, port: number): void {
  const far = tcp(port, '127.0.0.1');
  far.on('error', () => near.destroy());
  near.on('close', () => far.destroy());
  near.pipe(far).pipe(near);
}

test('direct TLS names the domain (SNI) and the protocol (ALPN), whatever the host is', async () => {
  const told: unknown[] = [];
  const port = await listen((socket) => {
    const secure = new TLSSocket(socket, {
      ...{ isServer: true, ...certificate, ALPNProtocols: ['h2', 'xmpp-client'] },
      SNICallback: (name, done) => {
        told.push(name);
        done(null);
      },
    });
    secure.on('error', () => undefined);
    secure.on('secure', () => {
      told.push(secure.alpnProtocol);
      secure.destroy();
    });
  });
  await expect(logIn(port)).rejects.toMatchObject({ code: 'server-unreachable' });
  expect(told).toEqual(['home.example', 'xmpp-client']);
});

test('an address of the server that leads nowhere does not keep us from the next (happy eyeballs)', async () => {
  const server = await serve();
  const lookup = vi.spyOn(dns, 'lookup').mockImplementation(((
    _name: string,
    options: dns.LookupAllOptions | dns.LookupOneOptions,
    done: (...answer: unknown[]) => void,
  ) => {
    // Nothing listens on that port of the first one.
    if (options.all !== true) done(null, '127.0.0.2', 4);
    else
      done(null, [
        { address: '127.0.0.2', family: 4 },
        { address: '127.0.0.1', family: 4 },
      ]);
  }) as typeof dns.lookup);
  onTestFinished(() => lookup.mockRestore());
  await (await logIn(server.port, systemClock, 'xmpp.home.example')).close();
  expect(lookup).toHaveBeenCalled();
});

test('a character that is cut by the border of two chunks stays whole', async () => {
  const body = 'é€😀\u{10348}';
  const server = await serve();
  const connection = await logIn(server.port);
  const heard = new Promise<string>((resolve) =>
    connection.onMessage((message) => {
      resolve(message.getChildText('body') ?? '');
    }),
  );
  const [socket] = server.sockets;
  const text = `<message from='${peer.toString()}' type='chat'><body>${body}</body></message>`;
  // Each is a TLS record of its own, and so a chunk.
  for (const byte of Buffer.from(text))
    await new Promise((resolve) => socket?.write(Buffer.of(byte), resolve));
  expect(await heard).toBe(body);
  await connection.close();
});

test('an answer counts from the one who was asked only, and ids cannot be guessed', async () => {
  const guessable = vi.spyOn(Math, 'random').mockReturnValue(0.5);
  onTestFinished(() => guessable.mockRestore());
  const server = await serve({
    answer: (stanza) => {
      const id = stanza.attrs['id'] ?? '';
      const from = (who: string, what: string) =>
        `<iq type='result' id='${id}' from='${who}'><${what} xmlns='n'/></iq>`;
      return ['eve@evil.example/x', peer.bare.toString(), 'romeo@home.example']
        .map((who) => from(who, 'forged'))
        .concat(`<iq type='result' id='${id}'><forged xmlns='n'/></iq>`)
        .concat(from(peer.toString(), 'right'))
        .join('');
    },
  });
  const connection = await logIn(server.port);
  for (let asked = 0; asked < 3; asked++)
    expect(await connection.iq(peer, 'get', xml('a', { xmlns: 'n' }))).toMatchObject({
      name: 'right',
    });
  await connection.close();
  const ids = server.heard
    .filter((stanza) => stanza.getName() === 'iq')
    .map((stanza) => stanza.attrs['id'] ?? '');
  // Binding a session and three requests.
  expect(new Set(ids).size).toBe(4);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab]/);
});

test('a request that waits for its answer fails when the stream is lost', async () => {
  const server = await serve({ answer: () => '' });
  const connection = await logIn(server.port);
  const waiting = connection.iq(peer, 'get', xml('a', { xmlns: 'n' }));
  waiting.catch(() => undefined);
  await vi.waitFor(() => expect(server.text).toContain('<a xmlns="n"/>'));
  for (const socket of server.sockets) socket.destroy();
  await expect(waiting).rejects.toMatchObject({ condition: 'disconnect' });
  await connection.close();
});

test.each([
  ['the TLS handshake', true, CONNECT_TIMEOUT],
  ['the features of the stream', false, STEP_TIMEOUT],
])('a slow server is waited for: %s, and not for ever', async (_what, tls, longest) => {
  const clock = new FakeClock();
  let heard: () => void = () => undefined;
  const begun = new Promise<void>((resolve) => (heard = resolve));
  const port = await listen((socket) => {
    socket.on('data', () => {
      if (!tls)
        socket.write(
          "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
        );
      heard();
    });
  });
  let over = false;
  const attempt = logIn(port, clock, '127.0.0.1', tls).catch((error: unknown) => {
    over = true;
    return error;
  });
  await begun;
  await vi.waitFor(() => expect(clock.pending).toBeGreaterThan(0));
  await clock.advance(longest - 1);
  expect(over).toBe(false);
  await clock.advance(1);
  expect(await attempt).toMatchObject({ code: 'server-unreachable', exit: 3 });
});

test('a server that is gone is tried ever more rarely, and found again', async () => {
  const server = await serve();
  let there = true;
  const attempts: number[] = [];
  const clock = new FakeClock();
  const passed = new Set<Socket>();
  const port = await listen((socket) => {
    attempts.push(clock.monotonic());
    passed.add(socket);
    if (there) pass(socket, server.port);
    else socket.destroy();
  });
  const connection = await logIn(port, clock);
  const states: string[] = [];
  connection.onState(({ kind }) => void states.push(kind));
  there = false;
  for (const socket of passed) socket.destroy();
  await vi.waitFor(() => expect(states).toEqual(['lost']));
  const lostAt = clock.monotonic();
  for (let n = 1; n <= 7; n++) {
    // What comes next is the pause before the next attempt, however long the last one took to fail.
    await vi.waitFor(() => expect(clock.pending).toBeGreaterThan(0));
    for (let ms = 0; attempts.length <= n && ms < 70_000; ms += 250) await clock.advance(250);
    await vi.waitFor(() => expect(attempts).toHaveLength(n + 1));
  }
  const times = [lostAt, ...attempts.slice(1)];
  for (let n = 0; n < 7; n++) {
    const pause = (times[n + 1] ?? 0) - (times[n] ?? 0);
    expect(pause).toBeGreaterThanOrEqual(Math.min(60_000, 1000 * 2 ** n) / 2 - 250);
    expect(pause).toBeLessThanOrEqual(Math.min(60_000, 1000 * 2 ** n) + 500);
  }
  there = true;
  await vi.waitFor(async () => {
    await clock.advance(1000);
    expect(states).toContain('online');
  }, 60_000);
  await connection.close();
});

test('nothing of the library itself is said to the server, not even where it would', async () => {
  const server = await serve({
    features:
      "<authentication xmlns='urn:xmpp:sasl:2'><mechanism>PLAIN</mechanism></authentication><sm xmlns='urn:xmpp:sm:3'/>",
    answer: (stanza) =>
      stanza.is('enable') ? "<enabled xmlns='urn:xmpp:sm:3' id='one' resume='true'/>" : '',
  });
  const connection = await logIn(server.port);
  await connection.close();
  const names = server.heard.map((stanza) => stanza.getName());
  expect(names).toEqual(['auth', 'response', 'iq', 'enable', 'presence', 'a']);
});
