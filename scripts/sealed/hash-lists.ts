/** Vectors of streams that carry the hashes of a file's blocks (docs/sealed.md §4.3), and of what is no such wish. */
import { body, file, offer, request } from './courses.ts';
import type { Vector } from './format.ts';
import { malformed } from './refusal.ts';
import { digest, drawn, vector, type Say } from './seal.ts';

/** Bytes of the file, which says the same line again and again; and of a block. */
const SIZE = 9_000_000;
const BLOCK = 65_536;
/** The fewest bytes that have more blocks of this size than may be asked for. */
const TOO_LARGE = BLOCK * 65_536 + 1;

const text = Buffer.alloc(SIZE, 'It is always tea-time.\n');
const list = Buffer.concat(
  Array.from({ length: Math.ceil(SIZE / BLOCK) }, (_, n) =>
    digest(text.subarray(n * BLOCK, (n + 1) * BLOCK)),
  ),
);
const hash = `<hash xmlns="urn:xmpp:hashes:2" algo="sha-256">${digest(list).toString('base64')}</hash>`;

const named = (bytes: number) => `<name>tea.txt</name><size>${String(bytes)}</size><desc/>`;
const used = '<hash-used xmlns="urn:xmpp:hashes:2" algo="sha-256"/>';
const resume = `<resume id="${drawn('a transfer', 16).toString('hex')}" attempt="3"/>`;
const blocks = (bytes: number) => `<hashes block="${String(bytes)}"/>`;
const iv = `<iv>${drawn('iv of the accept', 12).toString('base64')}</iv>`;

const offers = (bytes: number, behind = resume): Say => [
  'offer',
  'maker',
  body('offer', file(named(bytes) + used) + behind),
];
const asks = (bytes: number, behind: string): Say => [
  'request',
  'maker',
  body('request', file(named(bytes)) + behind),
];
/** An accept of an offer: of so many bytes of a list of so many. */
const wants = (of: number, length: number, block: number): Say => [
  'accept',
  'other',
  body(
    'accept',
    file(`<size>${String(of)}</size><desc/><range length="${String(length)}"/>`) + blocks(block),
  ),
];
const range = `<range length="${String(list.length)}"/>`;
const wanted = wants(list.length, list.length, BLOCK);
const proof = body(
  'checksum',
  file(`<desc/><range length="${String(list.length)}">${hash}</range>${hash}`),
);
const landed = body(
  'landed',
  file(`<size>${String(list.length)}</size><desc/>${range}${hash}`),
  ' as="range"',
);

/** What is right. */
export function hashLists(): Vector[] {
  return [
    vector('offer-hashes', 'What is offered again is compared first: hashes are wanted.', offer, [
      offers(SIZE),
      wanted,
      ['checksum', 'maker', proof],
      ['landed', 'other', landed],
    ]),
    vector('request-hashes', 'The hashes of a file are requested.', request, [
      asks(SIZE, resume + blocks(BLOCK)),
      [
        'accept',
        'other',
        body(
          'accept',
          `${file(`<name>hashes</name><size>${String(list.length)}</size><desc/>${range}`)}${iv}`,
        ),
      ],
      ['checksum', 'other', proof],
      ['landed', 'maker', landed],
    ]),
  ];
}

/** What is refused. */
export function wrongHashLists(): Vector[] {
  const accepts: [string, string, Say, Say][] = [
    [
      'block',
      'of blocks that are too small.',
      offers(SIZE),
      wants(list.length, list.length, 65_535),
    ],
    [
      'blocks',
      'of more blocks than 65,536.',
      offers(TOO_LARGE),
      wants(65_537 * 32, 65_537 * 32, BLOCK),
    ],
    ['anew', 'where nothing is gone on with.', offers(SIZE, ''), wanted],
    ['part', 'in part.', offers(SIZE), wants(list.length, list.length - 32, BLOCK)],
    ['size', 'with the size of the file.', offers(SIZE), wants(SIZE, list.length, BLOCK)],
  ];
  const requests: [string, string, Say][] = [
    ['block', 'of blocks that are too small.', asks(SIZE, resume + blocks(65_535))],
    ['blocks', 'of more blocks than 65,536.', asks(TOO_LARGE, resume + blocks(BLOCK))],
    ['anew', 'where nothing is gone on with.', asks(SIZE, blocks(BLOCK))],
  ];
  return [
    ...accepts.map(([name, about, said, say]) =>
      malformed(`accept-hashes-${name}`, `An accept wants hashes ${about}`, offer, [said], say),
    ),
    ...requests.map(([name, about, say]) =>
      malformed(`request-hashes-${name}`, `A request for hashes ${about}`, request, [], say),
    ),
  ];
}
