/** Logging in by SCRAM bound to the channel, against a server that computes all of it on its own. */
import { connect as tlsConnect, createServer } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.ts';
import { Jid } from '../../../src/core/jid.ts';
import { connect } from '../../../src/xmpp/connect.ts';
import { selfSigned } from '../../support/certificate.ts';
import { startXmppServer, type ServerOptions, type XmppServer } from '../../support/xmpp-server.ts';

const certificate = selfSigned('home.example');
const BOTH = ['tls-exporter', 'tls-server-end-point'];
const ALL = ['PLAIN', 'SCRAM-SHA-1', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS'];

async function serve(options: Partial<ServerOptions>): Promise<XmppServer> {
  const server = await startXmppServer({
    certificate,
    password: 'secret',
    mechanisms: ALL,
    bindingTypes: BOTH,
    ...options,
  });
  onTestFinished(() => server.stop());
  return server;
}

/** Logs in and out again; gives the error, if there was one. */
async function logIn(port: number, ca = certificate.cert, password = 'secret'): Promise<unknown> {
  try {
    const connection = await connect({
      jid: Jid.parse('romeo@home.example') as Jid,
      password: () => password,
      ca,
      server: { host: '127.0.0.1', port, tls: true },
      clock: systemClock,
    });
    await connection.close();
    return undefined;
  } catch (error) {
    return error;
  }
}

test.each<[string, Partial<ServerOptions>, string, string]>([
  ['the exporter of TLS 1.3', {}, 'SCRAM-SHA-256-PLUS', 'p=tls-exporter,,'],
  [
    'the exporter when the server does not say what it knows',
    { mechanisms: ALL, bindingTypes: undefined },
    'SCRAM-SHA-256-PLUS',
    'p=tls-exporter,,',
  ],
  [
    'the certificate inside TLS 1.2',
    { maxVersion: 'TLSv1.2' },
    'SCRAM-SHA-256-PLUS',
    'p=tls-server-end-point,,',
  ],
  [
    'the certificate when the server knows no other',
    { bindingTypes: ['tls-unique', 'tls-server-end-point'] },
    'SCRAM-SHA-256-PLUS',
    'p=tls-server-end-point,,',
  ],
  [
    'a bound SHA-1 before an unbound SHA-256',
    { mechanisms: ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-1-PLUS'] },
    'SCRAM-SHA-1-PLUS',
    'p=tls-exporter,,',
  ],
  [
    'nothing when the server knows no binding of ours',
    { bindingTypes: ['tls-unique'] },
    'SCRAM-SHA-256',
    'n,,',
  ],
  [
    'nothing, and says that it could, when the server offers none',
    { mechanisms: ['PLAIN', 'SCRAM-SHA-1', 'SCRAM-SHA-256'], bindingTypes: undefined },
    'SCRAM-SHA-256',
    'y,,',
  ],
  [
    'the exporter, the signature coming in a challenge',
    { asksForEnd: true },
    'SCRAM-SHA-256-PLUS',
    'p=tls-exporter,,',
  ],
])('binds to %s', async (_what, options, mechanism, header) => {
  const server = await serve(options);
  expect(await logIn(server.port)).toBeUndefined();
  expect(server.logins).toEqual([{ mechanism, header }]);
});

test('binds to a certificate by the hash that it is signed with', async () => {
  const strong = selfSigned('home.example', 'sha384');
  const server = await serve({
    certificate: strong,
    certificateHash: 'sha384',
    bindingTypes: ['tls-server-end-point'],
  });
  expect(await logIn(server.port, strong.cert)).toBeUndefined();
  expect(server.logins[0]?.header).toBe('p=tls-server-end-point,,');
});

test('a wrong password is told apart from a wrong server', async () => {
  const server = await serve({});
  expect(await logIn(server.port, certificate.cert, 'other')).toMatchObject({
    code: 'wrong-password',
  });
});

test.each([{}, { asksForEnd: true }])(
  'a bound server whose signature is wrong is found out: %o',
  async (options) => {
    const server = await serve({ ...options, lies: true });
    expect(await logIn(server.port)).toMatchObject({ code: 'server-not-proven', exit: 3 });
    // Nothing of a session follows.
    expect(server.heard.map((element) => element.getName())).not.toContain('iq');
  },
);

test('the server notices when somebody took its bound mechanisms away', async () => {
  const server = await serve({
    mechanisms: ['SCRAM-SHA-1', 'SCRAM-SHA-256'],
    bindingTypes: undefined,
    has: ALL,
  });
  expect(await logIn(server.port)).toMatchObject({ exit: 3 });
  expect(server.logins).toEqual([{ mechanism: 'SCRAM-SHA-256', header: 'y,,' }]);
});

test.each([['tls-exporter'], ['tls-server-end-point']])(
  'somebody between with a certificate that is trusted, too, gets nowhere past %s',
  async (type) => {
    const server = await serve({ bindingTypes: [type] });
    const stolen = selfSigned('home.example');
    const between = createServer(stolen, (near) => {
      const far = tlsConnect({
        ...{ host: '127.0.0.1', port: server.port, servername: 'home.example' },
        ca: certificate.cert,
      });
      near.on('error', () => far.destroy());
      far.on('error', () => near.destroy());
      near.pipe(far).pipe(near);
    });
    onTestFinished(() => void between.close());
    await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve));
    const both = Buffer.concat([certificate.cert, stolen.cert]);
    const { port } = between.address() as AddressInfo;
    expect(await logIn(port, both)).toMatchObject({ exit: 3 });
    expect(server.logins).toEqual([{ mechanism: 'SCRAM-SHA-256-PLUS', header: `p=${type},,` }]);
    expect(server.heard.map((element) => element.getName())).not.toContain('iq');
  },
);
