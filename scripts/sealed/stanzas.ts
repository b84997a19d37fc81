/** Vectors of stanzas that lack an element or hold a wrong one, and of elements that say what is of no use. */
import {
  accepts,
  body,
  file,
  hash,
  landed,
  length,
  offer,
  offered,
  size,
  wholeRange,
} from './courses.ts';
import type { Reason, Vector, VectorElement } from './format.ts';
import { element, placed, withoutId } from './refusal.ts';
import { seal, vector, type Say } from './seal.ts';

/** What is wrong with the stanza, or with what a sealed element says, rather than with the sealing. */
export function wrongStanzas(): Vector[] {
  const [offerSay, acceptSay, , landedSay] = offered as [Say, Say, Say, Say];
  const found: Vector[] = [];
  const refuse = (
    name: string,
    about: string,
    reason: Reason,
    behind: readonly Say[],
    by: 'maker' | 'other',
    label: string,
    stanza: (before: readonly VectorElement[]) => string,
  ) => {
    const whole = vector(`refused-${name}`, about, offer, behind);
    found.push(withoutId(whole, { by, label, stanza: stanza(whole.elements), reason }));
  };
  refuse(
    'missing-accept',
    'The accept was taken out of the session-accept.',
    'missing',
    [offerSay],
    'maker',
    'accept',
    () => placed('accept', ''),
  );
  refuse(
    'missing-checksum',
    'The sealed element was taken out of the checksum.',
    'missing',
    [offerSay, acceptSay],
    'other',
    'checksum',
    () => placed('checksum', ''),
  );
  refuse(
    'repeated-in-one-place',
    'Two sealed elements in one place.',
    'repeated',
    [offerSay],
    'maker',
    'accept',
    (before) => {
      const { sealed } = seal(offer, before, acceptSay);
      return placed('accept', element('accept', sealed) + element('accept', sealed));
    },
  );
  refuse(
    'out-of-place-in-stanza',
    'A receipt where the accept has its place.',
    'out-of-place',
    [offerSay],
    'maker',
    'accept',
    (before) =>
      placed('accept', element('landed', seal(offer, before, ['landed', 'other', landed]).sealed)),
  );
  refuse('malformed-base64', 'No base64.', 'malformed', [offerSay], 'maker', 'accept', () =>
    placed('accept', element('accept', '%%%')),
  );
  const says: [string, string, 'maker' | 'other', Say[], Say][] = [
    ['not-xml', 'A body that is no XML.', 'other', [], ['offer', 'maker', '<offer']],
    [
      'other-body',
      'A body of another label than the element.',
      'other',
      [],
      ['offer', 'maker', accepts],
    ],
    [
      'two-files',
      'A body with two files.',
      'other',
      [],
      ['offer', 'maker', body('offer', file(`<name>a</name>${size}`).repeat(2))],
    ],
    ['no-file', 'A body without a file.', 'other', [], ['offer', 'maker', body('offer', '')]],
    [
      'no-name',
      'An offer that names no file.',
      'other',
      [],
      ['offer', 'maker', body('offer', file(`${size}<desc/>`))],
    ],
    [
      'no-size',
      'An offer that tells no size.',
      'other',
      [],
      ['offer', 'maker', body('offer', file('<name>a</name><desc/>'))],
    ],
    [
      'accept-size',
      'An accept about a file of another size.',
      'maker',
      [offerSay],
      ['accept', 'other', body('accept', file('<size>24</size><desc/><range length="24"/>'))],
    ],
    [
      'accept-range',
      'An accept of a range beyond the end.',
      'maker',
      [offerSay],
      [
        'accept',
        'other',
        body('accept', file(`${size}<desc/><range offset="1" length="${length}"/>`)),
      ],
    ],
    [
      'checksum-range',
      'A checksum about other bytes than were accepted.',
      'other',
      [offerSay, acceptSay],
      ['checksum', 'maker', body('checksum', file(`<desc/><range length="1">${hash}</range>`))],
    ],
    [
      'checksum-weak',
      'A checksum without a SHA-256 of the range.',
      'other',
      [offerSay, acceptSay],
      ['checksum', 'maker', body('checksum', file(`<desc/><range length="${length}"/>${hash}`))],
    ],
    [
      'landed-as',
      'A receipt that does not say where the bytes went.',
      'maker',
      [offerSay, acceptSay],
      ['landed', 'other', String(landedSay[2]).replace(' as="file"', '')],
    ],
    [
      'landed-hash',
      'A receipt without a hash.',
      'maker',
      [offerSay, acceptSay],
      ['landed', 'other', body('landed', file(`${size}<desc/>${wholeRange}`), ' as="file"')],
    ],
  ];
  for (const [name, about, by, behind, say] of says)
    refuse(`malformed-${name}`, about, 'malformed', behind, by, say[0], (before) =>
      placed(say[0], element(say[0], seal(offer, before, say).sealed)),
    );
  return found;
}
