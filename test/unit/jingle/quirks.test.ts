import { describe, expect, it } from 'vitest';
import { decodeHash, encodeHash } from '../../../src/jingle/hashes.ts';
import { checksumCovers, PLAIN, quirksOf } from '../../../src/jingle/quirks.ts';

const shown = (software?: string) => ({ software, features: new Set<string>() });

describe('what single clients need', () => {
  it('is nothing for whoever is not known', () => {
    for (const software of [undefined, '', 'jet', 'Conversations', 'dino', 'Libervia 2'])
      expect(quirksOf(shown(software))).toEqual(PLAIN);
    expect(PLAIN).toMatchObject({ greeting: 'none', tagged: false, hashForm: 'raw' });
  });

  it('is a message with a payload for Dino, once', () => {
    const dino = quirksOf(shown('Dino'));
    expect(dino).toMatchObject({ greeting: 'unreadable', greetAlways: false, answers: false });
    expect(dino).toMatchObject({ tagged: false, hashForm: 'raw' });
  });

  it('is an empty message before each offer, the tag and hexadecimal digests for Libervia', () => {
    const libervia = quirksOf(shown('Libervia'));
    expect(libervia).toMatchObject({ greeting: 'empty', greetAlways: true, answers: true });
    expect(libervia).toMatchObject({ tagged: true, hashForm: 'hex' });
    const hash = { algorithm: 'sha-256' as const, digest: Buffer.alloc(32, 0xab) };
    const element = encodeHash(hash, libervia.hashForm);
    expect(Buffer.from(element.getText(), 'base64').toString()).toBe('ab'.repeat(32));
    expect(decodeHash(element)).toEqual(hash);
  });

  it('takes a checksum without a creator for one of ciphertext and tag, as Conversations writes it', () => {
    expect(checksumCovers({})).toBe('wire');
    for (const creator of ['initiator', 'responder'])
      expect(checksumCovers({ creator })).toBe('file');
  });
});
