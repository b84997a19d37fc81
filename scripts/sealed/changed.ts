/** Vectors of elements that are not what was sealed for this place (docs/sealed.md §10, `not-authentic`). */
import { alice, bob, body, file, mallory, offer, offered, request, size } from './courses.ts';
import type { Vector } from './format.ts';
import { before, flipped, refusal } from './refusal.ts';
import { drawn, seal, shared, type Say, type Start } from './seal.ts';

/** What surrounds an element was changed, or its bytes. */
export function changedElements(): Vector[] {
  const found: Vector[] = [];
  const refuse = (...what: Parameters<typeof refusal>) => found.push(refusal(...what));
  const [offerSay] = offered as [Say];
  const changed: [string, string, Start][] = [
    [
      'sid',
      'It was sealed for another session.',
      { ...offer, binding: { ...offer.binding, sid: 'another' } },
    ],
    [
      'name',
      'It was sealed for another content.',
      { ...offer, binding: { ...offer.binding, name: 'another' } },
    ],
    [
      'cipher',
      'It was sealed for another spelling of the cipher.',
      { ...offer, binding: { ...offer.binding, cipher: `${offer.binding.cipher}:0` } },
    ],
    [
      'type',
      'It was sealed for another type of envelope.',
      { ...offer, binding: { ...offer.binding, type: 'urn:xmpp:omemo:2' } },
    ],
    [
      'maker-jid',
      'It was sealed by another address.',
      { ...offer, maker: { ...alice, jid: 'alice@wonderland.example/jet.0000' } },
    ],
    [
      'other-jid',
      'It was sealed for another address.',
      { ...offer, other: { ...bob, jid: mallory.jid } },
    ],
    [
      'other-device',
      'It was sealed for another device of the recipient.',
      { ...offer, other: { ...mallory, jid: bob.jid } },
    ],
    [
      'iv',
      'The IV was changed on the way.',
      { ...offer, secret: { ...offer.secret, iv: drawn('another iv', 12) } },
    ],
    [
      'key',
      'Another transport key.',
      { ...offer, secret: { ...offer.secret, key: drawn('another key', 16) } },
    ],
    [
      'agreement',
      'It was made by somebody who knows the transport key, but holds no identity key of the two: another device of the account.',
      { ...offer, agreement: shared(mallory, bob) },
    ],
    [
      'creator',
      'It was sealed as a content that the responder had added.',
      { ...offer, binding: { ...offer.binding, creator: 'responder', senders: 'responder' } },
    ],
  ];
  for (const [name, about, start] of changed)
    refuse(`not-authentic-${name}`, about, 'not-authentic', offer, [], seal(start, [], offerSay));

  const turned = seal(offer, [], offerSay);
  const whole = Buffer.from(turned.sealed, 'base64').length;
  const spoilt: [string, number][] = [
    ['nonce', 0],
    ['ciphertext', 12],
    ['tag', whole - 1],
  ];
  for (const [where, at] of spoilt)
    refuse(
      `not-authentic-${where}`,
      `One bit of the ${where} is changed.`,
      'not-authentic',
      offer,
      [],
      seal(offer, [], offerSay, { cut: (sealed) => flipped(sealed, at) }),
    );
  const flip: Start = { ...request, binding: { ...offer.binding, senders: 'responder' } };
  refuse(
    'not-authentic-turned',
    'An offer turned into a request: senders and label are changed.',
    'not-authentic',
    flip,
    [],
    { ...turned, label: 'request' },
  );
  refuse(
    'out-of-place-turned',
    'An offer turned into a request: senders alone is changed.',
    'out-of-place',
    flip,
    [],
    turned,
  );
  return found;
}

/** Elements out of another course. */
export function elementsOfOthers(): Vector[] {
  const found: Vector[] = [];
  const refuse = (...what: Parameters<typeof refusal>) => found.push(refusal(...what));
  const [offerSay, acceptSay, checksumSay, landedSay] = offered as [Say, Say, Say, Say];
  const otherOffer: Say = [
    'offer',
    'maker',
    body('offer', file(`<name>two.txt</name>${size}<desc/>`)),
  ];
  refuse(
    'not-authentic-accept-of-another',
    'An accept of another offer in the same session.',
    'not-authentic',
    offer,
    [offerSay],
    seal(offer, before(offer, [otherOffer]), acceptSay),
  );
  const otherAccept: Say = [
    'accept',
    'other',
    body('accept', file(`${size}<desc/><range length="1"/>`)),
  ];
  refuse(
    'not-authentic-checksum-of-another',
    'A checksum behind another accept: a replayed session.',
    'not-authentic',
    offer,
    [offerSay, acceptSay],
    seal(offer, before(offer, [offerSay, otherAccept]), checksumSay),
  );
  refuse(
    'not-authentic-landed-of-another',
    'A receipt behind another accept: a replayed session.',
    'not-authentic',
    offer,
    [offerSay, acceptSay, checksumSay],
    seal(offer, before(offer, [offerSay, otherAccept]), landedSay),
  );
  refuse(
    'not-authentic-label',
    'The bytes of the accept, said to be a receipt.',
    'not-authentic',
    offer,
    [offerSay, acceptSay, checksumSay],
    { ...seal(offer, before(offer, [offerSay]), acceptSay), label: 'landed' },
  );
  return found;
}
