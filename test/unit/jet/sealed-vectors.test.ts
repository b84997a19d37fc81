/**
 * The vectors of docs/sealed.md: three implementations agree about them, the program's, the generator's
 * and one in Python. The source of random bytes is replaced, so that nonces are those of the vectors.
 */
import { spawnSync } from 'node:child_process';
import type * as crypto from 'node:crypto';
import { createHash, createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { vectors } from '../../../scripts/sealed-vectors.ts';
import type { Refused, Vector, VectorDevice } from '../../../scripts/sealed/format.ts';
import { fileText } from '../../../scripts/vectors/files.ts';
import { Jid } from '../../../src/core/jid.ts';
import { SealedError, Seals, type Binding, type Label } from '../../../src/jet/sealed.ts';
import { readSealed } from '../../../src/jet/sealed-element.ts';
import { hashList } from '../../../src/transfer/hash-list.ts';
import { SealedContent, type OfferedFile } from '../../../src/transfer/sealed.ts';
import { readTree, writeTree } from '../../../src/transfer/tree/tree-list.ts';
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

/** What the offer of a vector says, as the other side reads it. */
function offeredIn(vector: Vector): OfferedFile {
  const [offer] = vector.elements;
  if (offer?.label !== 'offer') throw new Error('the vector begins with no offer');
  return new SealedContent(sides(vector).other, vector.binding).openOffer(base64(offer.sealed));
}

/** How many lines the list of a vector has; 0 where there is none. */
function linesIn(vector: Vector): number {
  const { tree } = vector.stream === undefined ? {} : offeredIn(vector);
  const list = base64(vector.stream ?? '').subarray(0, tree?.list ?? 0);
  return list.toString().split('\n').length - 1;
}

/** How the program reads the place that an element has. */
function read(seals: Seals, vector: Vector, label: string, stanza: Element): unknown {
  const content = new SealedContent(seals, vector.binding);
  switch (label) {
    case 'offer':
    case 'request': {
      const found = readSealed(stanza.getChildElements(), label);
      if (found === undefined) return undefined;
      return label === 'offer' ? content.openOffer(found.bytes) : content.openRequest(found.bytes);
    }
    case 'accept':
      return content.openAccept(stanza.getChildElements(), offeredIn(vector));
    case 'checksum':
      return content.openChecksum(stanza, { offset: 0, length: 23 });
    default:
      return content.openLanded(stanza, linesIn(vector));
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
    expect(sender.openAccept(said?.getChildElements() ?? [], opened)).toEqual({
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

describe('hashes of blocks', () => {
  const [size, block] = [9_000_000, 65_536];
  const total = Math.ceil(size / block) * 32;
  const vectorOf = (name: string) => {
    const vector = stored.find(([file]) => file === name)?.[1];
    if (vector === undefined) throw new Error(`${name} is missing`);
    return vector;
  };
  /** SHA-256 of the list, by the program. */
  const expected = async () => {
    const text = Buffer.alloc(size, 'It is always tea-time.\n');
    const read = async function* (offset: number, end: number) {
      yield await Promise.resolve(text.subarray(offset, end));
    };
    const list = hashList({ size, read, close: () => Promise.resolve() }, block);
    expect(list.size).toBe(total);
    const hash = createHash('sha256');
    for await (const bytes of list.read(0, list.size)) hash.update(bytes);
    return hash.digest();
  };
  const resume = { id: '025fe22e4077374acbbdcce8cb2ec59d', attempt: 3 };
  const whole = { offset: 0, length: total };

  test('an accept asks for them as this program does', async () => {
    const vector = vectorOf('offer-hashes.json');
    const { maker, other } = sides(vector);
    const offered = offeredIn(vector);
    expect(offered).toMatchObject({ size, resume });
    drawn.push(...vector.elements.map(({ nonce }) => hex(nonce)));
    const sender = new SealedContent(maker, vector.binding);
    const receiver = new SealedContent(other, vector.binding);
    receiver.openOffer(base64(sender.offer(offered).getText()));
    const accept = receiver.accept({ size: total, extent: whole, hashes: block });
    expect(accept.getText()).toBe(vector.elements[1]?.sealed);
    const asked = sender.openAccept([accept], offered);
    expect(asked).toEqual({ size: total, extent: whole, hashes: block });
    const sha256 = await expected();
    const proof = sender.checksum(whole, { range: sha256, file: sha256 });
    expect(proof.getChildText('sealed')).toBe(vector.elements[2]?.sealed);
    const receipt = receiver.landed({ as: 'range', size: total, sha256, ...whole });
    expect(receipt.getChildText('sealed')).toBe(vector.elements[3]?.sealed);
  });

  test('a request asks for them as this program does', async () => {
    const vector = vectorOf('request-hashes.json');
    const { maker, other } = sides(vector);
    drawn.push(...vector.elements.map(({ nonce }) => hex(nonce)));
    const asker = new SealedContent(maker, vector.binding);
    const holder = new SealedContent(other, vector.binding);
    const nothing = { hashes: [], hashUsed: [] };
    const request = { file: { name: 'tea.txt', size, ...nothing }, list: false, resume };
    const said = asker.request({ ...request, hashes: block }).getText();
    expect(said).toBe(vector.elements[0]?.sealed);
    expect(holder.openRequest(base64(said))).toMatchObject({ ...request, hashes: block });
    const iv = base64(/<iv>(.+)<.iv>/.exec(vector.elements[1]?.plaintext ?? '')?.[1] ?? '');
    const file = { name: 'hashes', size: total, ...nothing };
    const accept = holder.grant({ file, extent: whole, iv });
    expect(accept.getText()).toBe(vector.elements[1]?.sealed);
    expect(asker.openGrant([accept])).toMatchObject({ file, extent: whole, iv });
    const sha256 = await expected();
    const proof = holder.checksum(whole, { range: sha256, file: sha256 });
    expect(proof.getChildText('sealed')).toBe(vector.elements[2]?.sealed);
    const receipt = asker.landed({ as: 'range', size: total, sha256, ...whole });
    expect(receipt.getChildText('sealed')).toBe(vector.elements[3]?.sealed);
  });

  test('may be 65,536 blocks, and what is named by its hash alone is of any size', () => {
    const vector = vectorOf('request-hashes.json');
    const asked = (file: object) => {
      drawn.push(Buffer.alloc(12));
      const { maker, other } = sides(vector);
      const request = { file: { hashes: [], hashUsed: [], ...file }, list: false, resume };
      const said = new SealedContent(maker, vector.binding).request({ ...request, hashes: block });
      return new SealedContent(other, vector.binding).openRequest(base64(said.getText())).hashes;
    };
    expect(asked({ name: 'a', size: block * 65_536 })).toBe(block);
    expect(asked({ hashes: [{ algorithm: 'sha-256', digest: Buffer.alloc(32) }] })).toBe(block);
  });
});

describe('sends of several files', () => {
  const vectorOf = (name: string) => stored.find(([file]) => file === `${name}.json`)?.[1];

  test('an offer is counted as this program does', () => {
    const vector = vectorOf('offer-of');
    if (vector === undefined) throw new Error('it is missing');
    const { maker } = sides(vector);
    const offered = offeredIn(vector);
    expect(offered.of).toMatchObject({ index: 1, count: 3 });
    drawn.push(hex(vector.elements[0]?.nonce ?? ''));
    const said = new SealedContent(maker, vector.binding).offer(offered).getText();
    expect(said).toBe(vector.elements[0]?.sealed);
  });

  test.each([
    ['offer-tree', false, ['party/hatter.txt', 'party/table/Ei.txt', 'party/table/süß.txt']],
    ['offer-batch', true, ['a.txt', 'b.txt', 'a.txt']],
    ['offer-batch-partly', true, ['a.txt', 'b.txt', 'a.txt']],
  ])('the stream of %s is read and made as this program does', (name, batch, paths) => {
    const vector = vectorOf(name);
    if (vector?.stream === undefined) throw new Error('it is missing');
    const stream = base64(vector.stream);
    const offered = offeredIn(vector);
    const { tree } = offered;
    if (tree === undefined) throw new Error('the offer has no list');
    expect(tree.batch).toBe(batch);
    const list = stream.subarray(0, tree.list);
    const entries = readTree(list, tree, offered.name, stream.length);
    const files = entries.filter(({ kind }) => kind === 'file');
    expect(files.map(({ path }) => path)).toEqual(paths);
    expect(writeTree(entries, batch)).toEqual({ bytes: list, head: tree });
    drawn.push(hex(vector.elements[0]?.nonce ?? ''));
    const { maker } = sides(vector);
    const said = new SealedContent(maker, vector.binding).offer(offered).getText();
    expect(said).toBe(vector.elements[0]?.sealed);
  });

  test.each([
    ['offer-tree', { count: 1, lines: [3] }],
    ['offer-batch', undefined],
    ['offer-batch-partly', { count: 2, lines: [0, 2] }],
  ])('what of %s has not landed is said and read as this program does', (name, missing) => {
    const vector = vectorOf(name);
    if (vector?.stream === undefined) throw new Error('it is missing');
    const { maker, other } = sides(vector);
    const [offer, accept, , landed] = vector.elements;
    const sender = new SealedContent(maker, vector.binding);
    const receiver = new SealedContent(other, vector.binding);
    const size = base64(vector.stream).length;
    const whole = { offset: 0, length: size };
    drawn.push(...[offer, accept, landed].map((one) => hex(one?.nonce ?? '')));
    sender.offer(offeredIn(vector));
    receiver.openOffer(base64(offer?.sealed ?? ''));
    const accepted = parse(receiver.accept({ size, extent: whole }).toString());
    sender.openAccept(accepted === undefined ? [] : [accepted], { size });
    const sha256 = createHash('sha256').update(base64(vector.stream)).digest();
    const as = missing === undefined ? 'file' : 'partly';
    const said = { as, size, sha256, ...whole, ...(missing && { missing }) } as const;
    const receipt = receiver.landed(said);
    expect(receipt.getChildText('sealed')).toBe(landed?.sealed);
    expect(sender.openLanded(receipt, linesIn(vector))).toEqual(said);
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
