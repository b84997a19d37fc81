/** What is wrong with `<security/>` or its envelope: nothing of the stream may be used. */
import { message, vector, type Recipe, type Surroundings } from './build.ts';
import { flip } from './cases-streams.ts';
import { OMEMO, omemo, STUB, stub, type OmemoForm } from './envelopes.ts';
import type { JetVector, Outcome } from './format.ts';
import { Sending } from './omemo.ts';
import { exchanged, juliet, mallory, romeo, tablet, unknown } from './parties.ts';

type Plan = Omit<Recipe, 'seed' | 'outcome'>;

const refused =
  (outcome: Outcome, prefix: string) =>
  (name: string, about: string, recipe: Plan, around: Surroundings = {}) =>
    vector(`${prefix}-${name}`, about, [{ ...recipe, outcome }], around);

/** The same for JET-OMEMO, by the form of its envelope. */
const refusedOmemo =
  (outcome: Outcome, prefix: string) =>
  (name: string, about: string, form: Partial<OmemoForm>, around: Surroundings = {}) =>
    refused(outcome, prefix)(
      name,
      about,
      { type: OMEMO, envelope: omemo({ seed: `${prefix}-${name}`, ...form }) },
      around,
    );

const JET = 'urn:xmpp:jingle:jet:0';

/** `<security/>` itself. */
export function wrongSecurity(): JetVector[] {
  const one = refused('malformed security', 'security');
  const cipher = refused('unknown cipher', 'cipher');
  const envelope = refused('unknown envelope', 'type');
  const clear = refused('not encrypted', 'clear');
  const whole = (attributes: string, inside: string) =>
    `<security xmlns='${JET}' name='a-file' ${attributes}>${inside}</security>`;
  const urn = (name: string): Plan => ({ cipher: `urn:xmpp:ciphers:${name}` });
  return [
    clear('no-security', 'An offer without a security element.', { security: () => '' }),
    clear('other-namespace', 'The security element is of another namespace.', {
      security: (attributes, inside) => whole(attributes, inside).replace(JET, 'urn:example:0'),
    }),
    one('no-cipher', 'No cipher is named.', {
      security: (attributes, inside) => whole(attributes.replace(/cipher='[^']*'/, ''), inside),
    }),
    one('no-type', 'No type of envelope is named.', {
      security: (attributes, inside) => whole(attributes.replace(/type='[^']*'/, ''), inside),
    }),
    one('empty', 'There is no envelope.', { security: (attributes) => whole(attributes, '') }),
    one('two-envelopes', 'There are two envelopes.', {
      security: (attributes, inside) => whole(attributes, inside + inside),
    }),
    one('two-elements', 'There are two security elements.', {
      security: (attributes, inside) => whole(attributes, inside).repeat(2),
    }),
    one('other-content', 'It names another content.', {
      security: (attributes, inside) => whole(attributes, inside).replace('a-file', 'b-file'),
    }),
    one('other-type', 'The envelope is of another namespace than the type says.', {
      security: (attributes, inside) => whole(attributes.replace(STUB, OMEMO), inside),
    }),
    cipher('made-up', 'A cipher that nobody knows.', urn('rot-13')),
    cipher(
      'later-version',
      'A version of the cipher that is not there.',
      urn('aes-128-gcm-nopadding:1'),
    ),
    cipher('cbc', 'Another mode of AES.', urn('aes-128-cbc')),
    cipher('upper-case', 'A URN in other letters.', urn('AES-128-GCM-NOPADDING')),
    cipher('omemo-256', 'AES-256 in JET-OMEMO, which carries AES-128 alone.', {
      bits: 256,
      type: OMEMO,
      envelope: omemo({ seed: 'cipher-omemo-256' }),
    }),
    envelope('made-up', 'A type of envelope that nobody knows.', {
      type: 'urn:example:envelope:0',
      envelope: () => "<encrypted xmlns='urn:example:envelope:0'/>",
    }),
  ];
}

/** Envelopes in which there is no secret that fits. */
export function malformedEnvelopes(): JetVector[] {
  const stubOf = refused('malformed envelope', 'stub');
  const one = refusedOmemo('malformed envelope', 'omemo-malformed');
  const payload = (text: string): Plan => ({ envelope: stub(() => text) });
  const base64 = (length: number) => Buffer.alloc(length, 9).toString('base64');
  const ivOf = (length: number) => ({ iv: () => base64(length) });
  return [
    stubOf('no-payload', 'The stub is empty.', {
      envelope: () => `<encrypted xmlns='${STUB}'/>`,
    }),
    stubOf('no-base64', 'The payload is no base64.', payload('%%%')),
    stubOf('key-alone', 'The payload is the key without an IV.', payload(base64(16))),
    stubOf('iv-11', 'The IV has 11 bytes.', payload(base64(27))),
    stubOf('iv-17', 'The IV has 17 bytes.', payload(base64(33))),
    stubOf('key-of-128', 'A key of AES-128 where the cipher is AES-256.', {
      bits: 256,
      ...payload(base64(28)),
    }),
    stubOf('other-name', 'The envelope has another name.', {
      envelope: (secret) => stub()(secret).replace(/encrypted/g, 'sealed'),
    }),
    one('no-iv', 'There is no IV.', { iv: null }),
    one('iv-empty', 'The IV is empty.', { iv: () => '' }),
    one('iv-11', 'The IV has 11 bytes.', ivOf(11)),
    one('iv-13', 'The IV has 13 bytes.', ivOf(13)),
    one('iv-32', 'The IV has 32 bytes.', ivOf(32)),
    one('iv-no-base64', 'The IV is no base64.', { iv: () => '%%%' }),
    one('key-15', 'The message holds 15 bytes.', { holds: (key) => key.subarray(0, 15) }),
    one('key-24', 'The message holds a key and half a tag.', {
      holds: (key) => Buffer.concat([key, Buffer.alloc(8)]),
    }),
    one('key-48', 'The message holds 48 bytes.', {
      holds: (key) => Buffer.concat([key, Buffer.alloc(32)]),
    }),
    one('key-empty', 'The message holds nothing.', { holds: () => Buffer.alloc(0) }),
    one('no-base64', 'The key is no base64.', { text: () => '%%%' }),
    one('no-bytes', 'The key is empty.', { text: () => '' }),
    one('cut', 'The key exchange was cut.', { outer: (bytes) => bytes.subarray(0, 60) }),
    one('version', 'The key exchange is of another version.', {
      outer: (bytes) => Buffer.concat([Buffer.of(0x22), bytes.subarray(1)]),
    }),
    one('inner-version', 'The message in the key exchange is of another version.', {
      inner: (bytes) => Buffer.concat([Buffer.of(0x22), bytes.subarray(1)]),
    }),
    one('no-header', 'There is no header.', { whole: () => '' }),
    one('no-sid', 'The header does not say from which device it is.', { sid: null }),
    one('sid-no-number', 'The number of the sending device is none.', { sid: 'x' }),
    one('two-keys', "Two keys for the reader's device.", { header: (key, iv) => key + key + iv }),
  ];
}

/** Envelopes that are not from whom they have to be, not for the reader, or not as they were made. */
export function foreignEnvelopes(): JetVector[] {
  const stranger = refusedOmemo('envelope from a stranger', 'stranger');
  const other = refusedOmemo('envelope for another device', 'not-for-us');
  const changed = refusedOmemo('envelope changed', 'changed');
  const session = (from: typeof romeo, seed: string) => {
    const sending = new Sending(from, juliet, seed);
    const secret = { key: Buffer.alloc(16, 3), iv: Buffer.alloc(12, 4) };
    const sealed = omemo({ seed, from, session: sending })(secret);
    return { sending, before: [message(from, juliet, sealed)] };
  };
  const known = session(romeo, 'changed-in-session');
  const hers = session(mallory, 'stranger-session-of-another');
  return [
    stranger(
      'new-device',
      'A device of the right account that nobody trusts.',
      { from: unknown },
      {
        initiator: unknown,
      },
    ),
    stranger('new-key', 'The number of the known device, another key.', { from: exchanged }),
    stranger(
      'other-account',
      'A device that is trusted, but of another account than the stanza is from.',
      { from: mallory },
    ),
    stranger('other-number', 'The key of another account under the number of the known device.', {
      from: mallory,
      sid: romeo.id,
    }),
    stranger('no-session', 'A message of a session that there is not.', { exchange: false }),
    stranger(
      'session-of-another',
      'A message of the session with another account.',
      { from: mallory, session: hers.sending, exchange: false },
      { before: hers.before },
    ),
    stranger('foreign-identity', 'A key exchange under an identity key that was put in.', {
      departure: { identity: unknown.identity },
    }),
    other('tablet-alone', 'The only key is for another device.', { to: tablet }),
    other('no-keys', 'A header without keys, as one client sends it before there is a session.', {
      header: (_, iv) => iv,
    }),
    other('rid-no-number', 'The number of the receiving device is none.', { rid: 'x' }),
    changed('mac', 'One bit of the MAC was turned.', { inner: flip(-1) }),
    changed('ciphertext', 'One bit of the encrypted key was turned.', { inner: flip(-12) }),
    changed('ratchet-key', 'One bit of the ratchet key was turned.', { inner: flip(10) }),
    changed('base-key', 'One bit of the base key was turned.', { outer: flip(10) }),
    changed('other-prekey', 'Another one-time prekey is named than was used.', {
      departure: { preKeyId: 2 },
    }),
    changed('other-signed-prekey', 'Another signed prekey is named than was used.', {
      departure: { signedPreKeyId: 1 },
    }),
    changed(
      'in-session',
      'The same in a session that stands.',
      { session: known.sending, exchange: false, inner: flip(-1) },
      { before: known.before },
    ),
    ...replays(),
  ];
}

/** Envelopes whose keys were used before. */
function replays(): JetVector[] {
  const one = refusedOmemo('envelope replayed', 'replayed');
  const made = (seed: string, form: Partial<OmemoForm> = {}) => {
    const key = Buffer.alloc(16, 5);
    const sealed = omemo({ seed, ...form })({ key, iv: Buffer.alloc(12, 6) });
    return [message(romeo, juliet, sealed)];
  };
  const twice = { holds: () => Buffer.alloc(16, 5) };
  const session = new Sending(romeo, juliet, 'replayed-in-session');
  const before = made('replayed-in-session', { session });
  const again = new Sending(romeo, juliet, 'replayed-in-session');
  return [
    one('exchange', 'The key exchange came before.', twice, { before: made('replayed-exchange') }),
    one(
      'in-session',
      'The message of the key exchange comes again without it.',
      { session: again, exchange: false, ...twice },
      { before },
    ),
    one(
      'prekey',
      'A new key exchange names a one-time prekey that was used.',
      {},
      {
        before: made('replayed-prekey, first'),
      },
    ),
    one('unknown-prekey', 'The key exchange names a one-time prekey that there is not.', {
      departure: { preKeyId: 77 },
    }),
    one('unknown-signed-prekey', 'The key exchange names a signed prekey that there is not.', {
      departure: { signedPreKeyId: 77 },
    }),
  ];
}

/** The key stands for the IV (XEP-0391 §7). */
export function reusedKeys(): JetVector[] {
  const one = refused('key reused as IV', 'key-as-iv');
  const start = (length: number) => (key: Buffer) => Buffer.from(key.subarray(0, length));
  const omemoOf = (seed: string) => ({ type: OMEMO, envelope: omemo({ seed }) });
  return [
    one('stub', 'The IV of 16 bytes is the key.', { iv: start(16) }),
    one('stub-start', 'The IV of 12 bytes is the start of the key.', { iv: start(12) }),
    one('stub-256', 'The IV of 12 bytes is the start of a key of 32.', {
      bits: 256,
      iv: start(12),
    }),
    one('stub-256-end', 'The IV of 12 bytes is the end of a key of 32.', {
      bits: 256,
      iv: (key) => Buffer.from(key.subarray(20)),
    }),
    one('omemo', 'The IV of 16 bytes is the key, in JET-OMEMO.', {
      ...omemoOf('key-as-iv-omemo'),
      iv: start(16),
    }),
    one('omemo-start', 'The IV of 12 bytes is the start of the key, in JET-OMEMO.', {
      ...omemoOf('key-as-iv-omemo-start'),
      iv: start(12),
    }),
  ];
}
