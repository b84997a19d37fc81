/** From what a case is about to its stanzas, wire bytes and header. */
import { createHash } from 'node:crypto';
import { digest, drawn } from '../vectors/primitives.ts';
import { OMEMO, STUB, stub, type Sealer } from './envelopes.ts';
import type { JetVector, Outcome, VectorBytes, VectorContent, VectorWire } from './format.ts';
import { encrypted, type Secret } from './gcm.ts';
import { shownDevice, type Device } from './omemo.ts';
import { juliet, mallory, romeo } from './parties.ts';

const FILE = 'urn:xmpp:jingle:apps:file-transfer:5';
const HASHES = 'urn:xmpp:hashes:2';
const JINGLE = 'urn:xmpp:jingle:1';
/** Longer ones are told by their length and SHA-256, in bytes. */
const LONGEST_WIRE = 8192;

/** A part of a file. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** What one content is to be; each part by default as the specifications have it. */
export interface Recipe {
  /** Names it: its secret comes from it. */
  readonly seed: string;
  readonly outcome?: Outcome;
  readonly stoppingEarly?: Outcome;
  readonly name?: string;
  readonly creator?: 'initiator' | 'responder';
  readonly senders?: 'initiator' | 'responder' | 'both';
  readonly bits?: 128 | 256;
  readonly ivLength?: number;
  readonly key?: Buffer;
  readonly iv?: (key: Buffer) => Buffer;
  /** The whole file. */
  readonly bytes?: Buffer;
  /** The whole file by the rule, in bytes. */
  readonly long?: number;
  /** What of it is sent. */
  readonly extent?: Extent;
  /** Children of `<file/>` in the stanza that adds the content, and in the one that accepts it. */
  readonly file?: (size: number, bytes: Buffer) => string;
  readonly granted?: (size: number, bytes: Buffer) => string;
  readonly description?: (file: string) => string;
  readonly type?: string;
  readonly cipher?: string;
  readonly envelope?: Sealer;
  /** Puts `<security/>` together, from its attributes but for the name. */
  readonly security?: (attributes: string, envelope: string) => string;
  /** Changes what goes over the bytestream. */
  readonly wire?: (wire: Buffer, secret: Secret, bytes: Buffer) => Buffer;
}

/** A content ready to be put into stanzas. */
export interface Made {
  readonly recipe: Recipe;
  readonly added: string;
  readonly accepted: string;
  readonly shown: VectorContent;
  readonly bytes: Buffer;
}

/** Bytes by the rule: SHA-256 of the seed and 0, of the seed and 1, … */
export function byRule(seed: string, length: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(length / 32) }, (_, n) =>
    digest(`${seed} ${String(n)}`),
  );
  return Buffer.concat(blocks).subarray(0, length);
}

/** `<hash/>`; `hex` as clients write it that encode the hexadecimal text. */
export function hash(bytes: Buffer, algo = 'sha-256', form: 'raw' | 'hex' = 'raw'): string {
  const computed = createHash(algo === 'sha-1' ? 'sha1' : algo.replace('sha-', 'sha')).update(
    bytes,
  );
  const value = form === 'raw' ? computed.digest() : Buffer.from(computed.digest('hex'));
  return `<hash xmlns='${HASHES}' algo='${algo}'>${value.toString('base64')}</hash>`;
}

/** `<range/>`; a length of Infinity is left out. */
export function range({ offset, length }: Extent, inside = ''): string {
  const end = length === Infinity ? '' : ` length='${String(length)}'`;
  return `<range offset='${String(offset)}'${end}>${inside}</range>`;
}

/** Text of so many bytes. */
export const text = (length: number) =>
  Buffer.from('It was the nightingale. '.repeat(1000)).subarray(0, length);

const plainFile = (size: number) => `<name>letter.txt</name><size>${String(size)}</size>`;

/** Makes a content. */
export function content(recipe: Recipe): Made {
  const { seed, bits = 128, ivLength = 12, name = 'a-file', creator = 'initiator' } = recipe;
  const { senders = 'initiator', type = STUB, outcome = 'success' } = recipe;
  const key = recipe.key ?? drawn(`${seed}, key`, bits / 8);
  const iv = recipe.iv?.(key) ?? drawn(`${seed}, IV`, ivLength);
  const secret = { key, iv };
  const ruled = recipe.long === undefined ? undefined : { seed, length: recipe.long };
  const bytes = ruled ? byRule(seed, ruled.length) : (recipe.bytes ?? text(44));
  const { offset, length } = recipe.extent ?? { offset: 0, length: bytes.length };
  const sent = bytes.subarray(offset, offset + length);
  const encoded = encrypted(secret, sent);
  const wire = recipe.wire?.(encoded, secret, bytes) ?? encoded;
  const attributes = `cipher='${recipe.cipher ?? `urn:xmpp:ciphers:aes-${String(bits)}-gcm-nopadding`}' type='${type}'`;
  const envelope = (recipe.envelope ?? stub())(secret);
  const security =
    recipe.security?.(attributes, envelope) ??
    `<security xmlns='urn:xmpp:jingle:jet:0' name='${name}' ${attributes}>${envelope}</security>`;
  const describe = (inside: string) => {
    const file = `<file>${inside}</file>`;
    return `<description xmlns='${FILE}'>${recipe.description?.(file) ?? file}</description>`;
  };
  const transport = `<transport xmlns='urn:xmpp:jingle:transports:ibb:1' block-size='4096' sid='${drawn(`${seed}, stream`, 6).toString('hex')}'/>`;
  const open = `<content creator='${creator}' name='${name}' senders='${senders}'>`;
  const file = (recipe.file ?? plainFile)(bytes.length, bytes);
  const granted = (recipe.granted ?? plainFile)(bytes.length, bytes);
  const shown: VectorContent = {
    creator,
    name,
    outcome,
    ...(recipe.stoppingEarly && { stoppingEarly: recipe.stoppingEarly }),
    secret: { key: key.toString('hex'), iv: iv.toString('hex') },
    plaintext: ruled && recipe.extent === undefined ? ruled : shownBytes(sent),
    ...(recipe.extent && { file: ruled ?? shownBytes(bytes) }),
    wire: shownWire(wire),
  };
  return {
    recipe,
    added: `${open}${describe(file)}${transport}${security}</content>`,
    accepted: `${open}${describe(granted)}${transport}</content>`,
    shown,
    bytes,
  };
}

const shownBytes = (bytes: Buffer): VectorBytes => ({ base64: bytes.toString('base64') });

function shownWire(wire: Buffer): VectorWire {
  if (wire.length <= LONGEST_WIRE) return { base64: wire.toString('base64') };
  const [sha256, tag] = [digest(wire).toString('hex'), wire.subarray(-16).toString('hex')];
  return { length: wire.length, sha256, tag };
}

/** A stanza of a session between two devices. */
export interface Course {
  readonly initiator: Device;
  readonly responder: Device;
  readonly sid: string;
}

/** A Jingle stanza. */
export function jingle(course: Course, action: string, from: Device, inside: string): string {
  const { initiator, responder, sid } = course;
  const to = from === initiator ? responder : initiator;
  const id = drawn(`${sid} ${action} ${inside}`, 4).toString('hex');
  return (
    `<iq xmlns='jabber:client' from='${from.jid}' to='${to.jid}' id='${id}' type='set'>` +
    `<jingle xmlns='${JINGLE}' action='${action}' sid='${sid}' initiator='${initiator.jid}'>` +
    `${inside}</jingle></iq>`
  );
}

/** A `<checksum/>` about a content. */
export function checksum(of: Made, inside: string): string {
  const { creator, name } = of.shown;
  return `<checksum xmlns='${FILE}' creator='${creator}' name='${name}'><file>${inside}</file></checksum>`;
}

/** An OMEMO message outside of any session. */
export const message = (from: Device, to: Device, encryptedElement: string) =>
  `<message xmlns='jabber:client' from='${from.jid}' to='${to.jid}'>${encryptedElement}</message>`;

const AFTER_ACCEPT: ReadonlySet<Outcome> = new Set<Outcome>([
  'success',
  'size mismatch',
  'tag mismatch',
  'hash mismatch',
]);

/** What is beside the contents of a vector. */
export interface Surroundings {
  readonly initiator?: Device;
  readonly reader?: Device;
  readonly before?: readonly string[];
  /** Behind the accept. */
  readonly later?: (course: Course, contents: readonly Made[]) => readonly string[];
  /** All stanzas, where they are others than initiate and accept. */
  readonly stanzas?: (course: Course, contents: readonly Made[]) => readonly string[];
}

/** A vector of one session. */
export function vector(
  name: string,
  about: string,
  recipes: readonly Omit<Recipe, 'seed'>[],
  around: Surroundings = {},
): JetVector {
  const contents = recipes.map((recipe, i) =>
    content({ ...recipe, seed: i === 0 ? name : `${name} ${String(i)}` }),
  );
  const { initiator = romeo, reader = juliet } = around;
  const responder = initiator === juliet ? romeo : juliet;
  const course = { initiator, responder, sid: drawn(`${name}, session`, 8).toString('hex') };
  const taken = contents.filter(({ shown }) => AFTER_ACCEPT.has(shown.outcome));
  const added = contents.map((one) => one.added).join('');
  const accepted = taken.map((one) => one.accepted).join('');
  const plain = [
    jingle(course, 'session-initiate', initiator, added),
    ...(taken.length > 0 ? [jingle(course, 'session-accept', responder, accepted)] : []),
    ...(around.later?.(course, contents) ?? []),
  ];
  const failed = contents.find(({ shown }) => shown.outcome !== 'success');
  const usesOmemo = contents.some(({ recipe }) => recipe.type === OMEMO);
  const known = reader === juliet ? [romeo, mallory] : [juliet, mallory];
  return {
    name,
    about,
    outcome: failed?.shown.outcome ?? 'success',
    reader: { jid: reader.jid, ...(usesOmemo && { omemo: shownDevice(reader, known) }) },
    ...(around.before && { before: around.before }),
    stanzas: around.stanzas?.(course, contents) ?? plain,
    contents: contents.map(({ shown }) => shown),
  };
}
