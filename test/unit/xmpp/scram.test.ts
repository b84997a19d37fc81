import { expect, test } from 'vitest';
import { clientFinal, clientFirst, verifyServer } from '../../../src/xmpp/sasl/scram.ts';

const VECTORS = [
  {
    hash: 'sha1', // RFC 5802 §5
    nonce: 'fyko+d2lbbFgONRv9qkxdawL',
    server: 'r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096',
    final: 'c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    proof: 'v=rmF9pqV8S7suAoZWja4dJRkFsKQ=',
  },
  {
    hash: 'sha256', // RFC 7677 §3
    nonce: 'rOprNGfwEbeRWgbNEkqO',
    server:
      'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    final:
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    proof: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  },
] as const;

for (const { hash, nonce, server, final, proof } of VECTORS) {
  test(`SCRAM with ${hash} gives the messages of its RFC`, async () => {
    const first = clientFirst(hash, 'user', nonce, { flag: 'n' });
    expect(first.message).toBe(`n,,n=user,r=${nonce}`);
    const last = await clientFinal(first, server, 'pencil');
    expect(last.message).toBe(final);
    expect(() => verifyServer(last, proof)).not.toThrow();
    expect(() => verifyServer(last, proof.replace('v=', 'v=A'))).toThrow('signature');
    expect(() => verifyServer(last, '')).toThrow('no signature');
  });
}

test('hostile challenges are refused', async () => {
  const first = clientFirst('sha256', 'a=b,c', 'abc', { flag: 'y' });
  expect(first.message).toBe('y,,n=a=3Db=2Cc,r=abc');
  for (const server of [
    'r=abc,s=QSXCR+Q6sek8bf92,i=4096',
    'r=xyzdef,s=QSXCR+Q6sek8bf92,i=4096',
    'r=abcdef,s=QSXCR+Q6sek8bf92,i=1',
    'r=abcdef,s=QSXCR+Q6sek8bf92,i=999999999',
    'r=abcdef,s=,i=4096',
    'm=x,r=abcdef,s=QSXCR+Q6sek8bf92,i=4096',
  ])
    await expect(clientFinal(first, server, 'pencil')).rejects.toThrow('challenge');
});
