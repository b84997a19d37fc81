import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Hash } from '../../../src/jingle/hashes.ts';
import { Proof } from '../../../src/transfer/proof.ts';

const sha256 = (text: string): Hash => ({
  algorithm: 'sha-256',
  digest: createHash('sha256').update(text).digest(),
});
const nothing = { hashes: [], hashUsed: [] };
const mismatch = /its hash is not the one that was given/;

describe('the digests that a sender gave', () => {
  it('of the file have to be those of the file', () => {
    const proof = new Proof(nothing, 5);
    expect(proof.add({ hashes: [sha256('plain')] })).toBe(true);
    proof.check([sha256('plain')]);
    expect(() => proof.check([sha256('other')])).toThrow(mismatch);
  });

  it('of what went over the wire have to be those of that', () => {
    const proof = new Proof(nothing, 5);
    expect(proof.add({ hashes: [sha256('wire')] }, 'wire')).toBe(true);
    proof.check([sha256('plain')], sha256('wire').digest);
    expect(() => proof.check([sha256('wire')], sha256('plain').digest)).toThrow(mismatch);
    // Where it was not computed nothing is taken on trust.
    expect(() => proof.check([sha256('wire')])).toThrow(mismatch);
  });

  it('of the wire count with SHA-256 alone', () => {
    const weak: Hash = { algorithm: 'sha-1', digest: Buffer.alloc(20) };
    const proof = new Proof(nothing, 5);
    expect(proof.add({ hashes: [weak] }, 'wire')).toBe(false);
    proof.check([sha256('plain')], sha256('wire').digest);
  });
});
