import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  agree,
  edwardsFromMontgomery,
  montgomeryFromEdwards,
} from '../../../src/omemo/crypto/keys.ts';
import { encodeKeyExchange } from '../../../src/omemo/crypto/message.ts';
import { readFields, writeFields } from '../../../src/omemo/crypto/protobuf.ts';
import {
  acceptSession,
  CryptoError,
  decrypt,
  encrypt,
  fingerprint,
  generateKeyPair,
  LEGACY,
  matches,
  OMEMO2,
  parseKeyExchange,
  peekHeader,
  restoreSession,
  serialiseSession,
  sessionKnows,
  signPreKey,
  startSession,
  verifyPreKey,
  type Profile,
  type SessionState,
} from '../../../src/omemo/crypto/index.ts';

const FREE = { maxAdvance: 10_000 };
const PLAIN = Buffer.alloc(32, 7);

function kindOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof CryptoError) return error.kind;
    throw error;
  }
  return 'none';
}

/** Two parties after the first message. */
function pair(profile: Profile) {
  const [alice, bob, signedPreKey, preKey] = [
    generateKeyPair(),
    generateKeyPair(),
    generateKeyPair(),
    generateKeyPair(),
  ];
  const bundle = {
    identityKey: profile.identityOf(bob),
    signedPreKeyId: 1,
    signedPreKey: signedPreKey.pub,
    signature: signPreKey(profile, bob.priv, signedPreKey.pub),
    preKeys: [{ id: 0, key: preKey.pub }],
  };
  const choice = { id: 0, key: preKey.pub };
  const first = encrypt(startSession(profile, { identity: alice }, bundle, choice), PLAIN);
  const exchange = parseKeyExchange(profile, first.message);
  const fresh = acceptSession(profile, bob, exchange, { signedPreKey, preKey });
  const opened = decrypt(fresh, exchange.message, FREE);
  return {
    alice,
    bob,
    bundle,
    choice,
    first,
    exchange,
    fresh,
    opened,
    a: first.state,
    b: opened.state,
  };
}

function inner(profile: Profile, sent: { message: Buffer; isKeyExchange: boolean }): Buffer {
  return sent.isKeyExchange ? parseKeyExchange(profile, sent.message).message : sent.message;
}

function many(profile: Profile, start: SessionState, count: number) {
  let state = start;
  const messages: Buffer[] = [];
  for (let i = 0; i < count; i++) {
    const sent = encrypt(state, PLAIN);
    messages.push(inner(profile, sent));
    state = sent.state;
  }
  return { state, messages };
}

describe.each([LEGACY, OMEMO2])('$id', (profile) => {
  it('agrees, repeats the key exchange until confirmed, then stops', () => {
    const { first, opened, exchange, a, b, fresh } = pair(profile);
    expect(first.isKeyExchange).toBe(true);
    expect(opened).toMatchObject({ plaintext: PLAIN, ratcheted: true, advanced: 0 });
    const again = encrypt(a, PLAIN);
    expect(again.isKeyExchange).toBe(true);
    expect(matches(b, parseKeyExchange(profile, again.message))).toBe(true);
    expect(matches(b, { ...exchange, baseKey: generateKeyPair().pub })).toBe(false);
    const answer = encrypt(b, PLAIN);
    expect(answer.isKeyExchange).toBe(false);
    const confirmed = decrypt(a, answer.message, FREE).state;
    expect(encrypt(confirmed, PLAIN).isKeyExchange).toBe(false);
    expect(sessionKnows(confirmed, peekHeader(profile, answer.message).ratchetKey)).toBe(true);
    expect(() => encrypt(fresh, PLAIN)).toThrow('only after');
  });

  it('always verifies the signed prekey', () => {
    const { alice, bob, bundle, choice } = pair(profile);
    fc.assert(
      fc.property(fc.nat(511), (bit) => {
        const signature = Buffer.from(bundle.signature);
        signature[bit >> 3] = (signature[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const forged = { ...bundle, signature };
        expect(kindOf(() => startSession(profile, { identity: alice }, forged, choice))).toBe(
          'mac',
        );
      }),
    );
    expect(
      verifyPreKey(profile, profile.identityOf(bob), bundle.signedPreKey, bundle.signature),
    ).toBe(true);
    expect(profile.identityToX25519(profile.identityOf(bob))).toEqual(bob.pub);
  });

  it('refuses every flipped bit and leaves the state as it was', () => {
    const { a, b } = pair(profile);
    const sent = inner(profile, encrypt(a, PLAIN));
    const before = serialiseSession(b);
    fc.assert(
      fc.property(fc.nat(sent.length * 8 - 1), (bit) => {
        const forged = Buffer.from(sent);
        forged[bit >> 3] = (forged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(kindOf(() => decrypt(b, forged, FREE))).not.toBe('none');
        expect(serialiseSession(b)).toEqual(before);
      }),
    );
    expect(decrypt(b, sent, FREE).plaintext).toEqual(PLAIN);
  });

  it('tells duplicates, long advances and other sessions', () => {
    const { a, b } = pair(profile);
    const { messages } = many(profile, a, 1205);
    const last = messages[1204] ?? PLAIN;
    expect(kindOf(() => decrypt(b, last, { maxAdvance: 1203 }))).toBe('too-far');
    const far = decrypt(b, last, { maxAdvance: 1204 });
    expect(far.advanced).toBe(1204);
    expect(far.state.ratchet.skipped).toHaveLength(1000);
    expect(kindOf(() => decrypt(far.state, last, FREE))).toBe('duplicate');
    expect(kindOf(() => decrypt(far.state, messages[203] ?? PLAIN, FREE))).toBe('duplicate');
    const late = decrypt(far.state, messages[204] ?? PLAIN, FREE);
    expect(late.plaintext).toEqual(PLAIN);
    expect(kindOf(() => decrypt(late.state, messages[204] ?? PLAIN, FREE))).toBe('duplicate');
    expect(kindOf(() => decrypt(b, inner(profile, pair(profile).first), FREE))).toBe(
      'other-session',
    );
  });

  it('survives any order, losses and duplicates, stored at each step', { timeout: 20_000 }, () => {
    const step = fc.record({ from: fc.boolean(), send: fc.boolean(), pick: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { a, b } = pair(profile);
        const states = [a, b];
        const flying: Buffer[][] = [[], []];
        const first = b.ratchet.receiving.map((one) => one.ratchetKey.toString('hex'));
        const seen = [new Set<string>(), new Set(first)];
        for (const { from, send, pick } of steps) {
          const me = from ? 0 : 1;
          const state = states[me] ?? a;
          if (send) {
            const sent = encrypt(state, PLAIN);
            states[me] = restoreSession(serialiseSession(sent.state));
            if (pick > 2) flying[1 - me]?.push(inner(profile, sent));
          } else {
            const queue = flying[me] ?? [];
            const message = queue.splice(pick % Math.max(queue.length, 1), 1)[0];
            if (!message) continue;
            const { ratchetKey } = peekHeader(profile, message);
            const kept = state.ratchet.receiving.some((one) => one.ratchetKey.equals(ratchetKey));
            // Five chains are kept: what is left of an older one may be lost.
            if (!kept && seen[me]?.has(ratchetKey.toString('hex'))) continue;
            const back = decrypt(state, message, FREE);
            expect(back.plaintext).toEqual(PLAIN);
            const restored = restoreSession(serialiseSession(back.state));
            expect(restored).toEqual(back.state);
            expect(kindOf(() => decrypt(restored, message, FREE))).toMatch(
              /duplicate|other-session/,
            );
            states[me] = restored;
            seen[me]?.add(ratchetKey.toString('hex'));
          }
        }
      }),
      { numRuns: 40 },
    );
  });

  it('refuses malformed input with a typed error only', () => {
    const { b, exchange } = pair(profile);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (raw) => {
        const bytes = Buffer.from(raw);
        expect(kindOf(() => decrypt(b, bytes, FREE))).not.toBe('none');
        kindOf(() => parseKeyExchange(profile, Buffer.concat([Buffer.of(0x33), bytes])));
      }),
    );
    const whole = encodeKeyExchange(profile, exchange);
    const head = profile.id === 'legacy' ? 1 : 0;
    const without = Buffer.concat([whole.subarray(0, head), whole.subarray(head + 2)]);
    expect(kindOf(() => parseKeyExchange(profile, without))).toBe('malformed');
    const stored = serialiseSession(b);
    expect(() => restoreSession(stored.subarray(1))).toThrow('stored session');
    expect(() => restoreSession(stored.subarray(0, -1))).toThrow('damaged');
  });
});

describe('keys', () => {
  it('follows RFC 7748 §5.2 and agrees both ways', () => {
    const nine = Buffer.from([9, ...Buffer.alloc(31)]);
    expect(agree(nine, nine).toString('hex')).toBe(
      '422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079',
    );
    const [a, b] = [generateKeyPair(), generateKeyPair()];
    expect(agree(a.priv, b.pub)).toEqual(agree(b.priv, a.pub));
    expect(fingerprint(a.pub)).toMatch(/^[0-9a-f]{64}$/);
  });

  it('refuses points of small order', () => {
    const own = generateKeyPair();
    expect(kindOf(() => agree(own.priv, Buffer.alloc(32)))).toBe('malformed');
    expect(kindOf(() => agree(own.priv, Buffer.from([1, ...Buffer.alloc(31)])))).toBe('malformed');
  });

  it('converts both ways', () => {
    const { pub } = generateKeyPair();
    for (const sign of [true, false]) {
      expect(montgomeryFromEdwards(edwardsFromMontgomery(pub, sign))).toEqual(pub);
    }
  });
});

describe('protobuf', () => {
  it('reads what it writes and nothing over 32 bits, repeated or cut', () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), fc.uint8Array({ maxLength: 300 }), (value, raw) => {
        const bytes = writeFields([
          [1, value],
          [4, Buffer.from(raw)],
        ]);
        const fields = readFields(bytes);
        expect(fields.int(1)).toBe(value);
        expect(fields.bytes(4)).toEqual(Buffer.from(raw));
        expect(kindOf(() => readFields(bytes.subarray(0, -1)))).toBe('malformed');
        expect(kindOf(() => readFields(Buffer.concat([bytes, bytes])))).toBe('malformed');
      }),
    );
    expect(kindOf(() => readFields(Buffer.from('08ffffffff1f', 'hex')))).toBe('malformed');
  });
});
