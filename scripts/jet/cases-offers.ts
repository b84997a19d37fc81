/** What is right: ciphers, sizes, forms of the envelope. */
import { message, text, vector, type Recipe } from './build.ts';
import { OMEMO, omemo, type OmemoForm } from './envelopes.ts';
import type { JetVector } from './format.ts';
import { ivOfCounter } from './gcm.ts';
import { Sending } from './omemo.ts';
import { juliet, romeo, tablet } from './parties.ts';

/** Cipher URNs and IVs under the stub. */
export function ciphers(): JetVector[] {
  const made: JetVector[] = [];
  for (const bits of [128, 256] as const)
    for (const ivLength of [12, 16])
      for (const suffix of ['', ':0']) {
        const cipher = `urn:xmpp:ciphers:aes-${String(bits)}-gcm-nopadding${suffix}`;
        const name = `stub-aes-${String(bits)}-iv-${String(ivLength)}${suffix ? '-suffix' : ''}`;
        const spelling = suffix ? 'the URN with :0, as in its table' : 'the URN as in its examples';
        const about = `An offer with the stub of XEP-0391, AES-${String(bits)}, an IV of ${String(ivLength)} bytes, ${spelling}.`;
        made.push(vector(name, about, [{ bits, ivLength, cipher }]));
      }
  for (const bits of [128, 256] as const) {
    const first = Buffer.from('00112233445566778899aabbfffffffe', 'hex');
    const iv = (key: Buffer) => ivOfCounter(key, first);
    const about = `An IV of 16 bytes whose hash ends in fffffffe: after one block of AES-${String(bits)} the counter of 32 bits wraps to 0 without a carry.`;
    made.push(
      vector(`stub-aes-${String(bits)}-counter-wraps`, about, [{ bits, iv, bytes: text(100) }]),
    );
  }
  return made;
}

/** Sizes at the borders of blocks and of what is read or sent at once. */
export function sizes(): JetVector[] {
  const of = (length: number) =>
    length === 0
      ? 'An empty file: the stream is the tag alone.'
      : length === 1
        ? 'A file of one byte.'
        : `A file of ${String(length)} bytes.`;
  const stubs = [0, 1, 15, 16, 17, 31, 32, 33, 255, 256, 257].map((length) =>
    vector(`size-stub-${String(length)}`, of(length), [{ bits: 256, bytes: text(length) }]),
  );
  const blocks = [0, 1, 15, 16, 17, 4095, 4096, 4097].map((length) => {
    const name = `size-omemo-${String(length)}`;
    const recipe = { type: OMEMO, envelope: omemo({ seed: name }), bytes: text(length) };
    return vector(name, of(length), [recipe]);
  });
  const long = [16_383, 16_384, 16_385, 65_537].map((length) =>
    vector(`size-long-${String(length)}`, of(length), [{ long: length }]),
  );
  return [...stubs, ...blocks, ...long];
}

/** Forms of JET-OMEMO that are in use. */
export function envelopes(): JetVector[] {
  const made: JetVector[] = [];
  const add = (
    name: string,
    about: string,
    form: Omit<OmemoForm, 'seed'>,
    recipe: Omit<Recipe, 'seed'> = {},
  ) =>
    made.push(
      vector(`omemo-${name}`, about, [
        { type: OMEMO, envelope: omemo({ seed: `omemo-${name}`, ...form }), ...recipe },
      ]),
    );
  add('key-alone', 'A key exchange; the message holds the key of 16 bytes.', {});
  const urn = 'urn:xmpp:ciphers:aes-128-gcm-nopadding:0';
  add('suffix', 'The cipher URN with :0.', {}, { cipher: urn });
  add('iv-16', 'An IV of 16 bytes.', {}, { ivLength: 16 });
  add('key-and-tag', 'Key and tag of an empty payload, no payload.', { beside: 'tag' });
  const payload = { beside: 'tag', payload: 16 } as const;
  add('key-and-tag-payload', 'Key and tag of the payload beside the header.', payload);
  add('key-and-zeros', 'The key and 16 zeros in place of a tag.', { beside: 'zeros' });
  add('key-alone-payload', 'The key alone, and a payload beside the header.', { payload: 16 });
  const both = { ivLength: 16, cipher: urn };
  add(
    'iv-16-tag-suffix',
    'An IV of 16 bytes, key and tag, the URN with :0.',
    { beside: 'tag' },
    both,
  );
  add('prekey-1', 'The attribute prekey is written as 1.', { prekey: '1' });
  const ivFirst = (key: string, iv: string) => iv + key;
  add('iv-first', 'The IV stands before the keys.', { header: ivFirst });
  const wrapped = (coded: string) => `\n${coded.replace(/.{64}/g, '$&\n')}\n`;
  add('wrapped', 'The base64 of the key is wrapped into lines.', { text: wrapped });
  add('old-signed-prekey', 'The signed prekey before the newest is used.', { signedPreKeyId: 1 });
  add('other-prekey', 'A one-time prekey whose number takes two bytes.', { preKeyId: 300 });
  add('fourth', 'The message is the fourth of its chain, the first three are lost.', { lost: 3 });
  const others = (key: string, iv: string) => {
    const other = omemo({ seed: 'to the tablet', to: tablet });
    const secret = { key: Buffer.alloc(16, 1), iv: Buffer.alloc(12, 2) };
    const found = /<key.*<\/key>/.exec(other(secret))?.[0] ?? '';
    return `${found}<key rid='2147483647'>AAAA</key>${key}${found.replace(String(tablet.id), '1')}${iv}`;
  };
  add('several-keys', 'Keys for four devices, the third is for the reader.', { header: others });
  const extra = (key: string, iv: string) => `<hint xmlns='urn:example:0'>more</hint>${key}${iv}`;
  add('unknown-inside', 'An element of another namespace in the header.', { header: extra });
  const security = (attributes: string, envelope: string) =>
    `<security xmlns='urn:xmpp:jingle:jet:0' ${attributes}>${envelope}</security>`;
  add(
    'no-name',
    'The security element names no content, as one client writes it.',
    {},
    { security },
  );
  const beside = (attributes: string, envelope: string) =>
    `<security xmlns='urn:xmpp:jingle:jet:0' name='a-file' ${attributes}>${envelope}<hint xmlns='urn:example:0'/></security>`;
  add(
    'unknown-beside',
    'An element of another namespace beside the envelope.',
    {},
    { security: beside },
  );
  made.push(...established());
  return made;
}

/** Offers in a session that an earlier message began. */
function established(): JetVector[] {
  const first = (session: Sending, seed: string) => {
    const sealed = omemo({ seed, session });
    const secret = { key: Buffer.alloc(16, 3), iv: Buffer.alloc(12, 4) };
    return message(romeo, juliet, sealed(secret));
  };
  const one = (name: string, about: string, form: Partial<OmemoForm>) => {
    const session = new Sending(romeo, juliet, name);
    const before = [first(session, name)];
    const envelope = omemo({ seed: name, session, ...form });
    return vector(name, about, [{ type: OMEMO, envelope }], { before });
  };
  return [
    one('omemo-session', 'An earlier message began the session: no key exchange.', {
      exchange: false,
    }),
    one('omemo-session-gap', 'The same, and two messages between are lost.', {
      exchange: false,
      lost: 2,
    }),
    one('omemo-session-unanswered', 'The key exchange is repeated, its message is a new one.', {}),
  ];
}
