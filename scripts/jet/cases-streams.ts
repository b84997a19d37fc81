/** What is wrong on the way, or with the file: size, tag, hash, range, description. */
import { hash, range, text, vector, type Recipe, type Surroundings } from './build.ts';
import { asking, promised, request, saying } from './cases-parts.ts';
import { OMEMO, omemo } from './envelopes.ts';
import type { JetVector, Outcome } from './format.ts';
import { encrypted } from './gcm.ts';

/** Turns one bit of a byte; a negative place counts from the end. */
export const flip = (at: number) => (bytes: Buffer) => {
  const copy = Buffer.from(bytes);
  const index = at < 0 ? bytes.length + at : at;
  copy.writeUInt8(copy.readUInt8(index) ^ 1, index);
  return copy;
};

type Plan = Omit<Recipe, 'seed' | 'outcome'>;

const refused =
  (outcome: Outcome, prefix: string) =>
  (name: string, about: string, recipe: Plan = {}, around: Surroundings = {}) =>
    vector(`${prefix}-${name}`, about, [{ ...recipe, outcome }], around);

/** Bytes that are not those that were encrypted. */
export function tags(): JetVector[] {
  const one = refused('tag mismatch', 'tag');
  const omemoOf = (seed: string) => ({ type: OMEMO, envelope: omemo({ seed }) });
  const empty = { bytes: text(0) };
  const part = { offset: 16, length: 20 };
  return [
    one('first-byte', 'One bit of the first byte was turned.', {
      ...omemoOf('tag-first-byte'),
      wire: flip(0),
    }),
    one('middle', 'One bit in the middle was turned.', { bytes: text(4097), wire: flip(2048) }),
    one('last-byte', 'One bit of the last byte before the tag was turned.', { wire: flip(-17) }),
    one('tag-first', 'One bit of the first byte of the tag was turned.', { wire: flip(-16) }),
    one('tag-last', 'One bit of the last byte of the tag was turned.', {
      ...omemoOf('tag-tag-last'),
      wire: flip(-1),
    }),
    one('empty-file', 'The tag of an empty file is wrong.', { ...empty, wire: flip(3) }),
    one('one-byte', 'The only byte of a file was changed.', { bytes: text(1), wire: flip(0) }),
    one('zeros', 'Sixteen zeros stand for the tag.', {
      wire: (wire) => Buffer.concat([wire.subarray(0, -16), Buffer.alloc(16)]),
    }),
    one('in-front', 'The tag is before the ciphertext.', {
      wire: (wire) => Buffer.concat([wire.subarray(-16), wire.subarray(0, -16)]),
    }),
    one('blocks-swapped', 'Two blocks changed places.', {
      wire: (wire) =>
        Buffer.concat([wire.subarray(16, 32), wire.subarray(0, 16), wire.subarray(32)]),
    }),
    one('in-the-clear', 'The file was sent as it is, with a tag.', {
      wire: (wire, _, bytes) => Buffer.concat([bytes, wire.subarray(-16)]),
    }),
    one('other-key', 'Another key encrypted.', {
      wire: (_, { key, iv }, bytes) => encrypted({ key: flip(0)(key), iv }, bytes),
    }),
    one('other-iv', 'Another IV encrypted.', {
      wire: (_, { key, iv }, bytes) => encrypted({ key, iv: flip(11)(iv) }, bytes),
    }),
    one('iv-cut', 'An IV of 16 bytes was cut to 12.', {
      ivLength: 16,
      wire: (_, { key, iv }, bytes) => encrypted({ key, iv: iv.subarray(0, 12) }, bytes),
    }),
    one('iv-changed', 'The IV beside the keys was changed on its way: OMEMO does not protect it.', {
      type: OMEMO,
      envelope: omemo({ seed: 'tag-iv-changed', iv: (iv) => flip(0)(iv).toString('base64') }),
    }),
    one('aes-256-as-128', 'Half of a key of AES-256 was used.', {
      bits: 256,
      wire: (_, { key, iv }, bytes) => encrypted({ key: key.subarray(0, 16), iv }, bytes),
    }),
    one(
      'range-cut-out',
      'A range was cut out of the message that holds the whole file.',
      request('tag-range-cut-out', {
        extent: part,
        wire: (wire, secret, bytes) =>
          Buffer.concat([encrypted(secret, bytes).subarray(16, 36), wire.subarray(-16)]),
      }),
      asking,
    ),
    one(
      'range-elsewhere',
      'Other bytes than those of the range come under its tag.',
      request('tag-range-elsewhere', {
        extent: part,
        wire: (wire, secret, bytes) =>
          Buffer.concat([
            encrypted(secret, bytes.subarray(0, 20)).subarray(0, 20),
            wire.subarray(20),
          ]),
      }),
      asking,
    ),
  ];
}

const behind = (extra: Buffer) => (wire: Buffer) => Buffer.concat([wire, extra]);
const cut = (from: number, to?: number) => (wire: Buffer) => wire.subarray(from, to);

/** Fewer or more bytes than were announced. */
export function wrongSizes(): JetVector[] {
  const one = refused('size mismatch', 'length');
  const says = (size: number) => ({
    file: () => `<name>letter.txt</name><size>${String(size)}</size>`,
  });
  const part = { offset: 16, length: 20 };
  return [
    one('one-less', 'The last byte of the tag is missing.', { wire: cut(0, -1) }),
    one('no-tag', 'The tag is missing.', {
      type: OMEMO,
      envelope: omemo({ seed: 'length-no-tag' }),
      wire: cut(0, -16),
    }),
    one('half', 'The stream ended in the middle.', { bytes: text(4096), wire: cut(0, 2000) }),
    one('nothing', 'The stream ended before its first byte.', { wire: cut(0, 0) }),
    one('empty-file', 'An empty file came without a tag.', { bytes: text(0), wire: cut(0, 0) }),
    one('short-tag', 'The tag was cut to 12 bytes.', { wire: cut(0, -4) }),
    one('announced-larger', 'The file was announced as one byte larger.', says(45)),
    one('one-more', 'A byte follows the tag.', {
      wire: behind(Buffer.of(0)),
      stoppingEarly: 'success',
    }),
    one('sixteen-more', 'Sixteen bytes follow the tag.', {
      type: OMEMO,
      envelope: omemo({ seed: 'length-sixteen-more' }),
      wire: behind(Buffer.alloc(16)),
      stoppingEarly: 'success',
    }),
    one('twice', 'The stream holds the message twice.', {
      wire: (wire) => Buffer.concat([wire, wire]),
      stoppingEarly: 'success',
    }),
    one('empty-file-more', 'An empty file is followed by a byte.', {
      bytes: text(0),
      wire: behind(Buffer.of(7)),
      stoppingEarly: 'success',
    }),
    one('announced-smaller', 'The file was announced as one byte smaller.', {
      ...says(43),
      stoppingEarly: 'tag mismatch',
    }),
    one('announced-empty', 'A file was announced as empty.', {
      ...says(0),
      stoppingEarly: 'tag mismatch',
    }),
    one(
      'range-ignored',
      'A range was asked for, and the whole file came.',
      request('length-range-ignored', {
        extent: part,
        wire: (_, secret, bytes) => encrypted(secret, bytes),
        stoppingEarly: 'tag mismatch',
      }),
      asking,
    ),
    one(
      'range-cut',
      'A range came one byte short.',
      request('length-range-cut', {
        extent: part,
        wire: (_, secret, bytes) => encrypted(secret, bytes.subarray(16, 35)),
      }),
      asking,
    ),
  ];
}

/** Bytes that are those that were encrypted, and not those that were named. */
export function wrongHashes(): JetVector[] {
  const one = refused('hash mismatch', 'wrong-hash');
  const other = Buffer.from('other bytes');
  const named = (inside: (bytes: Buffer) => string): Pick<Recipe, 'file'> => ({
    file: (size, bytes) => `<name>letter.txt</name><size>${String(size)}</size>${inside(bytes)}`,
  });
  const owed = named(() => promised);
  const part = { offset: 10, length: 20 };
  return [
    one('offered', 'The SHA-256 in the offer is of another file.', {
      ...named(() => hash(other)),
      type: OMEMO,
      envelope: omemo({ seed: 'wrong-hash-offered' }),
    }),
    one(
      'hex',
      'The same as base64 of the hexadecimal text.',
      named(() => hash(other, 'sha-256', 'hex')),
    ),
    one(
      'sha-512',
      'The SHA-512 in the offer is of another file.',
      named(() => hash(other, 'sha-512')),
    ),
    one(
      'second',
      'Of two hashes the second is of another file.',
      named((bytes) => hash(bytes) + hash(other, 'sha-512')),
    ),
    one('empty-file', 'An empty file with the SHA-256 of another one.', {
      ...named(() => hash(other)),
      bytes: text(0),
    }),
    one('later', 'The SHA-256 in the checksum is of another file.', owed, {
      later: saying(() => hash(other)),
    }),
    one(
      'later-differs',
      'The offer has the right SHA-256, the checksum another one.',
      named(hash),
      {
        later: saying(() => hash(other)),
      },
    ),
    one(
      'of-range',
      'The hash of a range is of other bytes.',
      { ...owed, extent: part, granted: named(() => range(part)).file ?? (() => '') },
      { later: saying((bytes) => range(part, hash(bytes.subarray(0, 20)))) },
    ),
    one('resumed', 'The rest is right, but not the SHA-256 of the whole file.', {
      ...named(() => `<range/>${hash(other)}`),
      extent: { offset: 30, length: 14 },
      granted: (size) =>
        `<name>letter.txt</name><size>${String(size)}</size>${range({ offset: 30, length: Infinity })}`,
    }),
  ];
}

/** Descriptions that say nothing that could be taken. */
export function wrongFiles(): JetVector[] {
  const one = refused('malformed file', 'file');
  const says = (inside: string): Plan => ({ file: () => `<name>letter.txt</name>${inside}` });
  return [
    one('no-size', 'An offer without a size.', says('')),
    one('negative-size', 'A size below zero.', says('<size>-1</size>')),
    one('size-no-number', 'A size that is no number.', says('<size>many</size>')),
    one('size-fraction', 'A size that is no whole number.', says('<size>44.5</size>')),
    one('two-sizes', 'Two sizes.', says('<size>44</size><size>45</size>')),
    one('two-files', 'Two files in one description.', { description: (file) => file + file }),
    one('no-file', 'A description without a file.', { description: () => '' }),
    one('part-offered', 'An offer of a part, which nobody asked for.', {
      ...says("<size>44</size><range offset='10'/>"),
    }),
    one('hash-no-base64', 'A hash that is no base64.', {
      ...says("<size>44</size><hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>%%%</hash>"),
    }),
    one('hash-short', 'A SHA-256 of 31 bytes.', {
      ...says(
        `<size>44</size><hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>${Buffer.alloc(31).toString('base64')}</hash>`,
      ),
    }),
  ];
}

/** Ranges that the file does not have. */
export function wrongRanges(): JetVector[] {
  const one = (name: string, about: string, asked: string) =>
    vector(
      `no-range-${name}`,
      about,
      [
        request(`no-range-${name}`, {
          outcome: 'no such range',
          extent: { offset: 0, length: 44 },
          file: (_, bytes) => hash(bytes) + asked,
        }),
      ],
      asking,
    );
  return [
    one('beyond', 'A range that begins a byte beyond the end.', "<range offset='45'/>"),
    one('far-beyond', 'A range far beyond the end.', "<range offset='9007199254740991'/>"),
  ];
}
