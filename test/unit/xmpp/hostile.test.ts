import { createServer, type AddressInfo, type Server } from 'node:net';
import { TLSSocket } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.ts';
import { Jid } from '../../../src/core/jid.ts';
import { connect } from '../../../src/xmpp/connect.ts';
import { selfSigned } from '../../support/certificate.ts';

const OPEN =
  "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
const SASL =
  "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>";
const TLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const PROCEED = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
let server: Server | undefined;

afterEach(() => server?.close());

/** A server that answers the n-th chunk with the n-th text, and keeps what it got. */
function attack(...answers: string[]): Promise<Attempt> {
  let heard = '';
  const made = createServer((socket) => {
    let turn = 0;
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      heard += bytes.toString('latin1');
      const answer = answers[turn++];
      if (answer === undefined) socket.destroy();
      else socket.write(answer);
    });
  });
  return meet(made, () => heard);
}

interface Attempt {
  readonly heard: string;
  readonly error: unknown;
  /** How often the password was asked for. */
  readonly asked: number;
}

async function meet(made: Server, heard: () => string, ca?: Buffer): Promise<Attempt> {
  let asked = 0;
  server = made;
  await new Promise<void>((resolve) => {
    made.listen(0, '127.0.0.1', resolve);
  });
  const jid = Jid.parse('romeo@home.example');
  if (jid === undefined) throw new Error('address');
  const error: unknown = await connect({
    jid,
    password: () => {
      asked += 1;
      return 'secret';
    },
    server: { host: '127.0.0.1', port: (made.address() as AddressInfo).port, tls: false },
    clock: systemClock,
    ...(ca !== undefined && { ca }),
  }).catch((reason: unknown) => reason);
  return { heard: heard(), error, asked };
}

test('no credentials leave when STARTTLS is stripped', async () => {
  const { heard, error, asked } = await attack(`${OPEN}<stream:features>${SASL}</stream:features>`);
  expect(error).toMatchObject({ code: 'no-tls', exit: 3 });
  expect(heard).not.toMatch(/auth|romeo/);
  expect(asked).toBe(0);
});

test('STARTTLS refused is no TLS', async () => {
  const { error } = await attack(
    `${OPEN}<stream:features>${TLS}</stream:features>`,
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
  );
  expect(error).toMatchObject({ code: 'no-tls' });
});

test('what is injected after proceed ends the attempt, whatever the real server says in TLS', async () => {
  const certificate = selfSigned('home.example');
  let heard = '';
  const made = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', function plain(bytes: Buffer) {
      if (!bytes.includes('<starttls')) {
        socket.write(`${OPEN}<stream:features>${TLS}</stream:features>`);
        return;
      }
      socket.off('data', plain);
      socket.write(`${PROCEED}<stream:features>${SASL}</stream:features>`);
      const secure = new TLSSocket(socket, { isServer: true, ...certificate });
      secure.on('error', () => undefined);
      secure.on('data', (inside: Buffer) => {
        heard += inside.toString();
        if (inside.includes('<auth')) secure.destroy();
        else secure.write(`${OPEN}<stream:features/>`);
      });
    });
  });
  const { error, asked } = await meet(made, () => heard, certificate.cert);
  expect(error).toMatchObject({ code: 'server-unreachable' });
  expect(asked).toBe(0);
  expect(heard).toBe('');
});

test('what comes in the clear in place of the handshake is no stream', async () => {
  const { heard, error, asked } = await attack(
    `${OPEN}<stream:features>${TLS}</stream:features>`,
    PROCEED,
    `${OPEN}<stream:features>${SASL}</stream:features>`,
  );
  expect(error).toMatchObject({ code: 'server-unreachable' });
  expect(heard).not.toMatch(/auth|romeo/);
  expect(asked).toBe(0);
});

test.each([
  ['document type', `<!DOCTYPE x [<!ENTITY a "b">]>${OPEN}`],
  ['entity', `${OPEN}<a>&a;</a>`],
  ['stray end', '</a>'],
  ['deep', `${OPEN}${'<a>'.repeat(200)}`],
  ['long', `${OPEN}<a>${'x'.repeat(2_000_000)}`],
  [
    'redirection in a loop',
    `${OPEN}<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>127.0.0.1</see-other-host></stream:error>`,
  ],
  ['flood', `${OPEN}${'<a/>'.repeat(1000)}`],
])('hostile: %s', async (_name, text) => {
  const { error, asked } = await attack(text);
  expect(error).toMatchObject({ code: 'server-unreachable', exit: 3 });
  expect(asked).toBe(0);
});
