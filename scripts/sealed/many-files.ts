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

/** Lines of a list that have not landed. */
const missing = (count: number, lines: string) =>
  `<missing count="${String(count)}">${lines}</missing>`;

/** All that is said of a stream. @param lacks - what has not landed of it */
function course(name: string, stream: Buffer, head: string, lacks = ''): Say[] {
  const bytes = String(stream.length);
  const hash = `<hash xmlns="urn:xmpp:hashes:2" algo="sha-256">${digest(stream).toString('base64')}</hash>`;
  const whole = `<size>${bytes}</size><desc/><range length="${bytes}"/>`;
  const range = `<desc/><range length="${bytes}">${hash}</range>${hash}`;
  return [
    ['offer', 'maker', body('offer', named(name, stream.length) + head)],
    ['accept', 'other', body('accept', file(whole))],
    ['checksum', 'maker', body('checksum', file(range))],
    receipt(file(whole + hash), lacks === '' ? 'file' : 'partly', lacks),
  ];
}

const receipt = (inside: string, as: string, lacks = ''): Say => [
  'landed',
  'other',
  body('landed', inside + lacks, ` as="${as}"`),
];

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
        'A folder is offered, of which one file could not be read: so it has not landed, either.',
        offer,
        course('party', tree, headOf(folder), missing(1, '3')),
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
    carries(
      vector(
        'offer-batch-partly',
        'A batch is offered, of which the first and the last file have not landed.',
        offer,
        course('a.txt', several, headOf(batch, ' batch="true"'), missing(2, '0 2')),
      ),
      several,
    ),
  ];
}

/** Receipts that do not say rightly what of a batch of three files, or of a file, has not landed. */
function wrongReceipts(): Vector[] {
  const stream = streamOf(batch, '111');
  const [offerSay, acceptSay, , landedSay] = course(
    'a.txt',
    stream,
    headOf(batch, ' batch="true"'),
  ) as [Say, Say, Say, Say];
  const inside = /<file.*<.file>/.exec(String(landedSay[2]))?.[0] ?? '';
  const says: [string, string, string, string][] = [
    ['nothing', 'does not say what has not landed', 'partly', ''],
    ['all', 'says that all have landed, and which have not', 'file', missing(1, '1')],
    ['none', 'says that none have not landed', 'partly', missing(0, '')],
    ['line', 'names a line that the list does not have', 'partly', missing(1, '3')],
    ['twice', 'names a line twice', 'partly', missing(2, '1 1')],
    ['order', 'names lines out of their order', 'partly', missing(2, '2 0')],
    ['fewer', 'names fewer lines than it counts', 'partly', missing(3, '0 2')],
    ['more', 'names more lines than it counts', 'partly', missing(1, '0 2')],
    ['many', 'counts more lines than there are', 'partly', missing(4, '0 1 2')],
    ['number', 'names a line by no number', 'partly', missing(2, '0 -1')],
  ];
  const found = says.map(([name, text, as, lacks]): Vector => {
    const about = `A receipt of a batch that ${text}.`;
    const behind = [offerSay, acceptSay];
    const { refused, ...made } = malformed(
      `partly-${name}`,
      about,
      offer,
      behind,
      receipt(inside, as, lacks),
    );
    return { ...made, stream: stream.toString('base64'), ...(refused && { refused }) };
  });
  const [offers, accepted, , landed] = offered as [Say, Say, Say, Say];
  const ofFile = String(landed[2])
    .replace(' as="file"', ' as="partly"')
    .replace('</landed>', `${missing(1, '0')}</landed>`);
  return [
    ...found,
    malformed(
      'partly-file',
      'A receipt that says of a file what says something of many alone.',
      offer,
      [offers, accepted],
      ['landed', 'other', ofFile],
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
  const found = heads.map(([name, text, say]) => malformed(name, text, offer, [], say));
  return [...found, ...wrongReceipts()];
}
