/** What is right: requests, ranges, hashes, several contents. */
import {
  checksum,
  content,
  hash,
  jingle,
  range,
  text,
  vector,
  type Extent,
  type Recipe,
  type Surroundings,
} from './build.ts';
import { OMEMO, omemo, STUB, stub } from './envelopes.ts';
import type { JetVector } from './format.ts';
import { Sending } from './omemo.ts';
import { juliet, romeo } from './parties.ts';

/** Juliet asks, Romeo has the file. */
export const asking = { initiator: juliet, reader: romeo } as const;

/** What a request is made of: `<file/>` selects by the hash, the accept describes the file. */
export const request = (seed: string, recipe: Partial<Recipe> = {}): Omit<Recipe, 'seed'> => ({
  type: OMEMO,
  envelope: omemo({ seed, from: juliet, to: romeo }),
  name: 'a-file-request',
  senders: 'responder',
  file: (_, bytes) => hash(bytes) + (recipe.extent ? range(recipe.extent) : ''),
  granted: (size, bytes) =>
    `<name>letter.txt</name><size>${String(size)}</size>${hash(bytes)}` +
    (recipe.extent ? range(recipe.extent) : ''),
  ...recipe,
});

/** The same under the stub. */
const stubRequest = (bits: 128 | 256 = 128) => request('', { type: STUB, envelope: stub(), bits });

const upTo = (offset: number, length = Infinity): Extent => ({ offset, length });

/** Files that are asked for: the one who asks makes the secret, the other side encrypts. */
export function requests(): JetVector[] {
  const one = (name: string, about: string, recipe: Partial<Recipe> = {}) =>
    vector(`request-${name}`, about, [request(`request-${name}`, recipe)], asking);
  return [
    one('omemo', 'A file is asked for by its SHA-256.'),
    vector('request-stub', 'The same with the stub and AES-256.', [stubRequest(256)], asking),
    one('empty', 'An empty file is asked for.', { bytes: text(0) }),
    one('one-byte', 'A file of one byte is asked for.', { bytes: text(1) }),
    one('by-name', 'A file is asked for by name and size.', {
      file: (size) => `<name>letter.txt</name><size>${String(size)}</size>`,
    }),
    one('tag-beside', 'The key stands with a tag, the IV has 16 bytes.', {
      envelope: omemo({ seed: 'request-tag-beside', from: juliet, to: romeo, beside: 'tag' }),
      ivLength: 16,
    }),
    one('rest', 'The rest of a file from byte 17 on is asked for.', { extent: upTo(17) }),
    one('rest-of-block', 'The rest from the border of a block on.', { extent: upTo(16) }),
    one('part', 'Bytes 5 to 20 are asked for.', { extent: upTo(5, 16) }),
    one('last-byte', 'The last byte is asked for.', { extent: upTo(43, 1) }),
    one('nothing-left', 'The rest from the end on: no bytes, and a tag.', { extent: upTo(44) }),
    one('explicit-whole', 'A range that is the whole file.', { extent: upTo(0, 44) }),
    one('part-long', 'A part of a longer file, over the border of 4,096 bytes.', {
      bytes: text(9000),
      extent: upTo(4000, 200),
    }),
  ];
}

/** Offers that the receiver takes up where it stopped: the range is in the accept. */
export function resumed(): JetVector[] {
  const one = (name: string, about: string, extent: Extent, recipe: Partial<Recipe> = {}) =>
    vector(`resumed-${name}`, about, [
      {
        type: OMEMO,
        envelope: omemo({ seed: `resumed-${name}` }),
        file: (size) => `<name>letter.txt</name><size>${String(size)}</size><range/>`,
        granted: (size) => `<name>letter.txt</name><size>${String(size)}</size>${range(extent)}`,
        extent,
        ...recipe,
      },
    ]);
  const long = { bytes: text(5000) };
  return [
    one('one-byte', 'The receiver has one byte.', upTo(1)),
    one('block', 'The receiver has two blocks of 16 bytes.', upTo(32)),
    one('all', 'The receiver has everything: no bytes, and a tag.', upTo(44)),
    one('with-length', 'The receiver asks for a part of the rest.', upTo(20, 10)),
    one('chunk', 'The receiver has 4,096 bytes.', upTo(4096), long),
    one('nothing', 'The range is empty: the whole file.', upTo(0)),
    one('hash', 'The hash of the whole file is in the offer.', upTo(30), {
      file: (size, bytes) =>
        `<name>letter.txt</name><size>${String(size)}</size><range/>${hash(bytes)}`,
    }),
  ];
}

const named = (inside: string) => (size: number) =>
  `<name>letter.txt</name><size>${String(size)}</size>${inside}`;

/** `<hash-used/>`. */
export const promised = "<hash-used xmlns='urn:xmpp:hashes:2' algo='sha-256'/>";

/** A `<checksum/>` of Romeo's. */
export const saying =
  (inside: (bytes: Buffer) => string): NonNullable<Surroundings['later']> =>
  (course, contents) =>
    contents.map((one) => jingle(course, 'session-info', romeo, checksum(one, inside(one.bytes))));

/** Hashes: in the offer, and after it. */
export function hashes(): JetVector[] {
  const offered = (inside: (bytes: Buffer) => string) => [
    { file: (size: number, bytes: Buffer) => named(inside(bytes))(size) },
  ];
  const later = (
    name: string,
    about: string,
    inside: (bytes: Buffer) => string,
    recipe: Partial<Recipe> = {},
  ) =>
    vector(`hash-${name}`, about, [{ file: named(promised), ...recipe }], {
      later: saying(inside),
    });
  const part = { offset: 10, length: 20 };
  return [
    vector(
      'hash-offered',
      'SHA-256 in the offer.',
      offered((bytes) => hash(bytes)),
    ),
    vector(
      'hash-sha-512',
      'SHA-512 in the offer.',
      offered((bytes) => hash(bytes, 'sha-512')),
    ),
    vector(
      'hash-two',
      'SHA-256 and SHA-512.',
      offered((bytes) => hash(bytes) + hash(bytes, 'sha-512')),
    ),
    vector(
      'hash-hex',
      'SHA-256 as base64 of its hexadecimal text, as one client writes it.',
      offered((bytes) => hash(bytes, 'sha-256', 'hex')),
    ),
    vector(
      'hash-unknown',
      'A hash of a function that nobody knows says nothing.',
      offered(() => "<hash xmlns='urn:xmpp:hashes:2' algo='example-1'>AAAA</hash>"),
    ),
    vector('hash-empty-file', 'SHA-256 of nothing.', [
      { bytes: text(0), file: (size, bytes) => named(hash(bytes))(size) },
    ]),
    later('later', 'The SHA-256 that was promised comes in a checksum.', (bytes) => hash(bytes)),
    later('later-hex', 'The same as base64 of its hexadecimal text.', (bytes) =>
      hash(bytes, 'sha-256', 'hex'),
    ),
    vector('hash-never', 'A SHA-256 was promised and does not come: the tag is proof.', [
      { file: named(promised) },
    ]),
    later(
      'of-range',
      'The hash of a range that is resumed.',
      (bytes) => range(part, hash(bytes.subarray(10, 30))),
      { extent: part, granted: named(range(part)) },
    ),
    later('of-whole-range', 'The hash is in a range that is the whole file.', (bytes) =>
      range({ offset: 0, length: bytes.length }, hash(bytes)),
    ),
  ];
}

/** More than one content, each with a secret of its own. */
export function several(): JetVector[] {
  const pair = (seed: string, second: Partial<Recipe> = {}) => {
    const envelope = omemo({ seed, session: new Sending(romeo, juliet, seed) });
    const one = { type: OMEMO, envelope };
    return [
      { ...one, name: 'first' },
      { ...one, name: 'second', bytes: text(70), ...second },
    ];
  };
  const added: Surroundings['stanzas'] = (course, [first, second]) => [
    jingle(course, 'session-initiate', romeo, first?.added ?? ''),
    jingle(course, 'session-accept', juliet, first?.accepted ?? ''),
    jingle(course, 'content-add', romeo, second?.added ?? ''),
    jingle(course, 'content-accept', juliet, second?.accepted ?? ''),
  ];
  const own = content({ seed: 'contents-added-back, own', name: 'first' });
  const back: Surroundings['stanzas'] = (course, [first]) => [
    jingle(course, 'session-initiate', romeo, own.added),
    jingle(course, 'session-accept', juliet, own.accepted),
    jingle(course, 'content-add', juliet, first?.added ?? ''),
    jingle(course, 'content-accept', romeo, first?.accepted ?? ''),
  ];
  const changed = (wire: Buffer) =>
    Buffer.concat([Buffer.of(wire.readUInt8(0) ^ 1), wire.subarray(1)]);
  return [
    vector('contents-two', 'Two files, two envelopes of one OMEMO session.', pair('contents-two')),
    vector('contents-three-stub', 'Three files, one of them empty, under the stub.', [
      { name: 'first' },
      { name: 'second', bytes: text(0) },
      { name: 'third', bits: 256 },
    ]),
    vector('contents-added', 'A second file by content-add.', pair('contents-added'), {
      stanzas: added,
    }),
    vector(
      'contents-added-back',
      'The responder adds a file of its own: the initiator opens, and the creator is the responder.',
      [
        {
          name: 'a-file-back',
          creator: 'responder',
          senders: 'responder',
          type: OMEMO,
          envelope: omemo({ seed: 'contents-added-back', from: juliet, to: romeo }),
        },
      ],
      { reader: romeo, stanzas: back },
    ),
    vector(
      'contents-one-changed',
      'Of two files the second was changed on its way; the first one is right.',
      pair('contents-one-changed', { outcome: 'tag mismatch', wire: changed }),
    ),
    vector('contents-both-ways', 'One content is an offer, the other one a request.', [
      { name: 'offered' },
      { ...stubRequest(), name: 'wanted' },
    ]),
  ];
}
