import { type Element, xml } from '@xmpp/xml';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import {
  aes128gcm,
  aes256gcm,
  aesGcm,
  defaultCiphers,
  GCM_MAX_BYTES,
} from '../../../src/jet/ciphers.ts';
import { EnvelopeError, EnvelopeRegistry } from '../../../src/jet/envelope.ts';
import { openSecurity, sealSecurity } from '../../../src/jet/exchange.ts';
import { jetFeatures } from '../../../src/jet/features.ts';
import { checkSize } from '../../../src/jet/limits.ts';
import { NS_JET, readSecurity, SecurityError, writeSecurity } from '../../../src/jet/security.ts';
import { NS_STUB, stubEnvelope } from '../../../src/jet/stub-envelope.ts';
import { parse } from '../../../src/xmpp/xml.ts';

const URN = aes128gcm.urn;

function jid(text: string): Jid {
  const read = Jid.parse(text);
  if (read === undefined) throw new Error(text);
  return read;
}

const romeo = jid('romeo@montague.example/orchard');

function payload(bytes: Buffer): Element {
  const text = bytes.toString('base64');
  return xml('encrypted', { xmlns: NS_STUB }, xml('payload', {}, text));
}

function content(...children: Element[]): Element {
  return xml('content', { xmlns: 'urn:xmpp:jingle:1', name: 'a-file' }, ...children);
}

function security(attrs: Record<string, string>, ...inside: Element[]): Element {
  return xml('security', { xmlns: NS_JET, cipher: URN, type: NS_STUB, ...attrs }, ...inside);
}

function reason(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof SecurityError) return error.reason;
    throw error;
  }
  return 'none';
}

const registry = new EnvelopeRegistry();
registry.register(stubEnvelope);

function open(element: Element, from = romeo) {
  return openSecurity(element, from, defaultCiphers(), registry);
}

test('what is written reads back, through text', () => {
  const envelope = payload(Buffer.alloc(28));
  const extension = xml('more', { xmlns: 'urn:example:more' });
  const parts = { name: 'a-file', cipher: URN, type: NS_STUB, envelope, extensions: [extension] };
  const text = content(writeSecurity(parts)).toString();
  const read = readSecurity(parse(text) ?? envelope);
  expect(read).toMatchObject({ name: 'a-file', cipher: URN, type: NS_STUB });
  expect(read.envelope.getChildText('payload')).toBe(envelope.getChildText('payload'));
  expect(read.extensions.map(String)).toEqual([extension.toString()]);
});

test('a security without a name is taken, and written again without one', () => {
  const read = readSecurity(content(security({}, payload(Buffer.alloc(28)))));
  expect(read.name).toBeUndefined();
  expect('name' in writeSecurity(read).attrs).toBe(false);
});

const envelope = () => payload(Buffer.alloc(28));

test.each<[string, () => Element]>([
  ['missing', () => content()],
  ['missing', () => content(xml('security', { xmlns: 'urn:xmpp:jingle:jet:1' }, envelope()))],
  ['repeated', () => content(security({}, envelope()), security({}, envelope()))],
  ['wrong-content', () => content(security({ name: 'another' }, envelope()))],
  ['malformed', () => content(security({ name: '' }, envelope()))],
  ['malformed', () => content(security({ cipher: '' }, envelope()))],
  ['malformed', () => content(security({ cipher: 'x'.repeat(1025) }, envelope()))],
  ['malformed', () => content(security({}))],
  ['malformed', () => content(security({}, envelope(), envelope()))],
  ['malformed', () => content(security({ type: 'urn:example:other' }, envelope()))],
  ['malformed', () => content(xml('security', { xmlns: NS_JET, type: NS_STUB }, envelope()))],
  ['malformed', () => content(xml('security', { xmlns: NS_JET, cipher: URN }, envelope()))],
])('refused as %s (%#)', (expected, make) => {
  expect(reason(() => readSecurity(make()))).toBe(expected);
});

test('no content makes reading fail in another way', () => {
  const text = fc.string({ maxLength: 20 });
  const name = fc.constantFrom('security', 'encrypted', 'other');
  const space = fc.constantFrom(NS_JET, NS_STUB, 'urn:example');
  const attrs = fc.dictionary(fc.constantFrom('name', 'cipher', 'type', 'toString'), text);
  const element = fc
    .record({ name, space, attrs, inside: fc.array(fc.tuple(name, space), { maxLength: 3 }) })
    .map((made) =>
      xml(
        made.name,
        { ...made.attrs, xmlns: made.space },
        ...made.inside.map(([inner, xmlns]) => xml(inner, { xmlns }, 'text')),
      ),
    );
  fc.assert(
    fc.property(fc.array(element, { maxLength: 3 }), (elements) => {
      expect(typeof reason(() => readSecurity(content(...elements)))).toBe('string');
    }),
  );
});

test('a sealed secret opens as the same', async () => {
  for (const cipher of [aes128gcm, aes256gcm]) {
    const sealed = await sealSecurity('a-file', cipher, stubEnvelope, romeo);
    expect(sealed.element.attrs).toMatchObject({ name: 'a-file', cipher: cipher.urn });
    const opened = await open(content(sealed.element));
    expect(opened.cipher).toBe(cipher);
    expect(opened.secret.key.equals(sealed.secret.key)).toBe(true);
    expect(opened.secret.iv.equals(sealed.secret.iv)).toBe(true);
    expect(opened.sender.jid.sameBare(romeo)).toBe(true);
  }
});

test('either spelling of the cipher and both lengths of IV open', async () => {
  for (const length of [28, 32]) {
    const cipher = `${URN}:0`;
    const opened = await open(
      content(security({ cipher }, payload(Buffer.alloc(length, 1).fill(2, 16)))),
    );
    expect(opened.secret.iv).toHaveLength(length - 16);
  }
});

test.each([
  ['unknown-cipher', { cipher: 'urn:xmpp:ciphers:rot13' }],
  ['unknown-cipher', { cipher: `${URN}:1` }],
])('refused as %s: %j', async (expected, attrs) => {
  await expect(open(content(security(attrs, envelope())))).rejects.toMatchObject({
    reason: expected,
  });
});

test('an envelope is for the ciphers that it names', async () => {
  const narrow = { ...stubEnvelope, ciphers: [URN] };
  const envelopes = new EnvelopeRegistry();
  envelopes.register(narrow);
  const wide = content(security({ cipher: aes256gcm.urn }, payload(Buffer.alloc(44))));
  const refusal = { reason: 'unknown-cipher' };
  await expect(openSecurity(wide, romeo, defaultCiphers(), envelopes)).rejects.toMatchObject(
    refusal,
  );
  await expect(sealSecurity('a', aes256gcm, narrow, romeo)).rejects.toMatchObject(refusal);
});

test('an unknown envelope is refused', async () => {
  const none = new EnvelopeRegistry();
  await expect(
    openSecurity(content(security({}, envelope())), romeo, defaultCiphers(), none),
  ).rejects.toMatchObject({ reason: 'unknown-envelope' });
});

test.each([
  ['no payload', xml('encrypted', { xmlns: NS_STUB })],
  ['another element', xml('sealed', { xmlns: NS_STUB }, xml('payload', {}, 'AAAA'))],
  ['no base64', xml('encrypted', { xmlns: NS_STUB }, xml('payload', {}, '!'))],
  ['a key too short', payload(Buffer.alloc(27))],
  ['a key for another cipher', payload(Buffer.alloc(44))],
])('the stub refuses %s', async (_, element) => {
  const opening = open(content(security({}, element)));
  await expect(opening).rejects.toBeInstanceOf(EnvelopeError);
  await expect(opening).rejects.toMatchObject({ reason: 'malformed' });
});

test('a secret that does not fit is wiped and refused, whatever the envelope says', async () => {
  const secret = { key: Buffer.alloc(5, 1), iv: Buffer.alloc(12, 1) };
  const sender = { jid: romeo, device: 1, identityKey: Buffer.alloc(32) };
  const envelopes = new EnvelopeRegistry();
  envelopes.register({ ...stubEnvelope, open: () => Promise.resolve({ secret, sender }) });
  await expect(
    openSecurity(content(security({}, envelope())), romeo, defaultCiphers(), envelopes),
  ).rejects.toMatchObject({ reason: 'malformed' });
  expect(secret.key.equals(Buffer.alloc(5))).toBe(true);
});

test('features follow what is registered', () => {
  expect(jetFeatures(defaultCiphers(), new EnvelopeRegistry())).toEqual([
    NS_JET,
    aes128gcm.urn,
    aes256gcm.urn,
  ]);
  const ciphers = defaultCiphers();
  ciphers.register(aesGcm(128, 10));
  expect(ciphers.all).toHaveLength(2);
  expect(jetFeatures(ciphers, registry)).toContain('urn:xmpp:jingle:jet-stub:0');
});

test('a size beyond the cipher is refused before an offer or an accept', () => {
  expect(GCM_MAX_BYTES).toBe(68_719_476_704);
  for (const size of [0, 1, GCM_MAX_BYTES]) checkSize(size, aes128gcm, 'send');
  for (const size of [GCM_MAX_BYTES + 1, -1, 1.5, Number.NaN, Infinity]) {
    for (const [side, exit] of [
      ['send', 8],
      ['receive', 9],
    ] as const) {
      const refused = () => checkSize(size, aes128gcm, side);
      expect(refused).toThrow(expect.objectContaining({ code: 'file-too-large', exit }) as Error);
    }
  }
});
