import { createHash } from 'node:crypto';
import xml from '@xmpp/xml';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeChecksum,
  decodeDescription,
  decodeFile,
  decodeFileError,
  decodeReceived,
  encodeChecksum,
  encodeDescription,
  encodeFile,
  encodeReceived,
  fileError,
} from '../../../src/jingle/file-description.ts';
import { ALGORITHMS, decodeDigest, nodeName, sameHash } from '../../../src/jingle/hashes.ts';
import { ACTIONS, JINGLE, decodeJingle, encodeJingle } from '../../../src/jingle/stanza.ts';
import { reparse } from '../../support/network.ts';

const FT = 'urn:xmpp:jingle:apps:file-transfer:5';
const digest = createHash('sha256').update('a').digest();

describe('hashes', () => {
  it('reads raw and hexadecimal digests of every function', () => {
    for (const algorithm of ALGORITHMS) {
      const bytes = createHash(nodeName(algorithm)).update('a').digest();
      expect(decodeDigest(algorithm, bytes.toString('base64'))).toEqual(bytes);
      const hex = Buffer.from(bytes.toString('hex')).toString('base64');
      expect(decodeDigest(algorithm, hex)).toEqual(bytes);
      expect(decodeDigest(algorithm, bytes.subarray(1).toString('base64'))).toBeUndefined();
    }
  });

  it('compares function, length and value', () => {
    const hash = { algorithm: 'sha-256', digest } as const;
    expect(sameHash(hash, { ...hash, digest: Buffer.from(digest) })).toBe(true);
    expect(sameHash(hash, { ...hash, digest: Buffer.alloc(32) })).toBe(false);
    expect(sameHash(hash, { ...hash, algorithm: 'sha3-256' })).toBe(false);
  });
});

describe('file descriptions', () => {
  const file = {
    name: 'a.txt',
    size: 5,
    mediaType: 'text/plain',
    desc: '',
    date: new Date('2020-01-02T03:04:05Z'),
    hashes: [{ algorithm: 'sha-256', digest } as const],
    hashUsed: ['sha-512'] as const,
    range: { offset: 2, length: 3, hashes: [{ algorithm: 'sha-256', digest } as const] },
  };

  it('come back as they were, digests in either form', () => {
    for (const form of ['raw', 'hex'] as const)
      expect(decodeDescription(reparse(encodeDescription(file, form)))).toEqual(file);
  });

  it('always have a desc', () => {
    expect(encodeFile({ size: 0, hashes: [], hashUsed: [] }).getChild('desc')).toBeDefined();
  });

  it('never hold a size that is no number of bytes', () => {
    for (const size of ['-1', '1e3', 'NaN', '', '9007199254740992', '1.5', '0x10'])
      expect(() => decodeFile(xml('file', { xmlns: FT }, xml('size', {}, size)))).toThrow('size');
    const most = xml('file', { xmlns: FT }, xml('size', {}, '9007199254740991'));
    expect(decodeFile(most).size).toBe(Number.MAX_SAFE_INTEGER);
    expect(() => encodeFile({ size: NaN, hashes: [], hashUsed: [] })).toThrow(RangeError);
  });

  it('refuse what contradicts itself', () => {
    const size = () => xml('size', {}, '1');
    expect(() => decodeFile(xml('file', { xmlns: FT }, size(), size()))).toThrow('two of size');
    const range = xml('range', { offset: '9007199254740991', length: '1' });
    expect(() => decodeFile(xml('file', { xmlns: FT }, range))).toThrow('length');
  });

  it('read checksum, received and errors', () => {
    const checksum = {
      creator: 'initiator',
      name: 'c',
      file: { hashes: file.hashes, hashUsed: [], range: file.range },
    } as const;
    expect(decodeChecksum(reparse(encodeChecksum(checksum)))).toEqual(checksum);
    const received = reparse(encodeReceived('initiator', 'c'));
    expect(decodeReceived(received)).toEqual({ creator: 'initiator', name: 'c' });
    expect(decodeFileError(fileError('file-too-large'))).toBe('file-too-large');
    expect(decodeFileError(xml('other'))).toBeUndefined();
  });
});

describe('jingle stanzas', () => {
  const content = (name: string) => xml('content', { creator: 'initiator', name });
  const jingle = (attrs: Record<string, string>, ...children: ReturnType<typeof xml>[]) =>
    reparse(
      xml('jingle', { xmlns: JINGLE, action: 'session-info', sid: 's', ...attrs }, ...children),
    );

  it('come back as they were', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...ACTIONS),
        fc.stringMatching(/^[a-z0-9-]{1,40}$/),
        fc.uniqueArray(fc.stringMatching(/^[a-z]{1,9}$/), { minLength: 1, maxLength: 64 }),
        (action, sid, names) => {
          const contents = names.map(
            (name) => ({ creator: 'initiator', name, senders: 'initiator' }) as const,
          );
          const reason = { condition: 'success', text: 'bye' } as const;
          const value = { action, sid, contents, reason, payloads: [] };
          expect(decodeJingle(reparse(encodeJingle(value)))).toEqual(value);
        },
      ),
    );
  });

  it('are refused when malformed', () => {
    expect(() => decodeJingle(jingle({ sid: '' }))).toThrow('sid');
    expect(() => decodeJingle(jingle({ sid: 'x'.repeat(257) }))).toThrow('sid');
    expect(() => decodeJingle(jingle({ action: 'dance' }))).toThrow('action');
    expect(() => decodeJingle(jingle({ action: 'session-initiate' }))).toThrow('no content');
    expect(() => decodeJingle(jingle({ initiator: '@' }))).toThrow('initiator');
    expect(() => decodeJingle(jingle({}, content('a'), content('a')))).toThrow('two contents');
    const many = Array.from({ length: 65 }, (_, i) => content(String(i)));
    expect(() => decodeJingle(jingle({}, ...many))).toThrow('too many');
  });

  it('read the reasons that clients write', () => {
    const reason = (name: string) =>
      decodeJingle(jingle({ action: 'session-terminate' }, xml('reason', {}, xml(name)))).reason;
    expect(reason('failed_transport')?.condition).toBe('failed-transport');
    expect(reason('whatever')?.condition).toBe('general-error');
    expect(reason('success')?.condition).toBe('success');
  });
});
