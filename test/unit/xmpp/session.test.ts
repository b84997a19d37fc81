/** What a session with the server says of its limits, and how it is kept alive. */
import { expect, onTestFinished, test, vi } from 'vitest';
import { systemClock, type Clock } from '../../../src/core/clock.ts';
import { connect } from '../../../src/xmpp/connect.ts';
import type { ConnectionState } from '../../../src/xmpp/connection.ts';
import { xml } from '../../../src/xmpp/xml.ts';
import { address } from '../../support/address.ts';
import { selfSigned } from '../../support/certificate.ts';
import { FakeClock } from '../../support/clock.ts';
import { startXmppServer, type ServerOptions } from '../../support/xmpp-server.ts';

const certificate = selfSigned('home.example');

async function logIn(
  options: Partial<ServerOptions>,
  clock: Clock = systemClock,
  log?: (line: string) => void,
) {
  const server = await startXmppServer({
    certificate,
    password: 'secret',
    mechanisms: ['SCRAM-SHA-256'],
    ...options,
  });
  onTestFinished(() => server.stop());
  const connection = await connect({
    jid: address('romeo@home.example'),
    password: () => 'secret',
    ca: certificate.cert,
    server: { host: '127.0.0.1', port: server.port, tls: true },
    clock,
    ...(log && { log }),
  });
  return { server, connection };
}

test.each([
  ['binding', { bindError: 'resource-constraint' }, 'resource-constraint'],
  ['binding as a conflict', { bindError: 'conflict' }, 'conflict'],
  ['logging in', { failure: 'policy-violation' }, 'policy-violation'],
])('a limit of sessions, told at %s, is a sentence', async (_when, options, condition) => {
  await expect(logIn(options)).rejects.toMatchObject({
    code: 'session-limit',
    exit: 3,
    message: `The server refuses one more session of romeo@home.example (${condition}). End another client and try again.`,
  });
});

test.each([
  ["<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>20000</max-bytes></limits>", 20_000],
  ["<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>-1</max-bytes></limits>", undefined],
  ["<limits xmlns='urn:xmpp:stream-limits:0'/>", undefined],
  ['', undefined],
])('XEP-0478: the largest stanza of %s is read', async (features, expected) => {
  const { connection } = await logIn({ features });
  expect(connection.maxStanza).toBe(expected);
  await connection.close();
});

/** A session under a clock turned by hand; pings are answered while `alive`. */
async function keptAlive() {
  const clock = new FakeClock();
  const life = { alive: true };
  const { server, connection } = await logIn(
    {
      answer: (stanza) =>
        life.alive ? `<iq type='result' id='${stanza.attrs['id'] ?? ''}'/>` : '',
    },
    clock,
  );
  const states: ConnectionState['kind'][] = [];
  connection.onState(({ kind }) => void states.push(kind));
  const pings = () =>
    server.heard.filter((stanza) => stanza.getChild('ping', 'urn:xmpp:ping') !== undefined).length;
  return { clock, life, connection, states, pings };
}

test('a silent stream is asked for a sign of life after a minute, and goes on with one', async () => {
  const { clock, connection, states, pings } = await keptAlive();
  await clock.advance(59_999);
  expect(pings()).toBe(0);
  for (let asked = 1; asked <= 3; asked += 1) {
    await clock.advance(90_000);
    await vi.waitFor(() => expect(pings()).toBeGreaterThanOrEqual(asked));
    // The answer is on its way through a real socket.
    await vi.waitFor(() => expect(clock.pending).toBeLessThanOrEqual(1));
  }
  expect(states).toEqual([]);
  await connection.close();
});

test('without one it counts as lost', async () => {
  const { clock, life, connection, states, pings } = await keptAlive();
  life.alive = false;
  await clock.advance(60_000);
  await vi.waitFor(() => expect(pings()).toBe(1));
  expect(states).toEqual([]);
  await clock.advance(30_000);
  await vi.waitFor(() => expect(states).toEqual(['lost']));
  await connection.close();
});

test('XEP-0198 §4: what was sent before the end counts until the stream is closed', async () => {
  let taken = 0;
  const failures: string[] = [];
  const { server, connection } = await logIn(
    {
      features: "<sm xmlns='urn:xmpp:sm:3'/>",
      answer: (stanza) => {
        if (stanza.is('enable')) return "<enabled xmlns='urn:xmpp:sm:3' id='one' resume='true'/>";
        if (stanza.getNS() !== 'urn:xmpp:sm:3') taken += 1;
        // The last acknowledgement of many: all that we sent, the farewell among it.
        return stanza.attrs['type'] === 'unavailable'
          ? `<a xmlns='urn:xmpp:sm:3' h='${taken}'/>`
          : '';
      },
    },
    systemClock,
    (line) => {
      if (line.startsWith('!')) failures.push(line);
    },
  );
  await connection.send(xml('presence'));
  await connection.send(xml('presence'));
  await connection.close();
  await vi.waitFor(() => expect(server.sockets.size).toBe(0));
  expect(taken).toBe(3);
  expect(failures).toEqual([]);
});

test('XEP-0198 §4: the server is asked what it took now and then, or after three seconds', async () => {
  const clock = new FakeClock();
  const { server, connection } = await logIn(
    {
      features: "<sm xmlns='urn:xmpp:sm:3'/>",
      answer: (stanza) =>
        stanza.is('enable') ? "<enabled xmlns='urn:xmpp:sm:3' id='one' resume='true'/>" : '',
    },
    clock,
  );
  const asked = () => server.text.match(/<r [^>]*urn:xmpp:sm:3/g)?.length ?? 0;
  const send = async (count: number) => {
    for (let i = 0; i < count; i++) await connection.send(xml('presence'));
  };
  const seen = () => server.text.match(/<presence/g)?.length ?? 0;
  await send(49);
  await vi.waitFor(() => expect(seen()).toBe(49));
  expect(asked()).toBe(0);
  await send(1);
  await vi.waitFor(() => expect(asked()).toBe(1));
  await send(1);
  await vi.waitFor(() => expect(seen()).toBe(51));
  expect(asked()).toBe(1);
  await clock.advance(3_000);
  await vi.waitFor(() => expect(asked()).toBe(2));
  await connection.close();
});

test('RFC 6120 §4.4: the end of the stream is the last that is sent, and it is sent', async () => {
  const { server, connection } = await logIn({
    features: "<sm xmlns='urn:xmpp:sm:3'/>",
    answer: (stanza) => {
      if (stanza.is('enable')) return "<enabled xmlns='urn:xmpp:sm:3' id='one' resume='true'/>";
      // It still asks, once the end is on its way.
      return stanza.attrs['type'] === 'unavailable' ? "<r xmlns='urn:xmpp:sm:3'/>" : '';
    },
  });
  const { text: before } = server;
  await connection.close();
  await vi.waitFor(() => expect(server.sockets.size).toBe(0));
  expect(server.text.slice(before.length)).toMatch(/^[^]*<presence [^]*<\/stream:stream>$/);
});
