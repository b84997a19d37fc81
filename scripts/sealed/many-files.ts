/** Vectors of sends of several things: counted offers, folders and batches (docs/sealed.md §4.3), and heads that are none. */
import { accepts, body, file, offer, offered, size } from './courses.ts';
import type { Vector } from './format.ts';
import { malformed } from './refusal.ts';
import { digest, drawn, vector, type Say } from './seal.ts';

const about = { mode: 420, mtime: 1_770_091_446_000 };
const sentence = 'It is always tea-time.\n';
const line = (entry: object) => `${JSON.stringify(entry)}\n`;
/** Lists as they are encrypted, each with the bytes of its files. */
const folder = {
  files: [sentence, '', 'no room'],
  list: [
    line({ kind: 'folder', path: 'party', ...about, mode: 493 }),
    line({ kind: 'file', path: 'party/hatter.txt', ...about, size: 23 }),
    line({ kind: 'folder', path: 'party/table', ...about, mode: 493 }),
    line({ kind: 'file', path: 'party/table/Ei.txt', ...about, size: 0 }),
    line({ kind: 'link', path: 'party/table/link', ...about, mode: 511, target: '../hatter.txt' }),
    line({ kind: 'file', path: 'party/table/süß.txt', ...about, size: 7 }),
  ].join(''),
};
const batch = {
  files: ['a', '', 'b'],
  list: [
    line({ kind: 'file', path: 'a.txt', ...about, size: 1 }),
    line({ kind: 'file', path: 'b.txt', ...about, size: 0 }),
    line({ kind: 'file', path: 'a.txt', ...about, size: 1 }),
  ].join(''),
};

interface Content {
  readonly files: readonly string[];
  readonly list: string;
}

/** The list, the files, and that each is whole; in a folder the second could not be read. */
const streamOf = ({ files, list }: Content, states: string) =>
  Buffer.from(list + files.join('') + states);
const used = '<hash-used xmlns="urn:xmpp:hashes:2" algo="sha-256"/>';
const named = (name: string, bytes: number) =>
  file(`<name>${name}</name><size>${String(bytes)}</size><desc/>${used}`);
const headOf = ({ list, files }: Content, more = '') =>
  `<tree list="${String(Buffer.byteLength(list))}" files="${String(files.length)}" sha256="${digest(list).toString('base64')}"${more}/>`;

/** All that is said of a stream. */
function course(name: string, stream: Buffer, head: string): Say[] {
  const bytes = String(stream.length);
  const hash = `<hash xmlns="urn:xmpp:hashes:2" algo="sha-256">${digest(stream).toString('base64')}</hash>`;
  const whole = `<size>${bytes}</size><desc/><range length="${bytes}"/>`;
  const range = `<desc/><range length="${bytes}">${hash}</range>${hash}`;
  return [
    ['offer', 'maker', body('offer', named(name, stream.length) + head)],
    ['accept', 'other', body('accept', file(whole))],
    ['checksum', 'maker', body('checksum', file(range))],
    ['landed', 'other', body('landed', file(whole + hash), ' as="file"')],
  ];
}

const send = drawn('a send', 16).toString('hex');
const of = (index: number, count: number, id = send, more = '') =>
  `<of send="${id}" index="${String(index)}" count="${String(count)}"${more}/>`;
const oneOf = (which: string): Say => [
  'offer',
  'maker',
  body('offer', file(`<name>tea.txt</name>${size}<desc/>${used}`) + which),
];

/** What is right. */
export function manyFiles(): Vector[] {
  const tree = streamOf(folder, '101');
  const several = streamOf(batch, '111');
  const carries = (made: Vector, stream: Buffer): Vector => ({
    ...made,
    stream: stream.toString('base64'),
  });
  return [
    vector('offer-of', 'The second of three offers of one send.', offer, [
      oneOf(of(1, 3)),
      ['accept', 'other', accepts],
      ...offered.slice(2),
    ]),
    vector('offer-of-joint', 'An offer to whose session others of its send are added.', offer, [
      oneOf(of(0, 3, send, ' joint="true"')),
      ['accept', 'other', accepts],
      ...offered.slice(2),
    ]),
    carries(
      vector(
        'offer-tree',
        'A folder is offered, of which one file could not be read.',
        offer,
        course('party', tree, headOf(folder)),
      ),
      tree,
    ),
    carries(
      vector(
        'offer-batch',
        'A batch is offered, of which two files have one name.',
        offer,
        course('a.txt', several, headOf(batch, ' batch="true"')),
      ),
      several,
    ),
  ];
}

/** What is refused. */
export function wrongManyFiles(): Vector[] {
  const stream = streamOf(batch, '111').length;
  const heads: [string, string, Say][] = [
    ['of-index', 'An offer that is the fourth of three.', oneOf(of(3, 3))],
    ['of-joint', 'Others are added or not.', oneOf(of(0, 3, send, ' joint="maybe"'))],
    ['of-send', 'An offer of a send that is not named rightly.', oneOf(of(0, 3, send.slice(2)))],
    ...(
      [
        ['tree-size', 'A list that is longer than its stream.', headOf(batch), 20],
        [
          'tree-digest',
          'A list whose digest is too short.',
          headOf(batch).replace(/sha256="[^"]*"/, 'sha256="AAAA"'),
          stream,
        ],
        [
          'batch-empty',
          'A batch of no files.',
          headOf({ ...batch, files: [] }, ' batch="true"'),
          stream,
        ],
        ['batch-word', 'A batch or none.', headOf(batch, ' batch="maybe"'), stream],
      ] as const
    ).map(([name, text, head, bytes]): [string, string, Say] => [
      name,
      text,
      ['offer', 'maker', body('offer', named('a.txt', bytes) + head)],
    ]),
  ];
  return heads.map(([name, text, say]) => malformed(name, text, offer, [], say));
}
