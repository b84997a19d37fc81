import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readBundle, writeBundle } from '../../../src/omemo/bundle.ts';
import { generateKeyPair, LEGACY, signPreKey } from '../../../src/omemo/crypto/index.ts';
import { editDeviceList, MAX_DEVICES, parseDeviceList } from '../../../src/omemo/devicelist.ts';
import { readEncrypted, writeEncrypted } from '../../../src/omemo/header.ts';
import { NS_OMEMO } from '../../../src/omemo/names.ts';
import { fingerprintUri, parseFingerprint, parseFingerprintUri } from '../../../src/omemo/uri.ts';
import { xml } from '../../../src/xmpp/xml.ts';
import { parseXml, reparse } from '../../support/network.ts';
import { jid } from '../../support/omemo-world.ts';

const ids = fc.integer({ min: 1, max: 2 ** 31 - 1 });

describe('the device list', () => {
  it('reads what is sound and bounds how much', () => {
    const list = `<list xmlns='${NS_OMEMO}'><device id='1'/><device id='1'/><device/><device id='0'/>
      <device id='-3'/><device id='2147483648'/><device id='1e3'/><x id='9'/><device id='2'/></list>`;
    expect(parseDeviceList(parseXml(list))).toEqual([1, 2]);
    expect(parseDeviceList(undefined)).toEqual([]);
    expect(parseDeviceList(parseXml(`<list xmlns='urn:other'><device id='1'/></list>`))).toEqual(
      [],
    );
    const long = Array.from({ length: 1000 }, (_, i) => `<device id='${i + 1}'/>`).join('');
    const parsed = parseDeviceList(parseXml(`<list xmlns='${NS_OMEMO}'>${long}</list>`));
    expect(parsed).toHaveLength(MAX_DEVICES);
  });

  it('adds and removes without touching others', () => {
    fc.assert(
      fc.property(fc.uniqueArray(ids, { maxLength: 20 }), ids, (others, own) => {
        const before = xml(
          'list',
          { xmlns: NS_OMEMO },
          ...others.map((id) => xml('device', { id: String(id) })),
        );
        const added = editDeviceList(reparse(before), { add: own });
        expect(parseDeviceList(reparse(added))).toEqual([...new Set([...others, own])]);
        const removed = editDeviceList(reparse(added), { remove: new Set([own]) });
        expect(parseDeviceList(reparse(removed))).toEqual(others.filter((id) => id !== own));
      }),
    );
  });
});

describe('the bundle', () => {
  const identity = generateKeyPair();
  const signed = generateKeyPair();
  const bundle = {
    identityKey: identity.pub,
    signedPreKeyId: 0,
    signedPreKey: signed.pub,
    signature: signPreKey(LEGACY, identity.priv, signed.pub),
    preKeys: [1, 2, 3].map((id) => ({ id, key: generateKeyPair().pub })),
  };
  const text = writeBundle(bundle).toString();

  it('reads what it writes', () => {
    expect(readBundle(parseXml(text))).toEqual(bundle);
  });

  it.each([
    ['a wrong signature', text.replace(/(<signedPreKeySignature>)...../, '$1AAAAA')],
    ['no one-time prekey', text.replace(/<preKeyPublic.*<\/preKeyPublic>/, '')],
    ['no identity key', text.replace(/<identityKey>.*<\/identityKey>/, '')],
    ['another namespace', text.replaceAll(NS_OMEMO, 'urn:other')],
    [
      'a key without its type',
      text.replace(
        /<identityKey>.*<\/identityKey>/,
        `<identityKey>${identity.pub.toString('base64')}</identityKey>`,
      ),
    ],
  ])('refuses %s', (_name, broken) => {
    expect(readBundle(parseXml(broken))).toBeUndefined();
  });

  it('leaves a malformed one-time prekey out', () => {
    const broken = text.replace(/preKeyId="2">....../, 'preKeyId="2">!!!');
    expect(readBundle(parseXml(broken))?.preKeys.map(({ id }) => id)).toEqual([1, 3]);
  });
});

describe('the key transport element', () => {
  const entry = { device: 5, message: Buffer.from('abc'), isKeyExchange: true };

  it('reads what it writes, for the device that asks', () => {
    const iv = Buffer.alloc(12, 1);
    const element = reparse(
      writeEncrypted(3, [entry, { ...entry, device: 6 }], iv, Buffer.from('p')),
    );
    expect(readEncrypted(element, 5)).toEqual({ sender: 3, entry, iv });
    expect(readEncrypted(element, 7)).toBe('not-for-us');
  });

  it.each([
    `<encrypted xmlns='urn:other'><header sid='3'><key rid='5'>AAAA</key></header></encrypted>`,
    `<encrypted xmlns='${NS_OMEMO}'/>`,
    `<encrypted xmlns='${NS_OMEMO}'><header><key rid='5'>AAAA</key></header></encrypted>`,
    `<encrypted xmlns='${NS_OMEMO}'><header sid='3'><key rid='5'>!</key></header></encrypted>`,
    `<encrypted xmlns='${NS_OMEMO}'><header sid='3'><key rid='5'/></header></encrypted>`,
    `<encrypted xmlns='${NS_OMEMO}'><header sid='3'><key rid='5'>AAAA</key><key rid='5'>AAAA</key></header></encrypted>`,
  ])('refuses %s', (text) => {
    expect(readEncrypted(parseXml(text), 5)).toBe('malformed');
  });
});

describe('fingerprints and URIs', () => {
  const fingerprint = 'ab'.repeat(32);

  it('reads fingerprints as people write them', () => {
    expect(parseFingerprint(fingerprint.toUpperCase().replace(/(.{8})/g, '$1 '))).toBe(fingerprint);
    expect(parseFingerprint(`05${fingerprint}`)).toBe(fingerprint);
    expect(parseFingerprint(fingerprint.slice(2))).toBeUndefined();
    expect(parseFingerprint('xyz')).toBeUndefined();
  });

  it('makes the URI that clients scan, and reads it', () => {
    const uri = fingerprintUri(jid('bob@b.example/x'), 42, fingerprint);
    expect(uri).toBe(`xmpp:bob@b.example?omemo-sid-42=${fingerprint}`);
    const parsed = parseFingerprintUri(uri);
    expect(parsed?.jid.toString()).toBe('bob@b.example');
    expect(parsed?.devices).toEqual([{ device: 42, fingerprint }]);
    const two = parseFingerprintUri(`${uri};omemo-sid-43=${fingerprint}`);
    expect(two?.devices).toHaveLength(2);
  });

  it.each([
    'bob@b.example',
    'xmpp:',
    'xmpp:bob@b.example?omemo-sid-1=abcd',
    'xmpp:%ff@b?x',
    `xmpp:b@b?omemo-sid-0=${fingerprint}`,
  ])('refuses %s', (text) => {
    expect(parseFingerprintUri(text)).toBeUndefined();
  });
});
