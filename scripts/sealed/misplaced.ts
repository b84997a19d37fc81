/** Vectors of elements that are well sealed, but come when or where they have no place, or are badly formed. */
import { landed, offer, offered, request, requested } from './courses.ts';
import type { Vector, VectorElement } from './format.ts';
import { before, flipped, refusal } from './refusal.ts';
import { drawn, padded, seal, type Say, type Start } from './seal.ts';

/** By another side, too early, or once more. */
export function misplacedElements(): Vector[] {
  const found: Vector[] = [];
  const refuse = (...what: Parameters<typeof refusal>) => found.push(refusal(...what));
  const [offerSay, acceptSay, checksumSay, landedSay] = offered as [Say, Say, Say, Say];
  const [requestSay] = requested as [Say];

  const good = seal(offer, [], offerSay);
  const accept = seal(offer, before(offer, [offerSay]), acceptSay);
  const checksum = seal(offer, before(offer, [offerSay, acceptSay]), checksumSay);
  const receipt = seal(offer, before(offer, [offerSay, acceptSay]), landedSay);
  refuse(
    'out-of-place-request',
    'A request where an offer was due.',
    'out-of-place',
    offer,
    [],
    seal(request, [], requestSay),
  );
  refuse(
    'out-of-place-early-accept',
    'An accept before the offer.',
    'out-of-place',
    offer,
    [],
    accept,
    'maker',
  );
  refuse(
    'out-of-place-early-checksum',
    'A checksum before the accept.',
    'out-of-place',
    offer,
    [offerSay],
    checksum,
  );
  refuse(
    'out-of-place-early-landed',
    'A receipt before the accept.',
    'out-of-place',
    offer,
    [offerSay],
    receipt,
  );
  refuse(
    'out-of-place-offer-returned',
    'The offer comes back to the one who made it.',
    'out-of-place',
    offer,
    [offerSay],
    good,
    'maker',
  );
  refuse(
    'out-of-place-checksum-of-receiver',
    'A checksum comes to the one who encrypts.',
    'out-of-place',
    offer,
    [offerSay, acceptSay],
    checksum,
    'maker',
  );
  refuse(
    'out-of-place-landed-of-sender',
    'A receipt comes to the one who decrypts.',
    'out-of-place',
    offer,
    [offerSay, acceptSay, checksumSay],
    receipt,
    'other',
  );
  refuse('repeated-offer', 'The same offer once more.', 'repeated', offer, [offerSay], good);
  refuse(
    'repeated-accept',
    'The same accept once more.',
    'repeated',
    offer,
    [offerSay, acceptSay],
    accept,
  );
  refuse(
    'repeated-checksum',
    'The same checksum once more.',
    'repeated',
    offer,
    [offerSay, acceptSay, checksumSay],
    checksum,
  );
  const asRange: Say = ['landed', 'other', landed.replace('as="file"', 'as="range"')];
  refuse(
    'repeated-landed',
    'A second receipt that is not the same bytes as the first one.',
    'repeated',
    offer,
    offered,
    seal(offer, before(offer, [offerSay, acceptSay]), asRange),
  );
  return found;
}

/** Of a wrong length, or padded wrongly. */
export function malformedElements(): Vector[] {
  const found: Vector[] = [];
  const refuse = (...what: Parameters<typeof refusal>) => found.push(refusal(...what));
  const [offerSay] = offered as [Say];
  const bad = (padding: Buffer) => seal(offer, [], offerSay, { padded: padding });
  const right = padded(Buffer.from('<offer/>'));
  const malformed: [string, string, VectorElement][] = [
    ['empty', 'No bytes at all.', seal(offer, [], offerSay, { cut: () => Buffer.alloc(0) })],
    ['no-block', 'A nonce and a tag, and nothing between.', bad(Buffer.alloc(0))],
    [
      'half-block',
      'A ciphertext that is not a multiple of 256 bytes.',
      bad(right.subarray(0, 128)),
    ],
    [
      'too-long',
      'One block more than the longest plaintext needs.',
      bad(Buffer.concat([padded(Buffer.alloc(16_384, 'x')), Buffer.alloc(256)])),
    ],
    ['padding', 'Padding that is not zero.', bad(flipped(right, 255))],
    [
      'spare-block',
      'One block of padding more than is needed.',
      bad(Buffer.concat([right, Buffer.alloc(256)])),
    ],
    [
      'length',
      'A length beyond the padded plaintext.',
      bad(Buffer.concat([Buffer.from('000000fd', 'hex'), Buffer.alloc(252)])),
    ],
  ];
  for (const [name, about, element] of malformed)
    refuse(`malformed-${name}`, about, 'malformed', offer, [], element);
  const longIv: Start = { ...offer, secret: { ...offer.secret, iv: drawn('a long iv', 16) } };
  refuse('malformed-iv', 'An IV of 16 bytes.', 'malformed', longIv, [], seal(longIv, [], offerSay));
  return found;
}
