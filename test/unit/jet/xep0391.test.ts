/**
 * XEP-0391 §3 to §7 (version 0.1.2): a test for every MUST and SHOULD that the parts of JET meet on their own,
 * and for the plain statements of §4 and §5 on which two clients must agree to understand each other.
 */
import { createDecipheriv } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { type Element, xml } from '@xmpp/xml';
import { expect, test } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import { Exit, JetError } from '../../../src/core/errors.ts';
import { aes128gcm, aes256gcm, defaultCiphers } from '../../../src/jet/ciphers.ts';
import { type Envelope, EnvelopeRegistry } from '../../../src/jet/envelope.ts';
import { openSecurity, sealSecurity } from '../../../src/jet/exchange.ts';
import { jetFeatures } from '../../../src/jet/features.ts';
import { Decryptor, Encryptor } from '../../../src/jet/gcm.ts';
import { freshSecret } from '../../../src/jet/secret.ts';
import { stubEnvelope } from '../../../src/jet/stub-envelope.ts';
import { sendStream } from '../../../src/transfer/pump.ts';
import { byteStream } from '../../support/sockets.ts';
import { parse } from '../../../src/xmpp/xml.ts';

function jid(text: string): Jid {
  const read = Jid.parse(text);
  if (read === undefined) throw new Error(text);
  return read;
}

const romeo = jid('romeo@montague.example/dr4hcr0st3lup4c');
const juliet = jid('juliet@capulet.example/yn0cl4bnw0yr3vym');
const mallory = jid('mallory@evil.example/x');

function registryOf(...envelopes: Envelope[]): EnvelopeRegistry {
  const registry = new EnvelopeRegistry();
  for (const envelope of envelopes) registry.register(envelope);
  return registry;
}

function content(...children: Element[]): Element {
  return xml('content', { xmlns: 'urn:xmpp:jingle:1', name: 'a-file-offer' }, ...children);
}

const open = (element: Element, from = romeo, envelope: Envelope = stubEnvelope) =>
  openSecurity(element, from, defaultCiphers(), registryOf(envelope));

test('§3 MUST: an end-to-end session exists before; without one nothing is sealed', async () => {
  const error = new JetError(Exit.security, 'no-device', 'no device of the peer is known.');
  const without: Envelope = { ...stubEnvelope, seal: () => Promise.reject(error) };
  await expect(sealSecurity('a', aes128gcm, without, juliet)).rejects.toBe(error);
});

test('§3: the envelope is sealed for the account of the peer, the secret is in it alone', async () => {
  const asked: Jid[] = [];
  const envelope: Envelope = {
    ...stubEnvelope,
    seal: (_secret, to) => {
      asked.push(to);
      return Promise.resolve(xml('encrypted', { xmlns: stubEnvelope.type }));
    },
  };
  const { secret, element } = await sealSecurity('a', aes128gcm, envelope, juliet);
  expect(asked.map(String)).toEqual(['juliet@capulet.example']);
  const text = element.toString();
  for (const part of [secret.key, secret.iv])
    for (const form of ['base64', 'hex'] as const) expect(text).not.toContain(part.toString(form));
});

test('§3 MUST: both parties keep the secret until the session is ended', async () => {
  const sealed = await sealSecurity('a-file-offer', aes128gcm, stubEnvelope, juliet);
  const { secret } = await open(content(sealed.element));
  const before = Buffer.concat([sealed.secret.key, sealed.secret.iv]);
  const duplex = new PassThrough();
  const source = {
    async *read() {
      yield await Promise.resolve(Buffer.from('bytes'));
    },
  };
  duplex.resume();
  const bytestream = byteStream(duplex);
  await sendStream({ bytestream, cipher: aes128gcm, secret: sealed.secret, source });
  const decryptor = new Decryptor(aes128gcm, secret, 0);
  const empty = new Encryptor(aes128gcm, secret).final();
  decryptor.update(empty);
  decryptor.final();
  for (const { key, iv } of [sealed.secret, secret])
    expect(Buffer.concat([key, iv]).equals(before)).toBe(true);
});

test('§4.1: the element of the example is read', async () => {
  const key = Buffer.alloc(44, 7).fill(8, 32).toString('base64');
  const text = `<content xmlns='urn:xmpp:jingle:1' creator='initiator' name='a-file-offer' senders='initiator'>
      <security xmlns='urn:xmpp:jingle:jet:0' name='a-file-offer'
          cipher='urn:xmpp:ciphers:aes-256-gcm-nopadding' type='urn:xmpp:encryption:stub:0'>
        <encrypted xmlns='urn:xmpp:encryption:stub:0'><payload>${key}</payload></encrypted>
      </security></content>`;
  const { cipher, secret } = await open(parse(text) ?? content());
  expect(cipher).toBe(aes256gcm);
  expect(secret.key.equals(Buffer.alloc(32, 7))).toBe(true);
  expect(secret.iv.equals(Buffer.alloc(12, 8))).toBe(true);
});

test('§4.1 and §4.2: the secret encrypts in either direction, whoever made it', async () => {
  const made = await sealSecurity('a-file-offer', aes128gcm, stubEnvelope, romeo);
  const got = await open(content(made.element), juliet);
  for (const [one, other] of [
    [made.secret, got.secret],
    [got.secret, made.secret],
  ] as const) {
    const sender = new Encryptor(aes128gcm, one);
    const receiver = new Decryptor(aes128gcm, other, 4);
    const out = receiver.update(
      Buffer.concat([sender.update(Buffer.from('file')), sender.final()]),
    );
    expect(receiver.final().verified).toBe(true);
    expect(out.bytes.toString()).toBe('file');
  }
});

test('§4.3: every session has a fresh secret', async () => {
  const seen = new Set<string>();
  for (let i = 0; i < 50; i++) {
    const { secret } = await sealSecurity('restart', aes128gcm, stubEnvelope, juliet);
    seen.add(secret.key.toString('hex')).add(secret.iv.toString('hex'));
  }
  expect(seen.size).toBe(100);
});

test.each([
  [aes128gcm, 'urn:xmpp:ciphers:aes-128-gcm-nopadding:0', 128],
  [aes256gcm, 'urn:xmpp:ciphers:aes-256-gcm-nopadding:0', 256],
] as const)('§5: the cipher $urn has its key of %s and an IV of 96 bits', (cipher, urn, bits) => {
  expect(defaultCiphers().get(urn)).toBe(cipher);
  const secret = freshSecret(cipher);
  expect([secret.key.length * 8, secret.iv.length * 8]).toEqual([bits, 96]);
  // GCM/NoPadding, as any other implementation opens it.
  const gcm = new Encryptor(cipher, secret);
  const wire = Buffer.concat([gcm.update(Buffer.from('seventeen bytes..')), gcm.final()]);
  expect(wire).toHaveLength(17 + 16);
  const other = createDecipheriv(cipher.algorithm, secret.key, secret.iv);
  other.setAuthTag(wire.subarray(17));
  const plain = Buffer.concat([other.update(wire.subarray(0, 17)), other.final()]);
  expect(plain.toString()).toBe('seventeen bytes..');
});

test('§6 MUST: disco#info has the URN of JET and of every extension that is supported', () => {
  const features = jetFeatures(defaultCiphers(), registryOf(stubEnvelope));
  expect(features).toContain('urn:xmpp:jingle:jet:0');
  expect(features).toContain('urn:xmpp:jingle:jet-stub:0');
  expect(jetFeatures(defaultCiphers(), registryOf())).not.toContain('urn:xmpp:jingle:jet-stub:0');
});

test('§7 SHOULD NOT: the key is not used as IV, both are drawn apart', () => {
  for (const cipher of [aes128gcm, aes256gcm])
    for (let i = 0; i < 100; i++) {
      const { key, iv } = freshSecret(cipher);
      expect(key.buffer === iv.buffer && key.byteOffset === iv.byteOffset).toBe(false);
      expect(key.includes(iv.subarray(0, 8))).toBe(false);
    }
});

test('§7: an IV that shows the key is refused', async () => {
  const key = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
  const envelopeOf = (iv: Buffer) => stubEnvelope.seal({ key, iv }, juliet);
  const openIv = async (iv: Buffer) => {
    const [cipher, type] = [aes128gcm.urn, stubEnvelope.type];
    const attrs = { xmlns: 'urn:xmpp:jingle:jet:0', cipher, type };
    return open(content(xml('security', attrs, await envelopeOf(iv))));
  };
  for (const iv of [key, key.subarray(0, 12), key.subarray(2, 14), key.subarray(4)])
    await expect(openIv(iv)).rejects.toMatchObject({ reason: 'key-as-iv' });
  await expect(openIv(Buffer.alloc(12))).resolves.toMatchObject({ cipher: aes128gcm });
});

test('§7 MUST: whatever is wrong is an error, never a transfer in the clear', async () => {
  const { element } = await sealSecurity('a-file-offer', aes128gcm, stubEnvelope, juliet);
  const changed = (attrs: Record<string, string>) =>
    content(xml('security', { ...element.attrs, ...attrs }, ...element.children));
  const wrong = [
    content(),
    content(element, element),
    content(xml('security', element.attrs)),
    changed({ cipher: 'urn:xmpp:ciphers:none' }),
    changed({ type: 'urn:xmpp:encryption:none' }),
    changed({ name: 'another' }),
    changed({ cipher: aes256gcm.urn }),
  ];
  for (const one of wrong) await expect(open(one)).rejects.toThrow(Error);
  await expect(open(content(element))).resolves.toMatchObject({ cipher: aes128gcm });
});

test('§7 MUST: the envelope belongs to the initiator', async () => {
  const { element } = await sealSecurity('a-file-offer', aes128gcm, stubEnvelope, juliet);
  const asked: string[] = [];
  // An envelope of mallory, in a stanza of romeo.
  const foreign: Envelope = {
    ...stubEnvelope,
    open: async (envelope, from, length) => {
      asked.push(String(from));
      const opened = await stubEnvelope.open(envelope, from, length);
      return { ...opened, sender: { ...opened.sender, jid: mallory.bare } };
    },
  };
  await expect(open(content(element), romeo, foreign)).rejects.toMatchObject({
    name: 'EnvelopeError',
    reason: 'untrusted',
  });
  // The envelope is asked about the account that the server vouches for.
  expect(asked).toEqual(['romeo@montague.example']);
});
