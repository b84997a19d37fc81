/** What two devices say to one another in the test vectors, and the vectors of what is right. */
import { device, digest, drawn, NS, vector, type Say, type Start } from './seal.ts';
import type { Vector } from './format.ts';

/** Namespace of `<file/>`. */
export const FT = 'urn:xmpp:jingle:apps:file-transfer:5';

/** The one who makes the secret. */
export const alice = device('alice', 'alice@wonderland.example/jet.5f0c');
/** The other side. */
export const bob = device('bob', 'bob@builders.example/jet.a71e');
/** Another device of bob's account. */
export const mallory = device('mallory', 'bob@builders.example/jet.0bad');
/** Where every offer starts from. */
export const offer: Start = {
  secret: { key: drawn('transport key', 16), iv: drawn('iv', 12) },
  binding: {
    sid: '6f1d7a52-offer',
    creator: 'initiator',
    name: 'a-file',
    senders: 'initiator',
    cipher: 'urn:xmpp:ciphers:aes-128-gcm-nopadding',
    type: 'eu.siacs.conversations.axolotl',
  },
  maker: alice,
  other: bob,
};
/** Where every request starts from. */
export const request: Start = {
  ...offer,
  binding: { ...offer.binding, sid: '93b40c8e-request', senders: 'responder' },
};
const content = Buffer.from('It is always tea-time.\n');
const sha256 = digest(content).toString('base64');
/** The hash of the file. */
export const hash = `<hash xmlns="urn:xmpp:hashes:2" algo="sha-256">${sha256}</hash>`;
/** A `<file/>`. */
export const file = (inside: string) => `<file xmlns="${FT}">${inside}</file>`;
/** The plaintext of a label. */
export const body = (label: string, inside: string, attributes = '') =>
  `<${label} xmlns="${NS}"${attributes}>${inside}</${label}>`;
/** The size of the file. */
export const size = `<size>${String(content.length)}</size>`;
/** The same as a number in an attribute. */
export const length = String(content.length);

const described = `<name>tea.txt</name>${size}<media-type>text/plain</media-type><desc/><date>2026-02-03T04:05:06Z</date>`;
const used = '<hash-used xmlns="urn:xmpp:hashes:2" algo="sha-256"/>';
/** All of the file. */
export const wholeRange = `<range length="${length}"/>`;
/** The receipt. */
export const landed = body('landed', file(`${size}<desc/>${wholeRange}${hash}`), ' as="file"');
const proof = body('checksum', file(`<desc/><range length="${length}">${hash}</range>${hash}`));
/** Consent to an offer. */
export const accepts = body('accept', file(`${size}<desc/>${wholeRange}`));

/** What is said about an offer. */
export const offered: readonly Say[] = [
  ['offer', 'maker', body('offer', file(described + used))],
  ['accept', 'other', accepts],
  ['checksum', 'maker', proof],
  ['landed', 'other', landed],
];
const resumes = `<resume id="${drawn('a transfer', 16).toString('hex')}" attempt="2"/>`;
const offeredAgain: readonly Say[] = [
  [
    'offer',
    'maker',
    body('offer', file(`${described}<range offset="10" length="13"/>${used}`) + resumes),
  ],
  ['accept', 'other', body('accept', file(`${size}<desc/><range offset="10" length="13"/>`))],
];
const newIv = drawn('iv of the accept', 12).toString('base64');
/** What is said about a request. */
export const requested: readonly Say[] = [
  ['request', 'maker', body('request', file(`<desc/>${hash}`))],
  [
    'accept',
    'other',
    body('accept', `${file(`${described}${wholeRange}${hash}`)}<iv>${newIv}</iv>`),
  ],
  ['checksum', 'other', proof],
  ['landed', 'maker', landed],
];
const resumed: readonly Say[] = [
  [
    'request',
    'maker',
    body(
      'request',
      file(`<name>tea.txt</name>${size}<desc/><range offset="10" length="13"/>`) + resumes,
    ),
  ],
  [
    'accept',
    'other',
    body('accept', `${file(`${described}<range offset="10" length="13"/>`)}<iv>${newIv}</iv>`),
  ],
];

/** What is right. */
export function positive(): Vector[] {
  const name = `${'Ein sehr langer Name & <Zeichen> 🫖 '.repeat(20)}.txt`;
  const escaped = name.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  const long: Say = [
    'offer',
    'maker',
    body('offer', file(`<name>${escaped}</name>${size}<desc/>${used}`)),
  ];
  const abroad: Start = {
    ...offer,
    binding: { ...offer.binding, sid: 'süß-✓', name: 'Inhalt №1' },
    maker: { ...alice, jid: 'алиса@wonderland.example/Ⅳ jet' },
  };
  const oldSpelling = { ...offer.binding, cipher: `${offer.binding.cipher}:0` };
  const padding = (bytes: number): Vector =>
    vector(
      `padding-${String(bytes)}`,
      `A plaintext of ${String(bytes)} bytes (no XML: this is about padding alone).`,
      offer,
      [['offer', 'maker', 'x'.repeat(bytes)]],
    );
  return [
    vector('offer', 'A file is offered, accepted, sent, and has landed.', offer, offered),
    vector(
      'request',
      'A file is requested by its hash; the accept draws the IV of the stream.',
      request,
      requested,
    ),
    vector('offer-resumed', 'The rest of a file is offered.', offer, offeredAgain),
    vector('request-resumed', 'The rest of a file is requested.', request, resumed),
    vector(
      'offer-long',
      'A long name: several blocks of padding, a transfer id over long elements.',
      offer,
      [long, ...offered.slice(1, 2)],
    ),
    vector(
      'offer-unicode',
      'Session id, content name and address outside of ASCII.',
      abroad,
      offered.slice(0, 2),
    ),
    vector(
      'offer-cipher-suffix',
      'The cipher in the spelling with the suffix.',
      { ...offer, binding: oldSpelling },
      offered.slice(0, 2),
    ),
    padding(0),
    padding(252),
    padding(253),
  ];
}
