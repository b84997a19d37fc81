import { expect, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.ts';
import { Jid } from '../../../src/core/jid.ts';
import { connect } from '../../../src/xmpp/connect.ts';
import { preparePassword } from '../../../src/xmpp/sasl/prepare.ts';
import { selfSigned } from '../../support/certificate.ts';
import { startXmppServer } from '../../support/xmpp-server.ts';

test.each([
  ['ASCII as it is', ' a "b"~', ' a "b"~'],
  ['a soft hyphen taken out', 'I\u00adX', 'IX'],
  ['case kept', 'USER', 'USER'],
  ['compatibility characters unified', '\u00aa\u2168', 'aIX'],
  ['combined and single accents are the same', 'u\u0308ber', '\u00fcber'],
  ['other spaces', 'a\u00a0b\u3000c', 'a b c'],
  ['zero width ones taken out', 'a\u200d\ufeff\u2060b', 'ab'],
  ['Arabic from end to end', '\u0627\u0031\u0628', '\u0627\u0031\u0628'],
  ['newer characters', 'a\u{1f600}', 'a\u{1f600}'],
])('RFC 4013: %s', async (_name, written, prepared) => {
  expect(await preparePassword(written)).toBe(prepared);
});

test.each([
  ['empty', ''],
  ['nothing left', '\u00ad\u200d'],
  ['a control character', 'a\u0007'],
  ['a tabulator', 'a\tb'],
  ['a control character beyond ASCII', 'a\u0085\u00e4'],
  ['private use', 'a\ue000'],
  ['a noncharacter', 'a\ufffe'],
  ['half of a surrogate pair', 'a\ud800'],
  ['a replacement character', 'a\ufffd'],
  ['a change of direction', 'a\u202e\u00e4'],
  ['a tag', 'a\u{e0041}'],
  ['both directions', '\u0627\u0061\u0628'],
  ['Arabic that ends in a digit', '\u0627\u0031'],
  ['too long', '\u00e4'.repeat(5000)],
])('RFC 4013 refuses: %s', async (_name, written) => {
  expect(await preparePassword(written)).toBeUndefined();
});

test('the server is sent the prepared form, and nothing of an unusable one', async () => {
  const certificate = selfSigned('home.example');
  const server = await startXmppServer({
    certificate,
    password: '\u00fcber IX',
    mechanisms: ['SCRAM-SHA-256'],
  });
  const logIn = async (password: string) => {
    const connection = await connect({
      jid: Jid.parse('romeo@home.example') as Jid,
      password: () => password,
      ca: certificate.cert,
      server: { host: '127.0.0.1', port: server.port, tls: true },
      clock: systemClock,
    });
    await connection.close();
  };
  await logIn('u\u0308ber\u00a0\u2168');
  expect(server.logins).toHaveLength(1);
  await expect(logIn('\u00fcber\u0007')).rejects.toMatchObject({
    code: 'unusable-password',
    exit: 3,
  });
  expect(server.logins).toHaveLength(1);
  await server.stop();
});
