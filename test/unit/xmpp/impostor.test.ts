import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.ts';
import { Jid } from '../../../src/core/jid.ts';
import { connect } from '../../../src/xmpp/connect.ts';
import { selfSigned, type Certificate } from '../../support/certificate.ts';

const home = selfSigned('home.example');
let server: Server | undefined;

afterEach(() => server?.close());

const NS = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
const base64 = (text: string) => Buffer.from(text).toString('base64');

interface Meeting {
  readonly certificate?: Certificate;
  /** As `--server` names it. */
  readonly host?: string;
  readonly password?: () => Promise<string>;
  /** What follows the offer of mechanisms unasked. */
  readonly more?: string;
  /** Told once that has left. */
  readonly offered?: () => void;
}

/** A server with a certificate, by default for home.example, that knows no password. */
async function meet(
  account: string,
  mechanisms: string[],
  answer: (got: string) => string,
  meeting: Meeting = {},
) {
  const { certificate = home, host = '127.0.0.1', more = '', offered } = meeting;
  const { password = () => 'secret' } = meeting;
  let heard = '';
  const made = createServer(certificate, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes: Buffer) => {
      const text = bytes.toString();
      heard += text;
      if (text.includes('<stream:stream'))
        socket.write(
          `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'><stream:features><mechanisms ${NS}>${mechanisms.map((m) => `<mechanism>${m}</mechanism>`).join('')}</mechanisms></stream:features>${more}`,
          offered,
        );
      else socket.write(answer(text));
    });
  });
  server = made;
  await new Promise<void>((resolve) => {
    made.listen(0, '127.0.0.1', resolve);
  });
  const jid = Jid.parse(account);
  if (jid === undefined) throw new Error(account);
  const error: unknown = await connect({
    jid,
    password,
    ca: certificate.cert,
    server: { host, port: (made.address() as AddressInfo).port, tls: true },
    clock: systemClock,
  }).catch((reason: unknown) => reason);
  return { error, heard };
}

test('the certificate has to be for the domain of the address', async () => {
  const { error, heard } = await meet('romeo@other.example', ['PLAIN'], () => '');
  expect(error).toMatchObject({ code: 'untrusted-certificate', exit: 3 });
  expect(heard).toBe('');
});

test('a certificate for the place that --server names is none for the address', async () => {
  const { error, heard } = await meet('romeo@home.example', ['PLAIN'], () => '', {
    ...{ certificate: selfSigned('localhost'), host: 'localhost' },
  });
  expect(error).toMatchObject({ code: 'untrusted-certificate', exit: 3 });
  expect(heard).toBe('');
});

test('a server that floods us while the password is asked for is left', async () => {
  let reach: () => void = () => undefined;
  const flooded = new Promise<void>((resolve) => (reach = resolve));
  const { error, heard } = await meet('romeo@home.example', ['PLAIN'], () => '', {
    ...{ more: '<a/>'.repeat(300), offered: () => setTimeout(reach, 50) },
    password: async () => {
      await flooded;
      return 'secret';
    },
  });
  expect(error).toMatchObject({ code: 'server-unreachable', exit: 3 });
  expect(heard).not.toContain('<auth');
});

/** Challenges whoever logs in, and then ends with this. */
const challenge = (end: string) => (got: string) => {
  const sent = Buffer.from(/>([A-Za-z0-9+/=]+)</.exec(got)?.[1] ?? '', 'base64').toString();
  const nonce = /r=([^,]+)/.exec(sent)?.[1] ?? '';
  return got.includes('<auth')
    ? `<challenge ${NS}>${base64(`r=${nonce}more,s=QSXCR+Q6sek8bf92,i=4096`)}</challenge>`
    : `<success ${NS}>${base64(end)}</success>`;
};

test.each([
  ['a success without proof at once', () => `<success ${NS}/>`],
  ['no signature', challenge('')],
  ['a signature that is too short', challenge(`v=${Buffer.alloc(8).toString('base64')}`)],
  ['a wrong signature', challenge(`v=${Buffer.alloc(32).toString('base64')}`)],
])('a server that does not know the password is found out: %s', async (_name, answer) => {
  const { error, heard } = await meet(
    'romeo@home.example',
    ['PLAIN', 'SCRAM-SHA-1', 'SCRAM-SHA-256'],
    answer,
  );
  expect(error).toMatchObject({ code: 'server-not-proven', exit: 3 });
  expect(heard).toContain('mechanism="SCRAM-SHA-256"');
  expect(heard).not.toContain(base64('\0romeo\0secret'));
});

test('a wrong password is told', async () => {
  const { error } = await meet(
    'romeo@home.example',
    ['PLAIN'],
    () => `<failure ${NS}><not-authorized/></failure>`,
  );
  expect(error).toMatchObject({ code: 'wrong-password', exit: 3 });
});
