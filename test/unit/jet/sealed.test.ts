/** docs/sealed.md: two devices, and everything that somebody between them could do to what they seal. */
import {
  createCipheriv,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  randomBytes,
} from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import {
  LABELS,
  MAX_PLAINTEXT,
  type Binding,
  type Label,
  type Party,
  SealedError,
  Seals,
} from '../../../src/jet/sealed.ts';
import { readSealed, writeSealed } from '../../../src/jet/sealed-element.ts';
import { xml } from '../../../src/xmpp/xml.ts';

const jid = (text: string) => Jid.parse(text) as Jid;

interface Device extends Party {
  agree(other: Device): Buffer;
  readonly pair: ReturnType<typeof generateKeyPairSync>;
}

function device(address: string): Device {
  const pair = generateKeyPairSync('x25519');
  const der = pair.publicKey.export({ format: 'der', type: 'spki' });
  return {
    pair,
    jid: jid(address),
    identityKey: der.subarray(-32),
    agree: (other) =>
      diffieHellman({ privateKey: pair.privateKey, publicKey: other.pair.publicKey }),
  };
}

const alice = device('alice@a.example/jet.1');
const bob = device('bob@b.example/jet.2');
const mallory = device('bob@b.example/jet.3');
const secret = { key: randomBytes(16), iv: randomBytes(12) };

const offer: Binding = {
  sid: 'session',
  creator: 'initiator',
  name: 'content',
  senders: 'initiator',
  cipher: 'urn:xmpp:ciphers:aes-128-gcm-nopadding',
  type: 'eu.siacs.conversations.axolotl',
  maker: alice,
  other: bob,
};
const request: Binding = { ...offer, senders: 'responder' };

const makers = (binding = offer, of = secret) => new Seals(of, alice.agree(bob), binding, 'maker');
const others = (binding = offer, of = secret) => new Seals(of, bob.agree(alice), binding, 'other');
const text = (label: Label) => Buffer.from(`what the ${label} says`);

/** Both sides with everything said so far, and who speaks when. */
function play(binding: Binding, upTo: Label): { maker: Seals; other: Seals; last: Buffer } {
  const maker = makers(binding);
  const other = others(binding);
  let last: Buffer = Buffer.alloc(0);
  for (const [label, from] of course(binding)) {
    const [speaker, listener] = from === 'maker' ? [maker, other] : [other, maker];
    last = speaker.seal(label, text(label));
    if (label === upTo) break;
    expect(listener.open(label, last)).toEqual(text(label));
  }
  return { maker, other, last };
}

function course(binding: Binding): [Label, 'maker' | 'other'][] {
  const offers = binding.senders === binding.creator;
  return [
    [offers ? 'offer' : 'request', 'maker'],
    ['accept', 'other'],
    ['checksum', offers ? 'maker' : 'other'],
    ['landed', offers ? 'other' : 'maker'],
  ];
}

const refused = (open: () => unknown, reason: SealedError['reason']) => {
  expect(open).toThrow(SealedError);
  try {
    open();
  } catch (error) {
    expect(error).toMatchObject({ reason });
  }
};

describe.each([
  ['offer', offer],
  ['request', request],
] as const)('an %s', (first, binding) => {
  test('is said, accepted, proven and acknowledged, and both derive one transfer id', () => {
    const { maker, other, last } = play(binding, 'landed');
    const opener = binding === offer ? maker : other;
    expect(opener.open('landed', last)).toEqual(text('landed'));
    // The receipt is sent twice.
    expect(opener.open('landed', last)).toEqual(text('landed'));
    expect(maker.transferId()).toMatch(/^[0-9a-f]{32}$/);
    expect(other.transferId()).toBe(maker.transferId());
    const { maker: again } = play(binding, 'landed');
    expect(again.transferId()).not.toBe(maker.transferId());
  });

  test('opens only in its own place: everything around it is bound', () => {
    const sealed = makers(binding).seal(first, text(first));
    const flipped = binding === offer ? request : offer;
    const changed: Binding[] = [
      { ...binding, sid: 'another' },
      { ...binding, creator: 'responder', senders: binding === offer ? 'responder' : 'initiator' },
      { ...binding, name: 'another' },
      { ...binding, senders: 'both' },
      { ...binding, cipher: `${binding.cipher}:0` },
      { ...binding, type: 'urn:xmpp:omemo:2' },
      { ...binding, maker: { ...alice, jid: jid('alice@a.example/jet.9') } },
      { ...binding, other: { ...bob, jid: jid('bob@b.example/jet.9') } },
      { ...binding, other: mallory },
    ];
    for (const one of changed)
      expect(() => others(one).open(first, sealed), JSON.stringify(one.sid)).toThrow(SealedError);
    refused(() => others(flipped).open(first, sealed), 'out-of-place');
    refused(
      () => others(flipped).open(first === 'offer' ? 'request' : 'offer', sealed),
      'not-authentic',
    );
    const otherIv = { ...secret, iv: randomBytes(12) };
    refused(() => others(binding, otherIv).open(first, sealed), 'not-authentic');
    const otherKey = { ...secret, key: randomBytes(16) };
    refused(() => others(binding, otherKey).open(first, sealed), 'not-authentic');
    expect(others(binding).open(first, sealed)).toEqual(text(first));
  });

  test('is bound to both identity keys, also where the agreement is the same', () => {
    const sealed = makers(binding).seal(first, text(first));
    const { identityKey } = mallory;
    for (const one of [
      { ...binding, maker: { ...alice, identityKey } },
      { ...binding, other: { ...bob, identityKey } },
    ])
      refused(() => others(one).open(first, sealed), 'not-authentic');
  });

  test('cannot be made by whoever else holds the secret: another device of the account', () => {
    // Mallory knows the transport secret, but not the identity key of alice or bob.
    const forged = new Seals(secret, mallory.agree(bob), binding, 'maker').seal(first, text(first));
    refused(() => others(binding).open(first, forged), 'not-authentic');
  });

  test('binds what comes after it, and the accept binds the rest', () => {
    const one = play(binding, 'accept');
    const two = play(binding, 'accept');
    refused(() => two.maker.open('accept', one.last), 'not-authentic');
    const three = play(binding, 'checksum');
    const four = play(binding, 'checksum');
    const listener = binding === offer ? four.other : four.maker;
    refused(() => listener.open('checksum', three.last), 'not-authentic');
  });

  test('is what each later element binds, and those after the accept bind the accept', () => {
    const [maker, offered] = [makers(binding), makers(binding)];
    const [other, later] = [others(binding), others(binding)];
    const said = maker.seal(first, text(first));
    offered.seal(first, text(first));
    for (const side of [other, later]) side.open(first, said);
    // Of another first element, though secret and place are the same.
    const accept = other.seal('accept', text('accept'));
    refused(() => offered.open('accept', accept), 'not-authentic');
    // Of another accept, though the first element is the same.
    const instead = later.seal('accept', text('accept'));
    maker.open('accept', accept);
    if (binding === offer) {
      const checksum = maker.seal('checksum', text('checksum'));
      refused(() => later.open('checksum', checksum), 'not-authentic');
      expect(other.open('checksum', checksum)).toEqual(text('checksum'));
    } else {
      const checksum = later.seal('checksum', text('checksum'));
      refused(() => maker.open('checksum', checksum), 'not-authentic');
    }
    expect(instead.equals(accept)).toBe(false);
  });

  test.each(course(binding))('%s comes once, and from its maker alone', (label, from) => {
    const { maker, other, last } = play(binding, label);
    const [speaker, listener] = from === 'maker' ? [maker, other] : [other, maker];
    refused(() => speaker.seal(label, text(label)), 'repeated');
    // What was said comes back to the one who said it.
    expect(() => speaker.open(label, last)).toThrow(SealedError);
    listener.open(label, last);
    if (label !== 'landed') refused(() => listener.open(label, last), 'repeated');
    refused(() => listener.open(label, Buffer.concat([last, Buffer.alloc(256)])), 'repeated');
  });

  test.each(LABELS.filter((label) => label !== first))('%s has no place before it', (label) => {
    expect(() => makers(binding).seal(label, text(label))).toThrow(SealedError);
    expect(() => others(binding).open(label, Buffer.alloc(512))).toThrow(SealedError);
  });
});

test('the creator is bound by itself', () => {
  const both: Binding = { ...offer, senders: 'both' };
  const sealed = makers(both).seal('request', text('request'));
  refused(() => others({ ...both, creator: 'responder' }).open('request', sealed), 'not-authentic');
});

/** docs/sealed.md §6 by hand, so that each part of the additional data is changed with nothing else. */
const prefixed = (parts: readonly Buffer[]) =>
  Buffer.concat(
    parts.flatMap((part) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(part.length);
      return [length, part];
    }),
  );

function sealByHand(label: Label, additional: Buffer): Buffer {
  const material = Buffer.concat([secret.key, alice.agree(bob)]);
  const info = prefixed([Buffer.from('urn:xmpp:jet-transfer:0'), Buffer.from(label)]);
  const key = Buffer.from(hkdfSync('sha256', material, secret.iv, info, 32));
  const nonce = randomBytes(12);
  const gcm = createCipheriv('aes-256-gcm', key, nonce).setAAD(additional);
  const padded = Buffer.alloc(256);
  padded.writeUInt32BE(text(label).length);
  text(label).copy(padded, 4);
  return Buffer.concat([nonce, gcm.update(padded), gcm.final(), gcm.getAuthTag()]);
}

describe.each([
  ['offer', offer],
  ['request', request],
] as const)('of the additional data of an %s', (first, binding) => {
  const FIELDS: [string, Buffer][] = [
    ['the version', Buffer.from('0')],
    ['the IV', secret.iv],
    ['the session id', Buffer.from(binding.sid)],
    ['the creator', Buffer.from(binding.creator)],
    ['the name of the content', Buffer.from(binding.name)],
    ['the senders', Buffer.from(binding.senders)],
    ['the cipher', Buffer.from(binding.cipher)],
    ['the type of the envelope', Buffer.from(binding.type)],
    ['the identity key of the maker', alice.identityKey],
    ['the full address of the maker', Buffer.from('alice@a.example/jet.1')],
    ['the identity key of the other', bob.identityKey],
    ['the full address of the other', Buffer.from('bob@b.example/jet.2')],
  ];
  const parts = FIELDS.map(([, bytes]) => bytes);
  const changed = (bytes: Buffer) => {
    const other = Buffer.from(bytes);
    other.writeUInt8(other.readUInt8(other.length - 1) ^ 1, other.length - 1);
    return other;
  };

  test('all is as it is written down', () => {
    const sealed = sealByHand(first, prefixed(parts));
    expect(others(binding).open(first, sealed)).toEqual(text(first));
  });

  test.each(FIELDS.map(([what], index) => [what, index] as const))(
    '%s alone makes that it does not open: changed, left out or longer',
    (_what, index) => {
      const was = parts[index] ?? Buffer.alloc(0);
      for (const instead of [[changed(was)], [], [Buffer.concat([was, Buffer.of(0)])]]) {
        const sealed = sealByHand(first, prefixed(parts.toSpliced(index, 1, ...instead)));
        refused(() => others(binding).open(first, sealed), 'not-authentic');
      }
    },
  );

  test('no byte moves from one part to its neighbour', () => {
    for (let index = 0; index + 1 < parts.length; index++) {
      const [one, two] = parts.slice(index);
      if (!one || !two) throw new Error('no neighbours');
      const moved = [one.subarray(0, -1), Buffer.concat([one.subarray(-1), two])];
      const sealed = sealByHand(first, prefixed(parts.toSpliced(index, 2, ...moved)));
      refused(() => others(binding).open(first, sealed), 'not-authentic');
    }
  });

  test.each(['the first element', 'the accept'])('%s is bound by those after it', (what) => {
    const side = others(binding);
    const said = sealByHand(first, prefixed(parts));
    side.open(first, said);
    const bound = [...parts, said, side.seal('accept', text('accept'))];
    // What the maker of the secret says next.
    const label = binding === offer ? 'checksum' : 'landed';
    const at = bound.length - (what === 'the accept' ? 1 : 2);
    const wrong = bound.toSpliced(at, 1, changed(bound[at] ?? said));
    refused(() => side.open(label, sealByHand(label, prefixed(wrong))), 'not-authentic');
    expect(side.open(label, sealByHand(label, prefixed(bound)))).toEqual(text(label));
  });
});

test('whatever bit of an element changes, it does not open', () => {
  const sealed = makers().seal('offer', text('offer'));
  fc.assert(
    fc.property(fc.nat(sealed.length * 8 - 1), (bit) => {
      const changed = Buffer.from(sealed);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      refused(() => others().open('offer', changed), 'not-authentic');
    }),
  );
});

test('whatever is sealed comes out again, in steps of 256 bytes that hide its length', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
      const plain = Buffer.from(bytes);
      const sealed = makers().seal('offer', plain);
      expect(sealed.length % 256).toBe(12 + 16);
      expect(others().open('offer', sealed)).toEqual(plain);
    }),
  );
  expect(() => makers().seal('offer', Buffer.alloc(MAX_PLAINTEXT + 1))).toThrow(RangeError);
  const longest = makers().seal('offer', Buffer.alloc(MAX_PLAINTEXT, 7));
  expect(others().open('offer', longest).length).toBe(MAX_PLAINTEXT);
});

test('elements of any length lead to a transfer id', () => {
  const maker = makers();
  const other = others();
  const long = Buffer.alloc(MAX_PLAINTEXT, 7);
  other.open('offer', maker.seal('offer', long));
  maker.open('accept', other.seal('accept', long));
  expect(maker.transferId()).toMatch(/^[0-9a-f]{32}$/);
  expect(other.transferId()).toBe(maker.transferId());
});

test.each([0, 12 + 16, 255 + 28, 257 + 28, 512 * 1024])('%d bytes are no element', (length) => {
  refused(() => others().open('offer', Buffer.alloc(length)), 'malformed');
});

test('an IV that is not 12 bytes long has no sealed elements', () => {
  refused(() => makers(offer, { ...secret, iv: randomBytes(16) }), 'malformed');
});

test('as XML it has one place, one label and strict base64', () => {
  const element = writeSealed('offer', Buffer.from('bytes'));
  expect(readSealed([xml('other'), element], 'offer', 'request')).toEqual({
    label: 'offer',
    bytes: Buffer.from('bytes'),
  });
  expect(readSealed([], 'offer')).toBeUndefined();
  refused(() => readSealed([element, element], 'offer'), 'repeated');
  refused(() => readSealed([element], 'accept'), 'out-of-place');
  const broken = xml('sealed', { xmlns: 'urn:xmpp:jet-transfer:0', label: 'offer' }, '%%%');
  refused(() => readSealed([broken], 'offer'), 'malformed');
});
