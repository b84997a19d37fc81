/**
 * The vectors of docs/sealed.md: three implementations agree about them, the program's, the generator's
 * and one in Python. The source of random bytes is replaced, so that nonces are those of the vectors.
 */
import { spawnSync } from 'node:child_process';
import type * as crypto from 'node:crypto';
import { createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { vectors } from '../../../scripts/sealed-vectors.ts';
import type { Refused, Vector, VectorDevice } from '../../../scripts/sealed/format.ts';
import { fileText } from '../../../scripts/vectors/files.ts';
import { Jid } from '../../../src/core/jid.ts';
import { SealedError, Seals, type Binding, type Label } from '../../../src/jet/sealed.ts';
import { readSealed } from '../../../src/jet/sealed-element.ts';
import { SealedContent } from '../../../src/transfer/sealed.ts';
import { parse, type Element } from '../../../src/xmpp/xml.ts';

const drawn = vi.hoisted((): Buffer[] => []);
vi.mock('node:crypto', async (original) => ({
  ...(await original<typeof crypto>()),
  randomBytes: (length: number) => {
    const bytes = drawn.shift();
    if (bytes?.length !== length) throw new Error('nothing is to be drawn now');
    return bytes;
  },
}));

const folder = new URL('../../vectors/sealed/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
const stored = files.map((name): [string, Vector] => [
  name,
  JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as Vector,
]);
const refusals = stored.filter(([, { refused }]) => refused !== undefined);

const hex = (text: string) => Buffer.from(text, 'hex');
const base64 = (text: string) => Buffer.from(text, 'base64');

function agreed(own: VectorDevice, peer: VectorDevice): Buffer {
  const pkcs8 = Buffer.concat([hex('302e020100300506032b656e04220420'), hex(own.privateKey)]);
  const spki = Buffer.concat([hex('302a300506032b656e032100'), hex(peer.identityKey)]);
  return diffieHellman({
    privateKey: createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }),
    publicKey: createPublicKey({ key: spki, format: 'der', type: 'spki' }),
  });
}

function party({ jid, identityKey }: VectorDevice): Binding['maker'] {
  const parsed = Jid.parse(jid);
  if (parsed === undefined) throw new Error(`${jid} is no address`);
  return { jid: parsed, identityKey: hex(identityKey) };
}

type Sides = Readonly<Record<'maker' | 'other', Seals>>;

function sides(vector: Vector): Sides {
  const { maker, other, binding, secret } = vector;
  const bound: Binding = { ...binding, maker: party(maker), other: party(other) };
  const { key, iv } = secret;
  const side = (self: 'maker' | 'other', own: VectorDevice, peer: VectorDevice) =>
    new Seals({ key: hex(key), iv: hex(iv) }, agreed(own, peer), bound, self);
  return { maker: side('maker', maker, other), other: side('other', other, maker) };
}

/** Both sides say and open what the vector holds. */
function play(vector: Vector): Sides {
  const both = sides(vector);
  for (const { label, from, plaintext, nonce, sealed } of vector.elements) {
    drawn.push(hex(nonce));
    const said = both[from].seal(label as Label, Buffer.from(plaintext));
    expect(said.toString('base64')).toBe(sealed);
    const heard = both[from === 'maker' ? 'other' : 'maker'].open(label as Label, base64(sealed));
    expect(heard.toString()).toBe(plaintext);
  }
  return both;
}

/** How the program reads the place that an element has. */
function read(seals: Seals, vector: Vector, label: string, stanza: Element): unknown {
  const content = new SealedContent(seals, vector.binding);
  const size = 23;
  const whole = { offset: 0, length: size };
  switch (label) {
    case 'offer': {
      const found = readSealed(stanza.getChildElements(), 'offer');
      return found && content.openOffer(found.bytes);
    }
    case 'accept':
      return content.openAccept(stanza.getChildElements(), size);
    case 'checksum':
      return content.openChecksum(stanza, whole);
    default:
      return content.openLanded(stanza);
  }
}

function open(vector: Vector, { by, label, sealed, stanza }: Refused): unknown {
  const seals = play(vector)[by];
  if (sealed !== undefined) return seals.open(label as Label, base64(sealed));
  const element = parse(stanza ?? '');
  if (element === undefined) throw new Error('the stanza of the vector is no XML');
  return read(seals, vector, label, element);
}

beforeEach(() => {
  drawn.length = 0;
});

test('the files are what `npx tsx scripts/sealed-vectors.ts` writes', () => {
  const made = vectors();
  expect([...made.keys()].sort()).toEqual([...files].sort());
  for (const [name, vector] of made)
    expect(readFileSync(new URL(name, folder), 'utf8'), name).toBe(fileText(vector));
});

test('every label has a vector in both courses, every reason one that is refused', () => {
  const labels = (name: string) =>
    stored.find(([file]) => file === `${name}.json`)?.[1].elements.map(({ label }) => label);
  expect(labels('offer')).toEqual(['offer', 'accept', 'checksum', 'landed']);
  expect(labels('request')).toEqual(['request', 'accept', 'checksum', 'landed']);
  const reasons = new Set(refusals.map(([, { refused }]) => refused?.reason));
  expect([...reasons].sort()).toEqual([
    'malformed',
    'missing',
    'not-authentic',
    'out-of-place',
    'repeated',
  ]);
});

describe('what is said', () => {
  test.each(stored.filter(([, { refused }]) => refused === undefined))('%s', (_, vector) => {
    const both = play(vector);
    const id = vector.transferId?.id;
    if (id === undefined) return;
    expect(both.maker.transferId()).toBe(id);
    expect(both.other.transferId()).toBe(id);
  });

  test('offer.json holds what this program says of a file', () => {
    const vector = stored.find(([name]) => name === 'offer.json')?.[1];
    if (vector === undefined) throw new Error('offer.json is missing');
    const { maker, other } = sides(vector);
    const whole = { offset: 0, length: 23 };
    const [offer, accept, checksum, landed] = vector.elements.map(({ sealed }) => base64(sealed));
    if (!offer || !accept || !checksum || !landed) throw new Error('elements are missing');
    const opened = new SealedContent(other, vector.binding).openOffer(offer);
    expect(opened).toMatchObject({ name: 'tea.txt', size: 23, mediaType: 'text/plain' });
    const bodies = vector.elements.map(({ nonce }) => hex(nonce));
    drawn.push(...bodies);
    const sender = new SealedContent(maker, vector.binding);
    // Byte for byte, so that the bodies are those of src/transfer/sealed.ts.
    expect(sender.offer(opened).getText()).toBe(vector.elements[0]?.sealed);
    const receiver = new SealedContent(other, vector.binding);
    expect(receiver.accept({ size: 23, extent: whole }).getText()).toBe(vector.elements[1]?.sealed);
    const said = parse(`<content xmlns='urn:xmpp:jingle:1'>${element('accept', accept)}</content>`);
    expect(sender.openAccept(said?.getChildElements() ?? [], 23)).toEqual({
      size: 23,
      extent: whole,
    });
    const tea = 'It is always tea-time.\n';
    const sha256 = base64(/sha-256">([^<]+)</.exec(vector.elements[3]?.plaintext ?? '')?.[1] ?? '');
    expect(tea.length).toBe(23);
    const proof = sender.checksum(whole, { range: sha256, file: sha256 });
    expect(proof.getChildText('sealed')).toBe(vector.elements[2]?.sealed);
    expect(receiver.openChecksum(proof, whole)).toEqual({ range: sha256, file: sha256 });
    const receipt = receiver.landed({ as: 'file', size: 23, sha256, ...whole });
    expect(receipt.getChildText('sealed')).toBe(vector.elements[3]?.sealed);
    expect(sender.openLanded(receipt)).toEqual({ as: 'file', size: 23, sha256, ...whole });
  });
});

const element = (label: string, bytes: Buffer) =>
  `<sealed xmlns='urn:xmpp:jet-transfer:0' label='${label}'>${bytes.toString('base64')}</sealed>`;

describe('what is refused', () => {
  test.each(refusals)('%s', (_, vector) => {
    const { refused } = vector;
    if (refused === undefined) throw new Error('nothing is to be refused');
    let caught: unknown;
    try {
      open(vector, refused);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(SealedError);
    expect(caught).toMatchObject({ reason: refused.reason });
  });
});

describe('docs/sealed.md', () => {
  const page = readFileSync(new URL('../../../docs/sealed.md', import.meta.url), 'utf8');
  const blocks = (language: string) =>
    [...page.matchAll(/^```(\w+)\n(.*?)^```/gms)]
      .filter(([, which]) => which === language)
      .map(([, , text = '']) => text);

  test('shows XML that is well-formed', () => {
    const examples = blocks('xml');
    expect(examples.length).toBeGreaterThan(10);
    for (const example of examples) expect(parse(example.trim()), example).toBeDefined();
    expect(parse(blocks('xsd')[0]?.trim() ?? '')).toBeDefined();
  });

  test('shows the values of offer.json', () => {
    const vector = stored.find(([name]) => name === 'offer.json')?.[1];
    const [offer] = vector?.elements ?? [];
    if (vector === undefined || offer === undefined) throw new Error('offer.json is missing');
    const example = blocks('text').find((text) => text.startsWith('info')) ?? '';
    // Six columns of names, digits, and behind two spaces what they say.
    const columns = example.split('\n').map((line) => line.slice(6).split('  ')[0] ?? '');
    const digits = columns.join('').replaceAll(' ', '');
    const { info, key, aad, nonce } = offer;
    expect(digits).toBe(info + key + aad + nonce);
    const { secret, agreement, transferId } = vector;
    for (const value of [secret.key, secret.iv, agreement, transferId?.id])
      expect(page).toContain(`\`${String(value)}\``);
  });
});

const PYTHON = '/usr/bin/python3';
const present = spawnSync(PYTHON, ['-c', 'import cryptography']).status === 0;

test.skipIf(!present)('an implementation in Python comes to the same', () => {
  const script = fileURLToPath(new URL('../../support/sealed_vectors.py', import.meta.url));
  const run = spawnSync(PYTHON, [script, fileURLToPath(folder)], { encoding: 'utf8' });
  expect(run.stderr).toBe('');
  expect(JSON.parse(run.stdout)).toEqual({
    files: files.length,
    refused: refusals.length,
    failures: [],
  });
});
